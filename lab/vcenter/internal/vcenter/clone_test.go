package vcenter_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

func TestCloneIsWhatWasAskedFor(t *testing.T) {
	lab := labtest.Start(t, func(o *vcenter.Options) {
		o.Inventory.Datacenters[0].Templates[0].ExtraConfig = map[string]string{
			"guestinfo.inherited": "yes", "guestinfo.replaced": "old", "guestinfo.removed": "old",
		}
	})
	client := lab.Login()
	vm := lab.Clone(client, "node", func(spec *types.VirtualMachineCloneSpec) {
		spec.Config.InstanceUuid = "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee"
		spec.Config.NumCPUs, spec.Config.MemoryMB, spec.Config.Annotation = 3, 3072, "a node"
		spec.Config.ExtraConfig = labtest.Options("guestinfo.replaced", "new", "guestinfo.removed", "", "disk.enableUUID", "TRUE")
	})
	got := lab.Properties(client, vm.Reference(), "name", "config", "parent", "resourcePool", "datastore", "runtime")
	config := got.Config
	if config.InstanceUuid != "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" {
		t.Errorf("instance UUID %s", config.InstanceUuid)
	}
	if h := config.Hardware; h.NumCPU != 3 || h.MemoryMB != 3072 || config.Annotation != "a node" {
		t.Errorf("%d CPUs, %d MiB, %q", h.NumCPU, h.MemoryMB, config.Annotation)
	}
	if config.Template || got.ResourcePool == nil || len(got.Datastore) != 1 {
		t.Errorf("template %v, pool %v, datastores %v", config.Template, got.ResourcePool, got.Datastore)
	}
	want := map[string]string{"guestinfo.inherited": "yes", "guestinfo.replaced": "new", "disk.enableUUID": "TRUE"}
	have := map[string]string{}
	for _, o := range config.ExtraConfig {
		have[o.GetOptionValue().Key] = o.GetOptionValue().Value.(string)
	}
	if !maps.Equal(want, have) {
		t.Errorf("extraConfig %v", have)
	}
	source := lab.Properties(client, lab.VM(client, labtest.Template).Reference(), "config").Config
	if source.Uuid == config.Uuid || source.GuestId != config.GuestId || source.Firmware != config.Firmware || source.Version != config.Version {
		t.Errorf("source %s %s %s, clone %s %s %s", source.Uuid, source.GuestId, source.Version, config.Uuid, config.GuestId, config.Version)
	}
}

func macs(devices object.VirtualDeviceList) []string {
	var out []string
	for _, nic := range devices.SelectByType((*types.VirtualEthernetCard)(nil)) {
		out = append(out, nic.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard().MacAddress)
	}
	return out
}

func TestFiftyParallelClonesAreAllDifferent(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	spec := lab.Spec(client, lab.Linked(client))
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			if err := lab.StartClone(client, fmt.Sprintf("node-%02d", i), spec).Wait(lab.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	seen := map[string]bool{}
	for _, vm := range lab.Server.Inventory().VMs {
		for _, id := range []string{vm.UUID, vm.InstanceUUID, vm.NICs[0].MAC, vm.Path, vm.Disks[0].File} {
			if seen[id] {
				t.Errorf("%s is there twice", id)
			}
			seen[id] = true
		}
		if !strings.HasPrefix(vm.NICs[0].MAC, "00:50:56:") {
			t.Errorf("MAC %s", vm.NICs[0].MAC)
		}
	}
	if n := len(lab.Server.Inventory().VMs); n != 51 {
		t.Errorf("%d machines", n)
	}
}

func TestClonesAskedForTogetherAreSpreadOverTheHosts(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	lab.Control("PUT", "/limits", `{"taskSeconds": {"CloneVM_Task": 0.2}}`)
	spec := lab.Spec(client, lab.Linked(client))
	refused := spec
	refused.Config = &types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: 4711}},
		},
	}}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			if err := lab.StartClone(client, fmt.Sprintf("odd-%d", i), refused).Wait(lab.Context()); err == nil {
				t.Error("a clone that changes a disk which is not there")
			}
			if err := lab.StartClone(client, fmt.Sprintf("node-%d", i), spec).Wait(lab.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	on := map[string]int{}
	for _, vm := range lab.Server.Inventory().VMs {
		on[vm.Host]++
	}
	least, most := 9, 0
	for _, n := range on {
		least, most = min(least, n), max(most, n)
	}
	if len(on) < 2 || most-least > 1 {
		t.Errorf("machines by host: %v", on)
	}
}

