package vcenter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

// do calls the control port, which has to agree.
func do(t *testing.T, l *labtest.Lab, method, path, body string) string {
	t.Helper()
	status, text := l.Control(method, path, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

func TestMachinesOfADisconnectedHostCannotBeOperated(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "one")
	host := l.Server.Inventory().VMs[0].Host
	do(t, l, "POST", "/hosts/state", fmt.Sprintf(`{"host": "/dc1/host/cc1/%s", "state": "disconnected"}`, host))

	if got := l.Properties(c, vm.Reference(), "runtime").Runtime.ConnectionState; got != types.VirtualMachineConnectionStateDisconnected {
		t.Errorf("the machine is %s", got)
	}
	if fault, _ := l.Fault(vm.PowerOn(l.Context())); !isA[*types.HostNotConnected](fault) {
		t.Errorf("power on: %T", fault)
	}
	do(t, l, "POST", "/hosts/state", fmt.Sprintf(`{"host": "/dc1/host/cc1/%s", "state": "connected"}`, host))
	l.Done(vm.PowerOn(l.Context()))
}

func isA[T any](v any) bool { _, ok := v.(T); return ok }

func TestACloneFailsWhenTheHostOfItsSourceIsDisconnected(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	do(t, l, "POST", "/hosts/state", `{"host": "/dc1/host/cc1/cc1-esx1.lab", "state": "notResponding"}`)
	if fault, _ := l.Fault(l.StartClone(c, "one", l.Spec(c)), nil); !isA[*types.HostNotConnected](fault) {
		t.Errorf("%T", fault)
	}
}

func TestARemovedHostTakesItsMachinesAlong(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "one")
	l.Done(vm.PowerOn(l.Context()))
	listed := l.Server.Inventory().VMs[0]
	do(t, l, "POST", "/hosts/remove", `{"host": "`+"/dc1/host/cc1/"+listed.Host+`"}`)

	for _, left := range l.Server.Inventory().VMs {
		if left.Name == "one" {
			t.Error("the machine is still there")
		}
	}
	hosts, err := find.NewFinder(c.Client, false).HostSystemList(l.Context(), "/dc1/host/cc1/*")
	if err != nil || len(hosts) != 1 {
		t.Errorf("hosts left: %v %v", hosts, err)
	}
	if lines := l.Hypervisor.Read(listed.UUID); lines[len(lines)-1] != "DELETE /vms/{uuid}" {
		t.Errorf("its node: %v", lines)
	}
}

func TestAFilledDatastoreFailsTheClone(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	do(t, l, "POST", "/datastores/state", `{"datastore": "/dc1/datastore/ds1", "freeGib": 5}`)
	if fault, _ := l.Fault(l.StartClone(c, "full", l.Spec(c)), nil); !isA[*types.NoDiskSpace](fault) {
		t.Errorf("%T", fault)
	}
	l.Clone(c, "linked", l.Linked(c))
}

func TestWhatAnAdministratorDoesToMachines(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "one", func(spec *types.VirtualMachineCloneSpec) {
		spec.Config.ExtraConfig = labtest.Options("moorage.owner", "me")
		spec.PowerOn = true
	})
	do(t, l, "POST", "/vms/clone", `{"vm": "/dc1/vm/clusters/one", "name": "copy"}`)
	do(t, l, "POST", "/vms/rename", `{"vm": "/dc1/vm/clusters/one", "name": "other"}`)
	do(t, l, "POST", "/vms/move", `{"vm": "/dc1/vm/clusters/other", "folder": "/dc1/vm/templates"}`)

	seen := map[string]vcenter.ListedVM{}
	for _, one := range l.Server.Inventory().VMs {
		seen[one.Path] = one
	}
	copied, moved := seen["/dc1/vm/clusters/copy"], seen["/dc1/vm/templates/other"]
	if moved.Moref != vm.Reference().Value {
		t.Errorf("%v", seen)
	}
	if copied.ExtraConfig["moorage.owner"] != "me" || copied.InstanceUUID == moved.InstanceUUID || copied.NICs[0].MAC == moved.NICs[0].MAC {
		t.Errorf("the copy: %+v", copied)
	}
	wish := `{"vm": "` + copied.Moref + `", "name": "%s", "folder": "/dc1/vm/templates", "instanceUuid": "` + moved.InstanceUUID + `"}`
	do(t, l, "POST", "/vms/clone", fmt.Sprintf(wish, "while it lives"))
	do(t, l, "POST", "/vms/destroy", `{"vm": "`+moved.Moref+`"}`)
	do(t, l, "POST", "/vms/clone", fmt.Sprintf(wish, "when it is gone"))
	do(t, l, "POST", "/vms/clone", `{"vm": "`+labtest.Template+`", "name": "of a template", "folder": "/dc1/vm/clusters"}`)
	restored := map[string]vcenter.ListedVM{}
	for _, one := range l.Server.Inventory().VMs {
		restored[one.Path] = one
	}
	if got := restored["/dc1/vm/templates/while it lives"].InstanceUUID; got == "" || got == moved.InstanceUUID {
		t.Errorf("restored beside the original: %q", got)
	}
	if got := restored["/dc1/vm/templates/when it is gone"].InstanceUUID; got != moved.InstanceUUID {
		t.Errorf("restored after the original: %q", got)
	}
	if _, made := restored["/dc1/vm/clusters/of a template"]; !made {
		t.Errorf("%v", restored)
	}
	if status, text := l.Control("POST", "/vms/move", `{"vm": "/dc1/vm/clusters/copy", "folder": "/dc1/vm/none"}`); status != 400 {
		t.Errorf("%d %s", status, text)
	}
	for _, one := range l.Server.Inventory().VMs {
		if one.Moref == moved.Moref {
			t.Error("a powered-on machine was not destroyed")
		}
	}
}

