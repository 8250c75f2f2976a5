package vcenter

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
)

// What calls need that depends on the object or on their specification. Each rule is that of the page in
// the vSphere Web Services API reference that has the method's name, unless it says otherwise.

// byType are the privileges of methods that every entity has, by the entity's type.
var byType = map[string]map[string]string{
	"Destroy_Task": {
		"VirtualMachine": "VirtualMachine.Inventory.Delete", "Folder": "Folder.Delete", "Datacenter": "Datacenter.Delete",
		"ClusterComputeResource": "Host.Inventory.DeleteCluster", "ComputeResource": "Host.Inventory.RemoveHostFromCluster",
		"HostSystem": "Host.Inventory.RemoveHostFromCluster", "ResourcePool": "Resource.DeletePool", "VirtualApp": "VApp.Delete",
		"Datastore": "Datastore.Delete", "Network": "Network.Delete", "DistributedVirtualPortgroup": "DVPortgroup.Delete",
		"DistributedVirtualSwitch": "DVSwitch.Delete", "VmwareDistributedVirtualSwitch": "DVSwitch.Delete",
	},
	"Rename_Task": {
		"VirtualMachine": "VirtualMachine.Config.Rename", "Folder": "Folder.Rename", "Datacenter": "Datacenter.Rename",
		"ClusterComputeResource": "Host.Inventory.RenameCluster", "ComputeResource": "Host.Inventory.RenameCluster",
		"ResourcePool": "Resource.RenamePool", "VirtualApp": "VApp.Rename", "Datastore": "Datastore.Rename",
		"Network": "Network.Config", "DistributedVirtualPortgroup": "DVPortgroup.Modify",
		"DistributedVirtualSwitch": "DVSwitch.Modify", "VmwareDistributedVirtualSwitch": "DVSwitch.Modify",
	},
	"MoveIntoFolder_Task": {
		"VirtualMachine": "VirtualMachine.Inventory.Move", "Folder": "Folder.Move", "Datacenter": "Datacenter.Move",
		"ClusterComputeResource": "Host.Inventory.MoveCluster", "ComputeResource": "Host.Inventory.MoveCluster",
		"HostSystem": "Host.Inventory.MoveHost", "VirtualApp": "VApp.Move", "Datastore": "Datastore.Move", "Network": "Network.Move",
		"DistributedVirtualSwitch": "DVSwitch.Move", "VmwareDistributedVirtualSwitch": "DVSwitch.Move",
	},
}

func (s *Server) needsByCode(ctx *simulator.Context, this mo.Reference, method *simulator.Method) ([]need, *refusal) {
	switch body := method.Body.(type) {
	case *types.Destroy_Task:
		return s.needsOfType(this, method.Name, true)
	case *types.UnregisterAndDestroy_Task:
		return s.needsToUnregisterAll(this)
	case *types.Rename_Task:
		return s.needsOfType(this, method.Name, false)
	case *types.MoveIntoFolder_Task:
		return s.needsOfMove(body)
	case *types.CancelTask:
		task, ok := this.(*simulator.Task)
		if ok && !own(ctx.Session, task) && task.Info.Entity != nil {
			return []need{{"Global.CancelTask", *task.Info.Entity}}, nil
		}
	case *types.CloneVM_Task:
		if vm, ok := this.(*simulator.VirtualMachine); ok {
			return s.needsOfClone(vm, body)
		}
	case *types.CreateVM_Task:
		return s.needsOfCreate(body)
	case *types.ImportVApp:
		return s.needsOfImport(this, body)
	case *types.ReconfigVM_Task:
		if vm, ok := this.(*simulator.VirtualMachine); ok {
			return s.needsOfConfig(&body.Spec, vm.Self, vm.Config.Hardware.Device, false)
		}
	case *types.RelocateVM_Task:
		return needsOfPlace(body.Spec), nil
	}
	return nil, nil
}

// needsOfType: what is destroyed needs the same privilege on its parent.
func (s *Server) needsOfType(this mo.Reference, method string, andParent bool) ([]need, *refusal) {
	entity, ok := this.(mo.Entity)
	if !ok {
		return nil, nil // it will not be found
	}
	self := entity.Reference()
	privilege, known := byType[method][self.Type]
	if !known {
		return nil, noRow(method + " of a " + self.Type)
	}
	out := []need{{privilege, self}}
	if parent := entity.Entity().Parent; parent != nil && andParent {
		out = append(out, need{privilege, *parent})
	}
	return out, nil
}

