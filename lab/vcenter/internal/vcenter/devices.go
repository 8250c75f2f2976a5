package vcenter

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/types"
)

// cloneDevices decides the clone's devices: the source's, with the changes that the request asks for.
func (s *Server) cloneDevices(ctx *simulator.Context, plan *clonePlan, from *source, req *types.CloneVM_Task) *refusal {
	standard := object.VirtualDeviceList(esx.VirtualDevice)
	originals := object.VirtualDeviceList(from.config.Hardware.Device)
	var devices object.VirtualDeviceList
	for _, device := range originals {
		if standard.Find(originals.Name(device)) == nil { // the simulator adds the standard ones itself
			devices = append(devices, device)
		}
	}
	changes := slices.Clone(req.Spec.Location.DeviceChange)
	if req.Spec.Config != nil {
		changes = append(changes, req.Spec.Config.DeviceChange...)
	}
	kept := map[int32]bool{} // NICs whose address the request has set
	elsewhere := map[types.BaseVirtualDevice]*simulator.Datastore{}
	for i, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		if store := plan.newDisks[i-len(req.Spec.Location.DeviceChange)]; store != nil {
			elsewhere[spec.Device] = store
		}
		var refused *refusal
		if devices, refused = applyChange(devices, spec, i, plan.parents); refused != nil {
			return refused
		}
		if nic, ok := spec.Device.(types.BaseVirtualEthernetCard); ok && nic.GetVirtualEthernetCard().MacAddress != "" {
			kept[nic.GetVirtualEthernetCard().Key] = true
		}
	}
	plan.config.DeviceChange = nil
	for i, device := range devices {
		spec := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: device}
		switch d := device.(type) {
		case *types.VirtualDisk:
			fresh := freshBacking(d)
			if store := elsewhere[device]; store != nil {
				fresh.FileName = fmt.Sprintf("[%s]", store.Name)
			}
			d.Backing = fresh
			spec.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
		case types.BaseVirtualEthernetCard:
			card := d.GetVirtualEthernetCard()
			if !kept[card.Key] {
				card.MacAddress, card.AddressType = "", string(types.VirtualEthernetCardMacTypeAssigned)
			}
			if refused := s.checkNetwork(ctx, plan.host, card.Backing, i); refused != nil {
				return refused
			}
		}
		plan.config.DeviceChange = append(plan.config.DeviceChange, spec)
	}
	return nil
}

// freshBacking is a new file of the same kind.
func freshBacking(disk *types.VirtualDisk) *types.VirtualDiskFlatVer2BackingInfo {
	fresh := &types.VirtualDiskFlatVer2BackingInfo{
		DiskMode:        string(types.VirtualDiskModePersistent),
		ThinProvisioned: types.NewBool(true),
	}
	if was, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
		if was.DiskMode != "" {
			fresh.DiskMode = was.DiskMode
		}
		if was.ThinProvisioned != nil {
			fresh.ThinProvisioned = was.ThinProvisioned
		}
		fresh.EagerlyScrub = was.EagerlyScrub
	}
	return fresh
}