func TestAMoveIsRefusedWhereTheNameIsTaken(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	l.Clone(c, "one")
	finder := find.NewFinder(c.Client, false)
	folder, err := finder.Folder(l.Context(), "/dc1/vm/templates")
	if err != nil {
		t.Fatal(err)
	}
	do(t, l, "POST", "/vms/move", `{"vm": "/dc1/vm/clusters/one", "folder": "/dc1/vm/templates"}`)
	second := l.Clone(c, "one")
	if fault, _ := l.Fault(folder.MoveInto(l.Context(), []types.ManagedObjectReference{second.Reference()})); !isA[*types.DuplicateName](fault) {
		t.Errorf("%T", fault)
	}
}

func TestAChangedPasswordIsNeededFromTheNextLoginOn(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	do(t, l, "POST", "/users/password", `{"user": "`+labtest.User+`", "password": "other"}`)
	if _, err := methods.GetCurrentTime(l.Context(), c.Client); err != nil {
		t.Errorf("the session ended: %v", err)
	}
	client := l.Dial()
	_, err := methods.Login(l.Context(), client, &types.Login{This: *client.ServiceContent.SessionManager, UserName: labtest.User, Password: labtest.Password})
	if !soap.IsSoapFault(err) || !isA[types.InvalidLogin](soap.ToSoapFault(err).VimFault()) {
		t.Errorf("%v", err)
	}
}

func TestChancesAreTheSameForTheSameSeed(t *testing.T) {
	play := func(seed int) (hits string) {
		l := labtest.Start(t)
		c := l.Login()
		do(t, l, "POST", "/faults", fmt.Sprintf(`{"method": "CurrentTime", "action": "fail", "fault": "SystemError", "probability": 0.5, "seed": %d}`, seed))
		for range 24 {
			_, err := methods.GetCurrentTime(l.Context(), c.Client)
			hits += map[bool]string{true: "x", false: "."}[err != nil]
		}
		return hits
	}
	one, again, other := play(7), play(7), play(8)
	if one != again || one == other || !strings.Contains(one, "x") || !strings.Contains(one, ".") {
		t.Errorf("%s %s %s", one, again, other)
	}
}

func TestATruncatedAnswerIsNotWhole(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	do(t, l, "POST", "/faults", `{"method": "CreateFolder", "action": "truncate"}`)
	folder, err := find.NewFinder(c.Client, false).Folder(l.Context(), "/dc1/vm/clusters")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.CreateFolder(l.Context(), "half"); err == nil || soap.IsSoapFault(err) {
		t.Errorf("the answer was %v", err)
	}
	if _, err := folder.CreateFolder(l.Context(), "half"); !soap.IsSoapFault(err) || !isA[types.DuplicateName](soap.ToSoapFault(err).VimFault()) {
		t.Errorf("the call ran, so the name is taken: %v", err)
	}
}