func TestNameIsTakenAtOnceAndOnlyInItsFolder(t *testing.T) {
	lab := labtest.Start(t, func(o *vcenter.Options) { o.TaskTime = 300e6 })
	client := lab.Login()
	spec := lab.Spec(client)
	first, second := lab.StartClone(client, "same", spec), lab.StartClone(client, "same", spec)
	if first.Wait(lab.Context()) != nil { // which of two tasks begins first is nobody's promise
		first, second = second, first
	}
	fault, text := lab.Fault(second, nil)
	if duplicate, ok := fault.(*types.DuplicateName); !ok || duplicate.Name != "same" || !strings.Contains(text, "same") {
		t.Errorf("%T %q", fault, text)
	}
	lab.Done(first, nil)
	fault, _ = lab.Fault(lab.StartClone(client, "same", spec), nil)
	made := lab.VM(client, "/dc1/vm/clusters/same").Reference()
	if duplicate, ok := fault.(*types.DuplicateName); !ok || duplicate.Object != made {
		t.Errorf("%#v", fault)
	}
	fault, _ = lab.Fault(lab.StartClone(client, strings.Repeat("ä", 81), spec), nil)
	if _, ok := fault.(*types.InvalidName); !ok {
		t.Errorf("a name of 81 characters: %#v", fault)
	}
	elsewhere, err := find.NewFinder(client.Client, false).Folder(lab.Context(), "/dc1/vm/templates")
	if err != nil {
		t.Fatal(err)
	}
	lab.Done(lab.VM(client, labtest.Template).Clone(lab.Context(), elsewhere, "same", spec))
}

func TestSecondInstanceUUIDIsReplaced(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	wish := func(spec *types.VirtualMachineCloneSpec) {
		spec.Config.InstanceUuid = "11111111-2222-3333-4444-555555555555"
	}
	first := lab.Properties(client, lab.Clone(client, "a", wish).Reference(), "config.instanceUuid").Config.InstanceUuid
	second := lab.Properties(client, lab.Clone(client, "b", wish).Reference(), "config.instanceUuid").Config.InstanceUuid
	if first != "11111111-2222-3333-4444-555555555555" || second == first || len(second) != 36 {
		t.Errorf("first %s, second %s", first, second)
	}
	found, err := object.NewSearchIndex(client.Client).FindByUuid(lab.Context(), nil, second, true, types.NewBool(true))
	if err != nil || found == nil || found.Reference() != lab.VM(client, "/dc1/vm/clusters/b").Reference() {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestLinkedCloneHangsOnItsParentAndCostsLittle(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	free := func() int64 { return lab.Server.Inventory().Datastores[0].FreeSpace }
	before := free()
	lab.Clone(client, "linked", lab.Linked(client))
	linked := before - free()
	lab.Clone(client, "full")
	full := before - linked - free()
	if linked <= 0 || linked > 1<<30 || full != 20<<30 {
		t.Errorf("the linked clone took %d bytes, the full one %d", linked, full)
	}
	parents := map[string]string{}
	for _, vm := range lab.Server.Inventory().VMs {
		parents[vm.Name] = vm.Disks[0].Parent
	}
	if parents["linked"] != "[ds1] ubuntu-2404-kube-v1.34.4/ubuntu-2404-kube-v1.34.4.vmdk" || parents["full"] != "" {
		t.Errorf("parents %v", parents)
	}
	for _, name := range []string{"linked", "full"} {
		lab.Done(lab.VM(client, "/dc1/vm/clusters/"+name).Destroy(lab.Context()))
	}
	if after := free(); after != before {
		t.Errorf("%d bytes of the datastore are lost", before-after)
	}
}

func TestCloneIsRefused(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	linked := lab.Linked(client)
	bigger := func(gib int64) func(*types.VirtualMachineCloneSpec) {
		return func(spec *types.VirtualMachineCloneSpec) {
			devices := object.VirtualDeviceList(lab.Properties(client, lab.VM(client, labtest.Template).Reference(), "config.hardware.device").Config.Hardware.Device)
			disk := devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
			disk.CapacityInKB = gib << 20
			spec.Config.DeviceChange = []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk,
			}}
		}
	}
	for name, c := range map[string]struct {
		edit func(*types.VirtualMachineCloneSpec)
		want types.BaseMethodFault
	}{
		"without a pool":            {func(s *types.VirtualMachineCloneSpec) { s.Location.Pool = nil }, &types.InvalidArgument{}},
		"linked without a snapshot": {func(s *types.VirtualMachineCloneSpec) { linked(s); s.Snapshot = nil }, &types.InvalidArgument{}},
		"with a foreign snapshot":   {func(s *types.VirtualMachineCloneSpec) { linked(s); s.Snapshot.Value = "snapshot-0" }, &types.InvalidArgument{}},
		"linked with a larger disk": {func(s *types.VirtualMachineCloneSpec) { linked(s); bigger(40)(s) }, &types.InvalidDeviceSpec{}},
		"with a smaller disk":       {bigger(10), &types.InvalidDeviceSpec{}},
		"larger than the datastore": {bigger(4096), &types.NoDiskSpace{}},
		"to a host of another cluster": {func(s *types.VirtualMachineCloneSpec) {
			host, err := find.NewFinder(client.Client, false).HostSystem(lab.Context(), "/dc1/host/cc2/cc2-esx1.lab")
			if err != nil {
				t.Fatal(err)
			}
			r := host.Reference()
			s.Location.Host = &r
		}, &types.InvalidArgument{}},
		"onto a network that is not there": {func(s *types.VirtualMachineCloneSpec) {
			s.Config.DeviceChange = []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationAdd,
				Device: &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
					VirtualDevice: types.VirtualDevice{Key: -1, Backing: &types.VirtualEthernetCardNetworkBackingInfo{
						VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "nowhere"},
					}},
				}}},
			}}
		}, &types.InvalidDeviceBacking{}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := lab.Spec(client)
			if spec.Snapshot != nil {
				copied := *spec.Snapshot
				spec.Snapshot = &copied
			}
			c.edit(&spec)
			fault, text := lab.Fault(lab.StartClone(client, "refused", spec), nil)
			if fmt.Sprintf("%T", fault) != fmt.Sprintf("%T", c.want) || text == "" {
				t.Errorf("%T %q, not %T", fault, text, c.want)
			}
			if strings.Contains(name, "foreign") {
				linked = lab.Linked(client) // its snapshot was written over
			}
		})
	}
	if n := len(lab.Server.Inventory().VMs); n != 1 {
		t.Errorf("%d machines are left", n-1)
	}
}