func applyChange(devices object.VirtualDeviceList, spec *types.VirtualDeviceConfigSpec, index int, parents map[int32]*types.VirtualDiskFlatVer2BackingInfo) (object.VirtualDeviceList, *refusal) {
	invalid := func(why string) *refusal {
		return refuseText(&types.InvalidDeviceSpec{DeviceIndex: int32(index)},
			fmt.Sprintf("Invalid configuration for device '%d': %s", index, why))
	}
	if spec.Device == nil {
		return nil, invalid("no device")
	}
	key := spec.Device.GetVirtualDevice().Key
	at := slices.IndexFunc(devices, func(d types.BaseVirtualDevice) bool { return d.GetVirtualDevice().Key == key })
	switch spec.Operation {
	case types.VirtualDeviceConfigSpecOperationAdd:
		if key <= 0 || at >= 0 {
			spec.Device.GetVirtualDevice().Key = newKey(devices, spec.Device)
		}
		if wanted := spec.Device.GetVirtualDevice(); wanted.ControllerKey > 0 && wanted.UnitNumber != nil {
			for _, device := range devices {
				there := device.GetVirtualDevice()
				if there.ControllerKey == wanted.ControllerKey && there.UnitNumber != nil && *there.UnitNumber == *wanted.UnitNumber {
					return nil, invalid(fmt.Sprintf("unit %d of controller %d is taken", *wanted.UnitNumber, wanted.ControllerKey))
				}
			}
		}
		return append(devices, spec.Device), nil
	case types.VirtualDeviceConfigSpecOperationRemove:
		if at < 0 {
			return nil, invalid(fmt.Sprintf("there is none with key %d to remove", key))
		}
		return slices.Delete(devices, at, at+1), nil
	case types.VirtualDeviceConfigSpecOperationEdit:
		if at < 0 {
			return nil, invalid(fmt.Sprintf("there is none with key %d to edit", key))
		}
		if why := editDevice(devices[at], spec.Device, parents[key] != nil); why != "" {
			return nil, invalid(why)
		}
		devices[at] = spec.Device
		return devices, nil
	}
	return nil, invalid("no operation")
}

// newKey numbers an added device as a vCenter does. Controllers keep theirs, which disks refer to.
func newKey(devices object.VirtualDeviceList, device types.BaseVirtualDevice) int32 {
	var key int32
	switch device.(type) {
	case *types.VirtualDisk:
		key = 2000
	case types.BaseVirtualEthernetCard:
		key = 4000
	default:
		if key = device.GetVirtualDevice().Key; key == 0 {
			return devices.NewKey()
		}
		return key
	}
	for devices.FindByKey(key) != nil {
		key++
	}
	return key
}

// editDevice completes the wanted device with what an edit leaves open. It answers what is wrong with it.
func editDevice(was, wanted types.BaseVirtualDevice, linked bool) string {
	before, after := was.GetVirtualDevice(), wanted.GetVirtualDevice()
	if after.ControllerKey == 0 {
		after.ControllerKey = before.ControllerKey
	}
	if after.UnitNumber == nil {
		after.UnitNumber = before.UnitNumber
	}
	if after.Backing == nil {
		after.Backing = before.Backing
	}
	if after.Connectable == nil {
		after.Connectable = before.Connectable
	}
	after.DeviceInfo = nil // made anew from the backing
	disk, ok := wanted.(*types.VirtualDisk)
	if !ok {
		return ""
	}
	old, ok := was.(*types.VirtualDisk)
	if !ok {
		return "it is not a disk"
	}
	size := max(disk.CapacityInBytes, disk.CapacityInKB<<10)
	if disk.CapacityInBytes == old.CapacityInBytes && disk.CapacityInKB != 0 {
		size = disk.CapacityInKB << 10 // the deprecated field was changed, as many clients do
	}
	switch {
	case size == 0:
		size = old.CapacityInBytes
	case size < old.CapacityInBytes:
		return "a disk cannot shrink"
	case size > old.CapacityInBytes && linked:
		return "a child disk has the size of its parent"
	}
	disk.CapacityInBytes, disk.CapacityInKB = size, size>>10
	if b, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); !ok || b.FileName == "" {
		disk.Backing = old.Backing
	}
	return ""
}

