package vcenter

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/hypervisor"
)

// ReconfigVMTask changes a machine's configuration.
func (m *machine) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	vm, s := m.VirtualMachine, m.server
	task := s.tasks.start(ctx, vm, "ReconfigVM_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		return nil, s.reconfigure(ctx, task, vm, &req.Spec)
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task}}
}

func (s *Server) reconfigure(ctx *simulator.Context, task *running, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) *refusal {
	end, refused := s.machines.begin(vm.Self, "reconfigure", task)
	if refused != nil {
		return refused
	}
	defer end()
	event := &types.VmReconfiguredEvent{ConfigSpec: *copyOf(spec), ConfigChanges: &types.ChangesInfoEventArgument{}}
	ctx.WithLock(vm, func() { refused = s.checkReconfigure(ctx, vm, spec) })
	if refused != nil {
		return refused
	}

	if spec.InstanceUuid != "" {
		instance, release := s.machines.claimInstanceUUID(spec.InstanceUuid, vm.Self)
		defer release()
		spec.InstanceUuid = instance
	}
	rest := *spec
	rest.ExtraConfig, rest.ChangeVersion = nil, ""
	if !reflect.DeepEqual(&rest, &types.VirtualMachineConfigSpec{}) {
		if refused := s.stockReconfigure(ctx, vm, rest); refused != nil {
			return refused
		}
	}

	var changed []optionChange
	uuid := ""
	ctx.WithLock(vm, func() {
		sayStorage(vm)
		changed = s.setExtraConfig(ctx, vm, spec.ExtraConfig)
		uuid = strings.ToLower(vm.Config.Uuid)
		now := time.Now()
		s.registry.Update(ctx, vm, []types.PropertyChange{
			{Name: "config.changeVersion", Val: strconv.FormatInt(now.UnixNano(), 10)},
			{Name: "config.modified", Val: now},
		})
		event.VmEvent = s.vmEvent(vm)
		describe(event.ConfigChanges, changed)
		s.post(ctx, event)
	})
	if guest := guestinfoOf(changed); len(guest) > 0 {
		if err := s.options.Hypervisor.Guestinfo(ctx, uuid, guest); err != nil {
			return systemError(err)
		}
	}
	return nil
}

// checkReconfigure finds what the simulator would take, or panic over. The caller holds the machine's lock.
func (s *Server) checkReconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) *refusal {
	if s.registry.Get(vm.Self) == nil {
		return refuse(&types.ManagedObjectNotFound{Obj: vm.Self})
	}
	if spec.ChangeVersion != "" && spec.ChangeVersion != vm.Config.ChangeVersion {
		return refuse(&types.ConcurrentAccess{})
	}
	whole, _ := merged(vm.Config.ExtraConfig, spec.ExtraConfig)
	if refused := s.limits.checkGuestinfo(whole); refused != nil {
		return refused
	}
	on := vm.Runtime.PowerState == poweredOn
	if on && spec.Uuid != "" && !strings.EqualFold(spec.Uuid, vm.Config.Uuid) {
		return refuse(&types.InvalidPowerState{RequestedState: poweredOff, ExistingState: vm.Runtime.PowerState})
	}
	hot := func(enabled *bool) bool { return enabled != nil && *enabled }
	if on && (spec.NumCPUs != 0 && spec.NumCPUs != vm.Config.Hardware.NumCPU && !hot(vm.Config.CpuHotAddEnabled) ||
		spec.MemoryMB != 0 && int32(spec.MemoryMB) != vm.Config.Hardware.MemoryMB && !hot(vm.Config.MemoryHotAddEnabled)) {
		return refuse(&types.InvalidPowerState{RequestedState: poweredOff, ExistingState: vm.Runtime.PowerState})
	}
	host, ok := s.registry.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	for i, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		if device.Device == nil {
			return refuse(&types.InvalidDeviceSpec{DeviceIndex: int32(i)})
		}
		if !ok || device.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			continue
		}
		switch d := device.Device.(type) {
		case types.BaseVirtualEthernetCard:
			if refused := s.checkNetwork(ctx, host, d.GetVirtualEthernetCard().Backing, i); refused != nil {
				return refused
			}
		case *types.VirtualDisk:
			if !s.isDiskFile(host, d.Backing) {
				return refuse(&types.InvalidDeviceSpec{DeviceIndex: int32(i)})
			}
		}
	}
	return nil
}

