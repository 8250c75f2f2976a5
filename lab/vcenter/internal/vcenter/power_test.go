package vcenter_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/hypervisor"
	"lab-vcenter/internal/labtest"
)

func TestHypervisorHearsOfTheWholeLife(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	ctx := lab.Context()
	vm := lab.Clone(client, "node", func(s *types.VirtualMachineCloneSpec) {
		s.Config.NumCPUs, s.Config.MemoryMB = 2, 3072
		s.Config.ExtraConfig = labtest.Options("guestinfo.metadata", "abc", "moorage.owner", "me")
	})
	uuid := lab.Properties(client, vm.Reference(), "config.uuid").Config.Uuid

	lab.Done(vm.PowerOn(ctx))
	var doc hypervisor.Document
	if err := lab.Hypervisor.Last("/vms/"+uuid, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.UUID != uuid || doc.Image != "1.34.4" || doc.CPUs != 2 || doc.MemoryMiB != 3072 || doc.DiskMiB != 20480 ||
		doc.Name != "node" || doc.Moref != vm.Reference().Value || len(doc.NICs) != 1 || !doc.NICs[0].Connected ||
		doc.NICs[0].Network != "VM Network" || len(doc.Guestinfo) != 1 || doc.Guestinfo["guestinfo.metadata"] != "abc" {
		t.Errorf("%+v", doc)
	}
	report(t, lab, uuid, true)
	lab.Done(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options("guestinfo.metadata", "", "guestinfo.x", "1", "other", "2")}))
	changed := map[string]*string{}
	if err := lab.Hypervisor.Last("/guestinfo", &changed); err != nil {
		t.Fatal(err)
	}
	if len(changed) != 2 || changed["guestinfo.metadata"] != nil || *changed["guestinfo.x"] != "1" {
		t.Errorf("guestinfo %v", changed)
	}
	if err := vm.RebootGuest(ctx); err != nil {
		t.Error(err)
	}
	lab.Done(vm.Reset(ctx))
	report(t, lab, uuid, true)
	if err := vm.ShutdownGuest(ctx); err != nil {
		t.Error(err)
	}
	if code, text := lab.Control(http.MethodPut, "/guest/"+uuid+"/power", `{"state": "poweredOff"}`); code != http.StatusNoContent {
		t.Error(code, text)
	}
	lab.Done(vm.PowerOn(ctx))
	lab.Done(vm.PowerOff(ctx))
	lab.Done(vm.Destroy(ctx))
	want := []string{
		"PUT /vms/{uuid}", "POST /vms/{uuid}/power-on", "PUT /vms/{uuid}/guestinfo", "POST /vms/{uuid}/reboot",
		"POST /vms/{uuid}/reset", "POST /vms/{uuid}/shutdown", "PUT /vms/{uuid}", "POST /vms/{uuid}/power-on",
		"POST /vms/{uuid}/power-off", "DELETE /vms/{uuid}",
	}
	if got := lab.Hypervisor.Read(uuid); !slices.Equal(got, want) {
		t.Errorf("the hypervisor was asked\n%s", strings.Join(got, "\n"))
	}
}

func report(t *testing.T, lab *labtest.Lab, uuid string, running bool) {
	t.Helper()
	body := fmt.Sprintf(`{"hostName": "node", "toolsRunning": %v, "nics": [{"mac": "00:50:56:80:00:01", "ips": ["10.77.1.5/16", "fe80::1"]}]}`, running)
	if code, text := lab.Control(http.MethodPut, "/guest/"+strings.ToUpper(uuid)+"/state", body); code != http.StatusNoContent {
		t.Fatal(code, text)
	}
}

func TestGuestSpeaksAndFallsSilentAtPowerOff(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	uuid := lab.Properties(client, vm.Reference(), "config.uuid").Config.Uuid
	lab.Done(vm.PowerOn(lab.Context()))
	report(t, lab, uuid, true)
	now := lab.Properties(client, vm.Reference(), "guest", "summary.guest")
	nic := now.Guest.Net[0]
	if now.Guest.IpAddress != "10.77.1.5" || now.Guest.HostName != "node" || now.Guest.GuestState != "running" ||
		now.Guest.ToolsRunningStatus != "guestToolsRunning" || now.Summary.Guest.IpAddress != "10.77.1.5" ||
		nic.Network != "VM Network" || !slices.Equal(nic.IpAddress, []string{"10.77.1.5", "fe80::1"}) ||
		nic.IpConfig.IpAddress[0].PrefixLength != 16 || nic.DeviceConfigId != 4000 {
		t.Errorf("%+v %+v", now.Guest, nic)
	}
	lab.Done(vm.PowerOff(lab.Context()))
	now = lab.Properties(client, vm.Reference(), "guest")
	if g := now.Guest; g.IpAddress != "" || g.HostName != "" || len(g.Net) != 0 || g.ToolsRunningStatus != "guestToolsNotRunning" || g.GuestState != "notRunning" {
		t.Errorf("%+v", g)
	}
}