// checkNetwork refuses a NIC whose network the host does not have; the simulator would panic over some.
func (s *Server) checkNetwork(ctx *simulator.Context, host *simulator.HostSystem, backing types.BaseVirtualDeviceBackingInfo, index int) *refusal {
	bad := func(what string) *refusal {
		return refuseText(&types.InvalidDeviceBacking{
			InvalidDeviceSpec: types.InvalidDeviceSpec{DeviceIndex: int32(index)},
		}, fmt.Sprintf("Invalid backing for device '%d': %s", index, what))
	}
	var reachable []ref
	ctx.WithLock(host, func() { reachable = slices.Clone(host.Network) })
	switch b := backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		found := s.registry.FindByName(b.DeviceName, reachable)
		if found == nil || found.Reference().Type != "Network" {
			return bad(fmt.Sprintf("host %s has no network %q", host.Name, b.DeviceName))
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		group, ok := s.registry.Get(ref{Type: "DistributedVirtualPortgroup", Value: b.Port.PortgroupKey}).(*simulator.DistributedVirtualPortgroup)
		if !ok || !slices.Contains(reachable, group.Self) {
			return bad(fmt.Sprintf("host %s has no distributed port group with key %q", host.Name, b.Port.PortgroupKey))
		}
		dvs, ok := s.registry.Get(*group.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		if !ok || dvs.Uuid != b.Port.SwitchUuid {
			return bad(fmt.Sprintf("port group %s is not of the switch with UUID %q", group.Name, b.Port.SwitchUuid))
		}
	default:
		return bad(fmt.Sprintf("the lab has no networks of type %T", backing))
	}
	return nil
}

// newDiskStores finds the datastores that new disks of the configuration name, by number of the change. The path in
// brackets counts: the reference beside it "is not used for configuration" (VirtualDeviceFileBackingInfo, datastore).
func (s *Server) newDiskStores(req *types.CloneVM_Task) (map[int]*simulator.Datastore, *refusal) {
	found := map[int]*simulator.Datastore{}
	if req.Spec.Config == nil {
		return found, nil
	}
	for i, change := range req.Spec.Config.DeviceChange {
		named, store := s.newDiskStore(change.GetVirtualDeviceConfigSpec(), req.Folder)
		switch {
		case named == "":
		case store == nil:
			return nil, refuseText(&types.InvalidDatastorePath{
				InvalidDatastore: types.InvalidDatastore{Name: named}, DatastorePath: named,
			}, fmt.Sprintf("Invalid datastore path '%s'.", named))
		default:
			found[i] = store
		}
	}
	return found, nil
}

// newDiskStore answers what a new disk's file is to be called, if it says so, and on which datastore that is.
func (s *Server) newDiskStore(spec *types.VirtualDeviceConfigSpec, folder ref) (string, *simulator.Datastore) {
	disk, ok := spec.Device.(*types.VirtualDisk)
	if !ok || spec.Operation != types.VirtualDeviceConfigSpecOperationAdd || disk.Backing == nil {
		return "", nil
	}
	backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo)
	if !ok || backing.GetVirtualDeviceFileBackingInfo().FileName == "" {
		return "", nil
	}
	name := backing.GetVirtualDeviceFileBackingInfo().FileName
	var path object.DatastorePath
	in, _ := s.registry.Get(folder).(*simulator.Folder)
	if in == nil || !path.FromString(name) || path.Path != "" { // the lab names all files itself
		return name, nil
	}
	dc := s.datacenterOf(in)
	if dc == nil {
		return name, nil
	}
	store, _ := s.registry.FindByName(path.Datastore, dc.Datastore).(*simulator.Datastore)
	return name, store
}

// enoughSpace fails a clone that its datastores have no room for.
func (s *Server) enoughSpace(ctx *simulator.Context, plan *clonePlan, datastore *simulator.Datastore) *refusal {
	need := map[string]int64{}
	stores := []*simulator.Datastore{datastore}
	for _, store := range plan.newDisks {
		if !slices.Contains(stores, store) {
			stores = append(stores, store)
		}
	}
	for _, change := range plan.config.DeviceChange {
		disk, ok := change.GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk)
		if !ok || plan.parents[disk.Key] != nil {
			continue
		}
		plan.copied += disk.CapacityInBytes
		on := datastore.Name
		var path object.DatastorePath
		if path.FromString(disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName) {
			on = path.Datastore
		}
		need[on] += disk.CapacityInBytes
	}
	for _, store := range stores {
		var free int64
		ctx.WithLock(store, func() { free = store.Summary.FreeSpace })
		if need[store.Name] > free {
			return refuseText(&types.NoDiskSpace{Datastore: store.Name},
				fmt.Sprintf("Insufficient disk space on datastore '%s'.", store.Name))
		}
	}
	return nil
}