// isDiskFile is false for what the simulator would panic over: no file, or one on a datastore that the host lacks.
func (s *Server) isDiskFile(host *simulator.HostSystem, backing types.BaseVirtualDeviceBackingInfo) bool {
	file, ok := backing.(types.BaseVirtualDeviceFileBackingInfo)
	if !ok {
		return false
	}
	name := file.GetVirtualDeviceFileBackingInfo().FileName
	if name == "" {
		return true // a new one beside the machine
	}
	var path object.DatastorePath
	return path.FromString(name) && s.registry.FindByName(path.Datastore, host.Datastore) != nil
}

// stockReconfigure leaves hardware, name and the like to the simulator, as a task that nobody sees long.
func (s *Server) stockReconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine, spec types.VirtualMachineConfigSpec) *refusal {
	if _, refused := s.tasks.inner(ctx, vm, func() soap.HasFault {
		return vm.ReconfigVMTask(ctx, &types.ReconfigVM_Task{This: vm.Self, Spec: spec})
	}); refused != nil {
		return refused
	}
	var known *hypervisor.Document
	ctx.WithLock(vm, func() {
		for _, nic := range nics(vm.Config.Hardware.Device) {
			if card := nic.GetVirtualEthernetCard(); strings.HasPrefix(card.MacAddress, "00:0c:29:") { // the simulator's own choice
				card.MacAddress, card.AddressType = s.machines.newMAC(), string(types.VirtualEthernetCardMacTypeAssigned)
			}
		}
		if vm.Runtime.PowerState == poweredOn {
			known = s.machines.document(vm)
		}
	})
	if known != nil {
		if err := s.options.Hypervisor.Put(ctx, known); err != nil {
			return systemError(err)
		}
	}
	return nil
}

// describe writes the old and new values as vCenter's events do.
func describe(out *types.ChangesInfoEventArgument, changed []optionChange) {
	var modified, added, deleted []string
	for _, c := range changed {
		path := `config.extraConfig("` + c.key + `")`
		switch {
		case c.was == nil:
			added = append(added, path+`: (key = "`+c.key+`", value = "`+*c.is+`")`)
		case c.is == nil:
			deleted = append(deleted, path+`: (key = "`+c.key+`", value = "`+*c.was+`")`)
		default:
			modified = append(modified, path+`.value: "`+*c.was+`" -> "`+*c.is+`"`)
		}
	}
	out.Modified = strings.Join(modified, "; \n")
	out.Added = strings.Join(added, "; \n")
	out.Deleted = strings.Join(deleted, "; \n")
}

// DestroyTask removes a powered-off machine and its disk.
func (m *machine) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	vm, s := m.VirtualMachine, m.server
	task := s.tasks.start(ctx, vm, "Destroy_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		return nil, s.destroy(ctx, task, vm)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (s *Server) destroy(ctx *simulator.Context, task *running, vm *simulator.VirtualMachine) *refusal {
	end, refused := s.machines.begin(vm.Self, "destroy", task)
	if refused != nil {
		return refused
	}
	defer end()
	doc, refused := s.expect(ctx, vm, poweredOff, poweredOff)
	if refused != nil {
		return refused
	}
	if refused := s.lockedByChildren(vm); refused != nil {
		return refused
	}
	leave, alive := s.tasks.spend(task, "Destroy_Task", 0)
	if !alive {
		return nil
	}
	defer leave()
	disks := disksOf(vm)
	around := s.around(vm)
	if _, refused := s.tasks.inner(ctx, vm, func() soap.HasFault {
		return vm.DestroyTask(ctx, &types.Destroy_Task{This: vm.Self})
	}); refused != nil {
		return refused
	}
	for _, disk := range disks {
		s.correctSpace(ctx, disk, -1)
	}
	s.machines.forget(vm.Self)
	s.dropFromRules(ctx, vm.Self)
	s.hub.Touch(around...)
	if s.machines.find(ctx, doc.UUID) == nil {
		if err := s.options.Hypervisor.Delete(ctx, doc.UUID); err != nil {
			return systemError(err)
		}
	}
	return nil
}