func TestPowerOnRunsUntilTheHypervisorHasAnswered(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	uuid := lab.Properties(client, vm.Reference(), "config.uuid").Config.Uuid
	answered := make(chan struct{})
	lab.Hypervisor.Set(func(_, path string) (int, string) {
		if strings.HasSuffix(path, "/power-on") {
			<-answered
		}
		return 0, ""
	})
	started, err := vm.PowerOn(lab.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, text := lab.Fault(vm.PowerOn(lab.Context()))
	if busy, ok := again.(*types.TaskInProgress); !ok || busy.Task != started.Reference() {
		t.Errorf("%T %q: want the running task %s", again, text, started.Reference())
	}
	// The machine is readable meanwhile, and its guest is heard.
	report(t, lab, uuid, true)
	if state := lab.Properties(client, vm.Reference(), "runtime.powerState").Runtime.PowerState; state != "poweredOff" {
		t.Errorf("%s before the hypervisor has answered", state)
	}
	close(answered)
	lab.Done(started, nil)
	if now := lab.Properties(client, vm.Reference(), "runtime.powerState", "guest.ipAddress"); now.Runtime.PowerState != "poweredOn" || now.Guest.IpAddress != "10.77.1.5" {
		t.Errorf("%s, %s", now.Runtime.PowerState, now.Guest.IpAddress)
	}
}

func TestHypervisorErrorFailsTheTask(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	lab.Hypervisor.Set(func(method, _ string) (int, string) {
		if method == http.MethodPost {
			return http.StatusInternalServerError, `{"error": "no cgroup left"}`
		}
		return 0, ""
	})
	_, text := lab.Fault(vm.PowerOn(lab.Context()))
	if !strings.Contains(text, "no cgroup left") {
		t.Errorf("%q", text)
	}
	if state := lab.Properties(client, vm.Reference(), "runtime.powerState").Runtime.PowerState; state != "poweredOff" {
		t.Error(state)
	}
	lab.Hypervisor.Set(nil)
	lab.Done(vm.PowerOn(lab.Context()))
}

func TestPowerStatesAreRespected(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	ctx := lab.Context()
	vm := lab.Clone(client, "node")
	isState := func(what string, fault types.BaseMethodFault, _ string) {
		t.Helper()
		if _, ok := fault.(*types.InvalidPowerState); !ok {
			t.Errorf("%s: %T", what, fault)
		}
	}
	fault, text := lab.Fault(vm.PowerOff(ctx))
	isState("power off when off", fault, text)
	lab.Done(vm.PowerOn(ctx))
	fault, text = lab.Fault(vm.PowerOn(ctx))
	isState("power on when on", fault, text)
	fault, text = lab.Fault(vm.Destroy(ctx))
	isState("destroy when on", fault, text)
	fault, text = lab.Fault(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 8}))
	isState("more CPUs when on", fault, text)
	fault, _ = lab.Fault(nil, vm.ShutdownGuest(ctx))
	if _, ok := fault.(*types.ToolsUnavailable); !ok {
		t.Errorf("shutdown without tools: %T", fault)
	}
	fault, _ = lab.Fault(lab.VM(client, labtest.Template).PowerOn(ctx))
	if _, ok := fault.(*types.NotSupported); !ok {
		t.Errorf("a template powered on: %T", fault)
	}
}

func TestEventsKeepReconfigurationsButNotClones(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node", func(s *types.VirtualMachineCloneSpec) {
		s.Config.ExtraConfig = labtest.Options("guestinfo.userdata", "in-the-clone")
	})
	events := func() string {
		_, text := lab.Control(http.MethodGet, "/events", "")
		return text
	}
	if strings.Contains(events(), "in-the-clone") {
		t.Error("an event keeps the clone's extraConfig")
	}
	lab.Done(vm.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options("guestinfo.userdata", "set-later")}))
	for _, part := range []string{"VmReconfiguredEvent", "set-later", "in-the-clone", "VmClonedEvent", "UserLoginSessionEvent"} {
		if !strings.Contains(events(), part) {
			t.Errorf("no %s in the events", part)
		}
	}
}

func TestReconfigureHonoursChangeVersionAndEmptyValues(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node", func(s *types.VirtualMachineCloneSpec) { s.Config.ExtraConfig = labtest.Options("a", "1") })
	version := lab.Properties(client, vm.Reference(), "config.changeVersion").Config.ChangeVersion
	time.Sleep(time.Millisecond)
	lab.Done(vm.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{ChangeVersion: version, ExtraConfig: labtest.Options("a", "")}))
	for _, o := range lab.Properties(client, vm.Reference(), "config.extraConfig").Config.ExtraConfig {
		if o.GetOptionValue().Key == "a" {
			t.Error("an empty value did not remove the key")
		}
	}
	fault, _ := lab.Fault(vm.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{ChangeVersion: version}))
	if _, ok := fault.(*types.ConcurrentAccess); !ok {
		t.Errorf("%T", fault)
	}
}

func TestImpossibleDevicesAreRefused(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	backing := func(file string) *types.VirtualDiskFlatVer2BackingInfo {
		return &types.VirtualDiskFlatVer2BackingInfo{
			VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file}, DiskMode: "persistent",
		}
	}
	unit := int32(1)
	for name, device := range map[string]types.BaseVirtualDevice{
		"no device":             nil,
		"a disk without file":   &types.VirtualDisk{VirtualDevice: types.VirtualDevice{ControllerKey: 1000, UnitNumber: &unit}, CapacityInKB: 1 << 20},
		"an unknown datastore":  &types.VirtualDisk{VirtualDevice: types.VirtualDevice{ControllerKey: 1000, UnitNumber: &unit, Backing: backing("[nowhere] x.vmdk")}, CapacityInKB: 1 << 20},
		"a NIC without network": &types.VirtualVmxnet3{},
	} {
		t.Run(name, func(t *testing.T) {
			fault, text := lab.Fault(vm.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{
				DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{Operation: "add", FileOperation: "create", Device: device}},
			}))
			if fault == nil || text == "" {
				t.Errorf("%T", fault)
			}
		})
	}
	lab.Done(vm.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: "add", FileOperation: "create",
			Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{ControllerKey: 1000, UnitNumber: &unit, Backing: backing("")}, CapacityInKB: 1 << 20},
		}},
	}))
}