func TestAStalledAnswerNeverEnds(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	do(t, l, "POST", "/faults", `{"method": "CurrentTime", "action": "stall"}`)
	ctx, cancel := context.WithTimeout(l.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := methods.GetCurrentTime(ctx, c.Client); err == nil || soap.IsSoapFault(err) {
		t.Errorf("the answer was %v", err)
	}
	if _, err := methods.GetCurrentTime(l.Context(), c.Client); err != nil {
		t.Error(err)
	}
}

func TestTheProxyInFrontTurnsCallsAway(t *testing.T) {
	l := labtest.Start(t)
	client := l.Dial()
	do(t, l, "POST", "/faults", `{"action": "status", "retryAfter": 7, "count": 2}`)
	for _, path := range []string{"/sdk", "/api/session"} {
		answer, err := client.Client.Client.Post(strings.TrimSuffix(l.Server.URL(), "/sdk")+path, "text/xml", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		kind, again := answer.Header.Get("Content-Type"), answer.Header.Get("Retry-After")
		if answer.StatusCode != http.StatusServiceUnavailable || again != "7" || !strings.HasPrefix(kind, "text/html") {
			t.Errorf("%s: %s %q %q", path, answer.Status, kind, again)
		}
	}
	l.Login()
}

func TestTasksTakeTheirTimeAndTheirTurn(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	do(t, l, "PUT", "/limits", `{"taskSeconds": {"CloneVM_Task": 0.3}, "tasksPerDatastore": 1}`)
	spec := l.Spec(c)
	started := time.Now()
	var all []*object.Task
	for i := range 3 {
		all = append(all, l.StartClone(c, fmt.Sprintf("n%d", i), spec))
	}
	var wait sync.WaitGroup
	for _, task := range all {
		wait.Add(1)
		go func() { defer wait.Done(); _ = task.Wait(l.Context()) }()
	}
	wait.Wait()
	if took := time.Since(started); took < 900*time.Millisecond {
		t.Errorf("three clones to one datastore, one at a time, took %v", took)
	}
	if got := len(l.Properties(c, l.VM(c, labtest.Template).Reference(), "recentTask").RecentTask); got < 3 {
		t.Errorf("%d recent tasks", got)
	}
	do(t, l, "PUT", "/limits", `{"taskSeconds": {"CloneVM_Task": 0}}`)
	for i := range 12 {
		l.Clone(c, fmt.Sprintf("m%d", i))
	}
	if got := len(l.Properties(c, l.VM(c, labtest.Template).Reference(), "recentTask").RecentTask); got > 11 {
		t.Errorf("%d recent tasks", got)
	}
}

func TestSessionsAreLimitedAndExpire(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	client := l.Dial()
	do(t, l, "PUT", "/limits", `{"sessions": 1, "sessionIdleSeconds": 0.2}`)
	if _, err := methods.GetServiceContent(l.Context(), client); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("the first call of one without a session: %v", err)
	}
	if _, err := methods.GetServiceContent(l.Context(), c.Client); err != nil {
		t.Errorf("the same in a session: %v", err)
	}
	_, err := methods.Login(l.Context(), client, &types.Login{This: *client.ServiceContent.SessionManager, UserName: labtest.User, Password: labtest.Password})
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a second session: %v", err)
	}
	over := restLogin(t, l, c)
	var counted vcenter.Counted
	_ = json.Unmarshal([]byte(do(t, l, "GET", "/counters", "")), &counted)
	if counted.RestSessions.Open != 1 || counted.RestSessions.Logins != 1 || counted.Sessions.Open != 1 {
		t.Errorf("%+v", counted)
	}
	time.Sleep(300 * time.Millisecond)
	if session, err := over.Session(l.Context()); err == nil && session != nil {
		t.Error("the REST session did not expire")
	}
	if _, err := methods.GetCurrentTime(l.Context(), c.Client); err == nil {
		t.Error("the session did not expire")
	}
}

func TestGuestinfoIsLimited(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	big := func(n int) string { return strings.Repeat("x", n) }
	vm := l.Clone(c, "one")
	started, err := vm.Reconfigure(l.Context(), types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options("guestinfo.a", big(64<<10+1))})
	if fault, text := l.Fault(started, err); !isA[*types.InvalidArgument](fault) || !strings.Contains(text, "guestinfo.a") {
		t.Errorf("%T %s", fault, text)
	}
	l.Done(vm.Reconfigure(l.Context(), types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options("guestinfo.a", big(64<<10))}))
	var many []string
	for i := range 8 {
		many = append(many, fmt.Sprintf("guestinfo.b%d", i), big(60<<10))
	}
	started, err = vm.Reconfigure(l.Context(), types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options(many...)})
	if fault, _ := l.Fault(started, err); !isA[*types.InvalidArgument](fault) {
		t.Errorf("%T", fault)
	}
	spec := l.Spec(c, func(spec *types.VirtualMachineCloneSpec) {
		spec.Config.ExtraConfig = labtest.Options("guestinfo.a", big(65<<10))
	})
	if fault, _ := l.Fault(l.StartClone(c, "two", spec), nil); !isA[*types.InvalidArgument](fault) {
		t.Errorf("%T", fault)
	}
	do(t, l, "PUT", "/limits", `{"guestinfoValueKib": 0}`)
	l.Done(l.StartClone(c, "two", spec), nil)
}
