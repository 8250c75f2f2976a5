package collector_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

const owner = `config.extraConfig["moorage.owner"]`

func TestKeyedPathsAreFollowed(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "/dc1/vm/clusters", "VirtualMachine"), "VirtualMachine",
		"name", owner, `config.extraConfig["guestinfo.x"].value`, "guest.ipAddress", "runtime.powerState"))
	s.expect("nothing there yet")
	vm := lab.Clone(client, "node", func(spec *types.VirtualMachineCloneSpec) {
		spec.Config.ExtraConfig = labtest.Options("moorage.owner", "me")
	})
	// A clone appears once, complete: not before its extraConfig is there.
	s.expect("cloned", "enter "+owner+" assign me", "enter name assign node", "enter runtime.powerState assign poweredOff")
	set := func(value string) {
		lab.Done(vm.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options("moorage.owner", value, "other", value)}))
	}
	set("you")
	s.expect("changed", "modify "+owner+" assign you")
	set("")
	s.expect("removed", "modify "+owner+" remove <nil>")
	set("again")
	s.expect("added", "modify "+owner+" add again")
	uuid := lab.Properties(client, vm.Reference(), "config.uuid").Config.Uuid
	lab.Control(http.MethodPut, "/guest/"+uuid+"/guestinfo", `{"guestinfo.x": "from the guest"}`)
	s.expect("set by the guest", `modify config.extraConfig["guestinfo.x"].value assign from the guest`)
	lab.Done(vm.PowerOn(lab.Context()))
	s.expect("on", "modify runtime.powerState assign poweredOn")
	lab.Control(http.MethodPut, "/guest/"+uuid+"/state", `{"hostName": "n", "toolsRunning": true, "nics": [{"mac": "00:50:56:80:00:01", "ips": ["10.77.1.5"]}]}`)
	s.expect("address", "modify guest.ipAddress assign 10.77.1.5")
	lab.Done(vm.PowerOff(lab.Context()))
	s.expect("off", "modify guest.ipAddress assign <nil>", "modify runtime.powerState assign poweredOff")
	lab.Done(vm.Destroy(lab.Context()))
	s.expect("destroyed", "leave")
}

func TestOneAnswerForSeveralFilters(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "", "VirtualMachine"), "VirtualMachine", "name"))
	hosts := s.filter(throughView(containerView(lab, client, "", "HostSystem"), "HostSystem", "name"))
	if got := s.next(); len(got) != 5 {
		t.Errorf("%v", got)
	}
	s.filter(throughView(containerView(lab, client, "", "Datastore"), "ManagedEntity", "name"))
	s.expect("a filter made later", "enter name assign ds1", "enter name assign ds2")
	if _, err := methods.DestroyPropertyFilter(lab.Context(), client, &types.DestroyPropertyFilter{This: hosts}); err != nil {
		t.Fatal(err)
	}
	lab.Clone(client, "node")
	s.expect("a clone", "enter name assign node")
}

func TestTasksAreFollowedThroughAListView(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	list, err := view.NewManager(client.Client).CreateListView(lab.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := open(lab, client)
	s.filter(throughView(list.Reference(), "Task", "info.state", "info.error"))
	s.expect("no task yet")
	answered := make(chan struct{})
	lab.Hypervisor.Set(func(_, path string) (int, string) {
		if strings.HasSuffix(path, "/power-on") {
			<-answered
		}
		return 0, ""
	})
	started, err := lab.Clone(client, "node").PowerOn(lab.Context())
	if err != nil {
		t.Fatal(err)
	}
	modified, err := methods.ModifyListView(lab.Context(), client, &types.ModifyListView{
		This: list.Reference(), Add: []ref{started.Reference(), {Type: "Task", Value: "task-none"}},
	})
	if err != nil || len(modified.Returnval) != 1 || modified.Returnval[0].Value != "task-none" {
		t.Errorf("unresolved %v, %v", modified, err)
	}
	s.expect("added", "enter info.state assign running")
	close(answered)
	s.expect("done", "modify info.state assign success")
	if _, err := methods.ModifyListView(lab.Context(), client, &types.ModifyListView{
		This: list.Reference(), Remove: []ref{started.Reference()},
	}); err != nil {
		t.Fatal(err)
	}
	s.expect("taken out", "leave")
}

func TestLargeAnswersAreCut(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	for i := range 7 {
		lab.Clone(client, fmt.Sprintf("n%d", i))
	}
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "", "VirtualMachine"), "VirtualMachine", "name"))
	s.filter(throughView(containerView(lab, client, "", "HostSystem"), "HostSystem", "name"))
	version, sizes, seen := "", []int{}, map[string]bool{}
	for {
		set, err := s.ask(version, 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		version = set.Version
		got := lines(set)
		sizes = append(sizes, len(got))
		for _, line := range got {
			if seen[line] {
				t.Errorf("%s came twice", line)
			}
			seen[line] = true
		}
		if set.Truncated == nil || !*set.Truncated {
			break
		}
	}
	if !slices.Equal(sizes, []int{3, 3, 3, 3}) || len(seen) != 12 {
		t.Errorf("sizes %v, %d lines", sizes, len(seen))
	}
	if set, err := s.ask(version, 3, 0); err != nil || set != nil {
		t.Errorf("then %v, %v", set, err)
	}
}

func TestLostAnswerIsGivenAgain(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "/dc1/vm/clusters", "VirtualMachine"), "VirtualMachine", "name"))
	s.next()
	lab.Clone(client, "node")
	lab.Control(http.MethodPost, "/faults", `{"method": "WaitForUpdatesEx", "action": "dropAnswer"}`)
	if _, err := s.ask(s.version, 0, 1); err == nil || soap.IsSoapFault(err) {
		t.Fatalf("the answer was not dropped: %v", err)
	}
	s.expect("asked again", "enter name assign node")
	if set, err := s.ask(s.version, 0, 0); err != nil || set != nil {
		t.Errorf("then %v, %v", set, err)
	}
}

