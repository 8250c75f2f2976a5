package vcenter_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

func TestSeveralMachinesArePoweredOnThroughTheHypervisor(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vms := []types.ManagedObjectReference{lab.Clone(client, "a").Reference(), lab.Clone(client, "b").Reference()}
	dc, err := find.NewFinder(client.Client, false).Datacenter(lab.Context(), "/dc1")
	if err != nil {
		t.Fatal(err)
	}
	started, err := dc.PowerOnVM(lab.Context(), vms)
	if err != nil {
		t.Fatal(err)
	}
	info, err := started.WaitForResult(lab.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range info.Result.(types.ClusterPowerOnVmResult).Attempted {
		lab.Done(object.NewTask(client.Client, *one.Task), nil)
	}
	if got := len(lab.Hypervisor.Read("none")); got != 4 {
		t.Errorf("the hypervisor was asked %d times", got)
	}
}

func TestFolderGoesWithItsMachines(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	_, before := lab.Control(http.MethodGet, "/inventory", "")
	parent, err := find.NewFinder(client.Client, false).Folder(lab.Context(), "/dc1/vm/clusters")
	if err != nil {
		t.Fatal(err)
	}
	outer, err := parent.CreateFolder(lab.Context(), "outer")
	if err != nil {
		t.Fatal(err)
	}
	inner, err := outer.CreateFolder(lab.Context(), "inner")
	if err != nil {
		t.Fatal(err)
	}
	lab.Done(lab.VM(client, labtest.Template).Clone(lab.Context(), inner, "node", lab.Spec(client)))
	vm := lab.VM(client, "/dc1/vm/clusters/outer/inner/node")
	lab.Done(vm.PowerOn(lab.Context()))
	fault, _ := lab.Fault(outer.Destroy(lab.Context()))
	if _, ok := fault.(*types.InvalidPowerState); !ok {
		t.Errorf("with a powered-on machine: %T", fault)
	}
	lab.Done(vm.PowerOff(lab.Context()))
	lab.Done(outer.Destroy(lab.Context()))
	if _, after := lab.Control(http.MethodGet, "/inventory", ""); before != after {
		t.Errorf("before %s\nafter %s", before, after)
	}
	if asked := lab.Hypervisor.Read("none"); !strings.HasPrefix(asked[len(asked)-1], "DELETE ") {
		t.Errorf("%v", asked)
	}
}

func TestEmptyMachineIsMadeOrRefused(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	finder := find.NewFinder(client.Client, false)
	folder, err := finder.Folder(lab.Context(), "/dc1/vm/clusters")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := finder.ResourcePool(lab.Context(), "/dc1/host/cc1/Resources")
	if err != nil {
		t.Fatal(err)
	}
	create := func(name, path, network string) (*object.Task, error) {
		nic, err := object.EthernetCardTypes().CreateEthernetCard("vmxnet3", &types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: network},
		})
		if err != nil {
			t.Fatal(err)
		}
		return folder.CreateVM(lab.Context(), types.VirtualMachineConfigSpec{
			Name: name, Files: &types.VirtualMachineFileInfo{VmPathName: path}, GuestId: "ubuntu64Guest",
			DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{Operation: "add", Device: nic}},
		}, pool, nil)
	}
	for _, c := range [][3]string{{"a", "[nowhere]", "VM Network"}, {"a", "", "VM Network"}, {"a", "[ds1]", "nowhere"}} {
		fault, text := lab.Fault(create(c[0], c[1], c[2]))
		if fault == nil || text == "" {
			t.Errorf("%v: %T", c, fault)
		}
	}
	lab.Done(create("foreign", "[ds1]", "VM Network"))
	fault, _ := lab.Fault(create("foreign", "[ds1]", "VM Network"))
	if _, ok := fault.(*types.DuplicateName); !ok {
		t.Errorf("%T", fault)
	}
	for _, vm := range lab.Server.Inventory().VMs {
		if vm.Name == "foreign" && (!strings.HasPrefix(vm.NICs[0].MAC, "00:50:56:") || len(vm.ExtraConfig) != 0) {
			t.Errorf("%+v", vm)
		}
	}
}

func TestInstanceUUIDIsSetAgainUnlessTaken(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	const wish = "11111111-2222-3333-4444-555555555555"
	a, b := lab.Clone(client, "a"), lab.Clone(client, "b")
	lab.Done(a.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{InstanceUuid: wish}))
	if got := lab.Properties(client, a.Reference(), "config.instanceUuid").Config.InstanceUuid; got != wish {
		t.Error(got)
	}
	lab.Done(b.Reconfigure(lab.Context(), types.VirtualMachineConfigSpec{InstanceUuid: wish}))
	if got := lab.Properties(client, b.Reference(), "config.instanceUuid").Config.InstanceUuid; got == wish {
		t.Error("two machines have it")
	}
}

func TestUnregisteringAFolderKeepsTheFilesOfItsMachines(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	parent, err := find.NewFinder(client.Client, false).Folder(lab.Context(), "/dc1/vm/clusters")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := parent.CreateFolder(lab.Context(), "of-a-cluster")
	if err != nil {
		t.Fatal(err)
	}
	lab.Done(lab.VM(client, labtest.Template).Clone(lab.Context(), folder, "node", lab.Spec(client)))
	end := func() (*object.Task, error) {
		answer, err := methods.UnregisterAndDestroy_Task(lab.Context(), client.Client, &types.UnregisterAndDestroy_Task{This: folder.Reference()})
		if err != nil {
			return nil, err
		}
		return object.NewTask(client.Client, answer.Returnval), nil
	}
	vm := lab.VM(client, "/dc1/vm/clusters/of-a-cluster/node")
	lab.Done(vm.PowerOn(lab.Context()))
	fault, _ := lab.Fault(end())
	if _, ok := fault.(*types.InvalidPowerState); !ok {
		t.Errorf("with a powered-on machine: %T", fault)
	}
	lab.Done(vm.PowerOff(lab.Context()))
	lab.Done(end())
	if got := lab.Server.Inventory(); strings.Contains(fmt.Sprintf("%+v", got), "of-a-cluster") {
		t.Errorf("folder or machine is still there: %+v", got)
	}
	if _, ledger := lab.Control(http.MethodGet, "/ledger", ""); !strings.Contains(ledger, "node.vmdk") {
		t.Errorf("its disk is gone: %s", ledger)
	}
}