// needsToUnregisterAll: folders need what they need to be destroyed, machines what they need to be unregistered.
func (s *Server) needsToUnregisterAll(this mo.Reference) ([]need, *refusal) {
	out, refused := s.needsOfType(this, "Destroy_Task", true)
	in, ok := this.(*simulator.Folder)
	if refused != nil || !ok {
		return out, refused
	}
	for _, child := range in.ChildEntity {
		switch object := s.registry.Get(child).(type) {
		case *simulator.VirtualMachine:
			out = append(out, need{"VirtualMachine.Inventory.Unregister", child})
		case *simulator.Folder:
			more, refused := s.needsToUnregisterAll(object)
			if refused != nil {
				return nil, refused
			}
			out = append(out, more...)
		}
	}
	return out, nil
}

func (s *Server) needsOfMove(body *types.MoveIntoFolder_Task) ([]need, *refusal) {
	var out []need
	for _, moved := range body.List {
		more, refused := s.needsOfType(s.registry.Get(moved), "MoveIntoFolder_Task", true)
		if refused != nil {
			return nil, refused
		}
		if out = append(out, more...); len(more) > 0 {
			out = append(out, need{more[0].privilege, body.This})
		}
	}
	return out, nil
}

func noRow(what string) *refusal {
	return refuseText(&types.NotSupported{}, fmt.Sprintf(
		"The lab does not know which privilege %s needs: say it in lab/vcenter/internal (authz/table.go, vcenter/needs.go).", what))
}

// Fields of the specifications of clones and relocations that the rules below look at, or that need nothing.
var (
	cloneFields = []string{"Location", "Template", "Config", "Customization", "PowerOn", "Snapshot"}
	placeFields = []string{"Datastore", "DiskMoveType", "Pool", "Host", "Disk", "DeviceChange", "Transform", "Folder", "Profile"}
)

// fieldsSet names the fields of a specification that are set.
func fieldsSet(spec any) []string {
	value := reflect.Indirect(reflect.ValueOf(spec))
	var out []string
	for i := range value.NumField() {
		if field := value.Type().Field(i); !field.Anonymous && !value.Field(i).IsZero() {
			out = append(out, field.Name)
		}
	}
	return out
}

func unknownField(spec any, known []string) *refusal {
	for _, name := range fieldsSet(spec) {
		if !slices.Contains(known, name) {
			return noRow(fmt.Sprintf("the field %s of %s", name, reflect.Indirect(reflect.ValueOf(spec)).Type().Name()))
		}
	}
	return nil
}

func needsOfPlace(where types.VirtualMachineRelocateSpec) []need {
	var out []need
	if where.Datastore != nil {
		out = append(out, need{"Datastore.AllocateSpace", *where.Datastore})
	}
	for _, disk := range where.Disk {
		out = append(out, need{"Datastore.AllocateSpace", disk.Datastore})
	}
	if where.Pool != nil {
		out = append(out, need{"Resource.AssignVMToPool", *where.Pool})
	}
	return out
}