func TestUnknownVersionIsRefused(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "", "VirtualMachine"), "VirtualMachine", "name"))
	for _, version := range []string{"1", "nonsense"} {
		_, err := s.ask(version, 0, 0)
		if fault, _ := lab.Fault(nil, err); fmt.Sprintf("%T", fault) != "*types.InvalidCollectorVersion" {
			t.Errorf("%T", fault)
		}
	}
	s.next()
	if got := s.next; s.version == "" {
		t.Error(got())
	}
	all, err := s.ask("", 0, 0)
	if err != nil || len(lines(all)) != 1 {
		t.Errorf("everything anew: %v %v", all, err)
	}
}

func TestWaitingEnds(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "/dc1/vm/clusters", "VirtualMachine"), "VirtualMachine", "name"))
	s.next()
	start := time.Now()
	if set, err := s.ask(s.version, 0, 1); set != nil || err != nil || time.Since(start) < 900*time.Millisecond {
		t.Errorf("after %s: %v %v", time.Since(start), set, err)
	}
	for name, c := range map[string]struct {
		end  func()
		want string
	}{
		"cancel": {func() {
			if err := s.CancelWaitForUpdates(lab.Context()); err != nil {
				t.Error(err)
			}
		}, "*types.RequestCanceled"},
		"expiry": {func() { lab.Control(http.MethodPost, "/sessions/expire", "") }, "*types.NotAuthenticated"},
	} {
		if name == "expiry" {
			s.next()
		}
		failed := make(chan error)
		go func() {
			_, err := s.ask(s.version, 0, 30)
			failed <- err
		}()
		time.Sleep(100 * time.Millisecond)
		c.end()
		select {
		case err := <-failed:
			if fault, _ := lab.Fault(nil, err); fmt.Sprintf("%T", fault) != c.want {
				t.Errorf("%s: %T", name, fault)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: it still waits", name)
		}
		if name == "expiry" {
			return
		}
	}
}

func TestViewsFollowMoves(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "/dc1/vm/clusters", "VirtualMachine"), "VirtualMachine", "name"))
	s.next()
	vm := lab.Clone(client, "node")
	s.next()
	move := func(path string) {
		folder, err := find.NewFinder(client.Client, false).Folder(lab.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		lab.Done(folder.MoveInto(lab.Context(), []ref{vm.Reference()}))
	}
	move("/dc1/vm/templates")
	s.expect("moved away", "leave")
	move("/dc1/vm/clusters")
	s.expect("moved back", "enter name assign node")
}

func TestWrongPathsAreRefused(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	s := open(lab, client)
	in := containerView(lab, client, "", "VirtualMachine")
	for _, path := range []string{"nonsense", "config.nonsense", "runtime..powerState", `name["x"]`, `config.extraConfig["x`} {
		spec := throughView(in, "VirtualMachine", path)
		spec.This = s.Reference()
		_, err := methods.CreateFilter(lab.Context(), client, &spec)
		fault, text := lab.Fault(nil, err)
		if fmt.Sprintf("%T", fault) != "*types.InvalidProperty" || text == "" {
			t.Errorf("%s: %T %q", path, fault, text)
		}
	}
	gone := throughView(ref{Type: "ContainerView", Value: "gone"}, "VirtualMachine", "name")
	gone.This = s.Reference()
	_, err := methods.CreateFilter(lab.Context(), client, &gone)
	if fault, _ := lab.Fault(nil, err); fmt.Sprintf("%T", fault) != "*types.ManagedObjectNotFound" {
		t.Errorf("%T", fault)
	}
}

func TestRetrievalComesInPages(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	spec := throughView(containerView(lab, client, "", "HostSystem"), "HostSystem", "name", "summary.hardware.numCpuCores").Spec
	pc := property.DefaultCollector(client.Client).Reference()
	res, err := methods.RetrievePropertiesEx(lab.Context(), client, &types.RetrievePropertiesEx{
		This: pc, SpecSet: []types.PropertyFilterSpec{spec}, Options: types.RetrieveOptions{MaxObjects: 3},
	})
	if err != nil || len(res.Returnval.Objects) != 3 || res.Returnval.Token == "" || len(res.Returnval.Objects[0].PropSet) != 2 {
		t.Fatalf("%v %+v", err, res)
	}
	more, err := methods.ContinueRetrievePropertiesEx(lab.Context(), client, &types.ContinueRetrievePropertiesEx{This: pc, Token: res.Returnval.Token})
	if err != nil || len(more.Returnval.Objects) != 1 || more.Returnval.Token != "" {
		t.Fatalf("%v %+v", err, more)
	}
}

func TestSearchByBIOSUUID(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	config := lab.Properties(client, vm.Reference(), "config.uuid", "config.instanceUuid").Config
	index := object.NewSearchIndex(client.Client)
	for uuid, instance := range map[string]bool{config.Uuid: false, config.InstanceUuid: true, strings.ToUpper(config.InstanceUuid): true} {
		found, err := index.FindByUuid(lab.Context(), nil, uuid, true, &instance)
		if err != nil || found == nil || found.Reference() != vm.Reference() {
			t.Errorf("%s: %v %v", uuid, found, err)
		}
	}
	lab.Done(vm.Destroy(lab.Context()))
	if found, err := index.FindByUuid(lab.Context(), nil, config.InstanceUuid, true, types.NewBool(true)); err != nil || found != nil {
		t.Errorf("after the end: %v %v", found, errors.Unwrap(err))
	}
}