func TestCloneTakesDiskAndNetworkOfTheRequest(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	network, err := find.NewFinder(client.Client, false).Network(lab.Context(), "/dc1/network/nodes")
	if err != nil {
		t.Fatal(err)
	}
	backing, err := network.EthernetCardBackingInfo(lab.Context())
	if err != nil {
		t.Fatal(err)
	}
	lab.Clone(client, "node", func(spec *types.VirtualMachineCloneSpec) {
		devices := object.VirtualDeviceList(lab.Properties(client, lab.VM(client, labtest.Template).Reference(), "config.hardware.device").Config.Hardware.Device)
		disk := devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
		disk.CapacityInKB = 40 << 20
		nic := devices.SelectByType((*types.VirtualEthernetCard)(nil))[0]
		nic.GetVirtualDevice().Backing = backing
		nic.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard().MacAddress = ""
		for _, device := range []types.BaseVirtualDevice{disk, nic} {
			spec.Config.DeviceChange = append(spec.Config.DeviceChange, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: device,
			})
		}
	})
	for _, vm := range lab.Server.Inventory().VMs {
		if vm.Name == "node" && (vm.Disks[0].MiB != 40<<10 || len(vm.NICs) != 1 || vm.NICs[0].Network != "nodes") {
			t.Errorf("disks %v, NICs %v", vm.Disks, vm.NICs)
		}
	}
}

func TestMACStaysOverPowerCycles(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	devices := func() object.VirtualDeviceList {
		list, err := vm.Device(lab.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	first := macs(devices())
	for range 2 {
		lab.Done(vm.PowerOn(lab.Context()))
		lab.Done(vm.PowerOff(lab.Context()))
	}
	if now := macs(devices()); len(first) != 1 || !slices.Equal(first, now) {
		t.Errorf("%v became %v", first, now)
	}
}

func TestEveryInventoryFileBuilds(t *testing.T) {
	for _, name := range []string{"default.yaml", "mixed.yaml"} {
		t.Run(name, func(t *testing.T) {
			spec := labtest.Inventory(t, name)
			built, err := inventory.Build(spec, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if want := len(spec.Datacenters[0].Templates); len(built.Images) != want {
				t.Errorf("%d images, not %d", len(built.Images), want)
			}
		})
	}
}