func (s *Server) needsOfClone(vm *simulator.VirtualMachine, req *types.CloneVM_Task) ([]need, *refusal) {
	spec := req.Spec
	if refused := unknownField(&spec, cloneFields); refused != nil {
		return nil, refused
	}
	if refused := unknownField(&spec.Location, placeFields); refused != nil {
		return nil, refused
	}
	privilege := map[[2]bool]string{ // source is a template, result is a template
		{false, false}: "VirtualMachine.Provisioning.Clone", {false, true}: "VirtualMachine.Provisioning.CreateTemplateFromVM",
		{true, false}: "VirtualMachine.Provisioning.DeployTemplate", {true, true}: "VirtualMachine.Provisioning.CloneTemplate",
	}[[2]bool{vm.Config.Template, spec.Template}]
	// The privilege on the folder: vSphere Automation API, vcenter VM clone ("folder requires …").
	out := []need{{privilege, vm.Self}, {"VirtualMachine.Inventory.CreateFromExisting", req.Folder}}
	// Common Tasks, vSphere Security, "Deploy a virtual machine from a template": on the destination folder.
	out = append(out, need{"VirtualMachine.Config.AddNewDisk", req.Folder})
	if spec.Customization != nil {
		out = append(out, need{"VirtualMachine.Provisioning.Customize", vm.Self})
	}
	where := spec.Location
	if where.Pool == nil && !vm.Config.Template {
		where.Pool = vm.ResourcePool
	}
	if spec.Template {
		where.Pool = nil
	}
	if where.Datastore == nil && len(where.Disk) == 0 {
		for _, store := range vm.Datastore {
			out = append(out, need{"Datastore.AllocateSpace", store})
		}
	}
	out = append(out, needsOfPlace(where)...)
	if len(asked(&spec)) > 0 {
		out = append(out, need{viewPolicies, s.content.RootFolder})
	}
	changes := slices.Clone(spec.Location.DeviceChange)
	config := types.VirtualMachineConfigSpec{}
	if spec.Config != nil {
		config = *spec.Config
	}
	config.DeviceChange = append(changes, config.DeviceChange...)
	// The new machine's own privileges are those on its folder: they cannot stand anywhere else yet.
	more, refused := s.needsOfConfig(&config, req.Folder, vm.Config.Hardware.Device, true)
	if refused != nil {
		return nil, refused
	}
	out = append(out, more...)
	// Web Services API, CreateVM_Task: on all datastores where the machine and its disks are created.
	for _, change := range config.DeviceChange {
		if _, store := s.newDiskStore(change.GetVirtualDeviceConfigSpec(), req.Folder); store != nil {
			out = append(out, need{"Datastore.AllocateSpace", store.Self})
		}
	}
	// Common Tasks, vSphere Security: Network.Assign on every network that the machine will be on.
	changed := map[int32]bool{}
	for _, change := range config.DeviceChange {
		if device := change.GetVirtualDeviceConfigSpec().Device; device != nil {
			changed[device.GetVirtualDevice().Key] = true
		}
	}
	for _, nic := range nics(vm.Config.Hardware.Device) {
		if card := nic.GetVirtualEthernetCard(); !changed[card.Key] {
			out = append(out, s.needsOfNetwork(card.Backing, vm.Network)...)
		}
	}
	if spec.PowerOn {
		out = append(out, need{"VirtualMachine.Interact.PowerOn", req.Folder})
	}
	return out, nil
}

func (s *Server) needsOfCreate(req *types.CreateVM_Task) ([]need, *refusal) {
	var out []need
	folder, ok := s.registry.Get(req.This).(*simulator.Folder)
	if !ok {
		return nil, nil
	}
	var path object.DatastorePath
	if dc := s.datacenterOf(folder); dc != nil && req.Config.Files != nil && path.FromString(req.Config.Files.VmPathName) {
		if store := s.registry.FindByName(path.Datastore, dc.Datastore); store != nil {
			out = append(out, need{"Datastore.AllocateSpace", store.Reference()})
		}
	}
	for _, name := range fieldsSet(&req.Config) {
		if _, known := authz.OfField(name); !known {
			return nil, noRow("the field " + name + " of VirtualMachineConfigSpec")
		}
	}
	for _, change := range req.Config.DeviceChange {
		for _, one := range s.needsOfDevice(change.GetVirtualDeviceConfigSpec(), req.This, nil, true) {
			switch one.privilege { // "also required when creating a virtual machine"
			case "VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.AddExistingDisk", "VirtualMachine.Config.RawDevice",
				"VirtualMachine.Config.HostUSBDevice", "Network.Assign":
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// needsOfImport are those of the machine that is made ("additional privileges may be required. See CreateVM_Task").
func (s *Server) needsOfImport(this mo.Reference, req *types.ImportVApp) ([]need, *refusal) {
	spec, ok := req.Spec.(*types.VirtualMachineImportSpec)
	pool, isPool := this.(*simulator.ResourcePool)
	if !ok || !isPool {
		return nil, nil // it will be refused
	}
	folder := s.importFolder(pool, req.Folder)
	if folder == nil {
		return nil, nil
	}
	out, refused := s.needsOfCreate(&types.CreateVM_Task{This: folder.Self, Config: spec.ConfigSpec})
	return append(out, need{"VirtualMachine.Inventory.Create", folder.Self}, need{"Resource.AssignVMToPool", pool.Self}), refused
}

// needsOfConfig: a privilege for each field that is set.
func (s *Server) needsOfConfig(spec *types.VirtualMachineConfigSpec, on ref, devices []types.BaseVirtualDevice, isNew bool) ([]need, *refusal) {
	var out []need
	for _, name := range fieldsSet(spec) {
		privilege, known := authz.OfField(name)
		if !known {
			return nil, noRow("the field " + name + " of VirtualMachineConfigSpec")
		}
		if privilege != "" {
			out = append(out, need{privilege, on})
		}
	}
	for _, change := range spec.DeviceChange {
		out = append(out, s.needsOfDevice(change.GetVirtualDeviceConfigSpec(), on, devices, isNew)...)
	}
	return out, nil
}

func (s *Server) needsOfDevice(change *types.VirtualDeviceConfigSpec, on ref, devices []types.BaseVirtualDevice, isNew bool) []need {
	if change.Device == nil {
		return nil
	}
	edits := change.Operation == types.VirtualDeviceConfigSpecOperationEdit
	config := func(name string) need { return need{"VirtualMachine.Config." + name, on} }
	var out []need
	switch device := change.Device.(type) {
	case *types.VirtualDisk:
		switch {
		case change.Operation == types.VirtualDeviceConfigSpecOperationRemove:
			out = append(out, config("RemoveDisk"))
		case edits:
			out = append(out, config("EditDevice"))
			old := object.VirtualDeviceList(devices).FindByKey(device.Key)
			if was, ok := old.(*types.VirtualDisk); ok && max(device.CapacityInBytes, device.CapacityInKB<<10) > was.CapacityInBytes {
				out = append(out, config("DiskExtend"))
			}
		case change.FileOperation != "":
			out = append(out, config("AddNewDisk"))
		default:
			out = append(out, config("AddExistingDisk"))
		}
		if device.Shares != nil || device.StorageIOAllocation != nil {
			out = append(out, config("Resource"))
		}
	case *types.VirtualUSB:
		out = append(out, config("HostUSBDevice"))
	case *types.VirtualPCIPassthrough, *types.VirtualSCSIPassthrough:
		out = append(out, config("RawDevice"))
	case *types.VirtualCdrom:
		out = append(out, either(edits, need{"VirtualMachine.Interact.SetCDMedia", on}, config("AddRemoveDevice")))
	case *types.VirtualFloppy:
		out = append(out, either(edits, need{"VirtualMachine.Interact.SetFloppyMedia", on}, config("AddRemoveDevice")))
	default:
		out = append(out, either(edits, config("EditDevice"), config("AddRemoveDevice")))
	}
	if nic, ok := change.Device.(types.BaseVirtualEthernetCard); ok && change.Operation != types.VirtualDeviceConfigSpecOperationRemove {
		out = append(out, s.needsOfNetwork(nic.GetVirtualEthernetCard().Backing, nil)...)
	}
	if edits && !isNew && change.Device.GetVirtualDevice().Connectable != nil { // a state that a new machine has not
		out = append(out, need{"VirtualMachine.Interact.DeviceConnection", on})
	}
	return out
}

func either(condition bool, yes, no need) need {
	if condition {
		return yes
	}
	return no
}

// needsOfNetwork finds the network of a NIC. Names are looked for among those given, else everywhere.
func (s *Server) needsOfNetwork(backing types.BaseVirtualDeviceBackingInfo, among []ref) []need {
	var out []need
	switch b := backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		if among == nil && b.Network != nil {
			return []need{{"Network.Assign", *b.Network}}
		}
		for _, network := range s.registry.All("Network") {
			if nameOf(network) == b.DeviceName && (among == nil || slices.Contains(among, network.Reference())) {
				out = append(out, need{"Network.Assign", network.Reference()})
			}
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		out = append(out, need{"Network.Assign", ref{Type: "DistributedVirtualPortgroup", Value: b.Port.PortgroupKey}})
	}
	return out
}
