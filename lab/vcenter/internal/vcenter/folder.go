package vcenter

import (
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// folder stands in for a folder of the simulator.
type folder struct {
	*simulator.Folder
	server *Server
}

// CreateVMTask makes an empty machine. What the simulator would panic over is refused.
func (f *folder) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	s, in := f.server, f.Folder
	if !slices.Contains(in.ChildType, "VirtualMachine") {
		return &methods.CreateVM_TaskBody{Fault_: simulator.Fault("", &types.NotSupported{})}
	}
	task := s.tasks.start(ctx, in, "CreateVM_Task", func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		release, refused := s.machines.claimName(ctx, in, req.Config.Name)
		if refused != nil {
			return nil, refused
		}
		defer release()
		if refused := s.checkCreate(in, req); refused != nil {
			return nil, refused
		}
		instance, releaseUUID := s.machines.claimInstanceUUID(req.Config.InstanceUuid, ref{})
		defer releaseUUID()
		req.Config.InstanceUuid = instance
		made, refused := s.tasks.inner(ctx, in, func() soap.HasFault { return in.CreateVMTask(ctx, req) })
		if refused != nil {
			return nil, refused
		}
		vm := s.registry.Get(made.(ref)).(*simulator.VirtualMachine)
		s.ledger.by(vm.Self, ctx.Session)
		ctx.WithLock(vm, func() {
			s.machines.complete(vm)
			vm.Config.ExtraConfig = slices.DeleteFunc(vm.Config.ExtraConfig, simulatorsOwn)
		})
		s.hub.Publish(ctx, vm.Self)
		s.hub.Touch(s.around(vm)...)
		return vm.Self, nil
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task}}
}

// simulatorsOwn is true for an option that no vCenter has.
func simulatorsOwn(option types.BaseOptionValue) bool {
	return option.GetOptionValue().Key == "govcsim"
}

func (s *Server) checkCreate(in *simulator.Folder, req *types.CreateVM_Task) *refusal {
	dc := s.datacenterOf(in)
	if dc == nil {
		return refuse(&types.NotSupported{})
	}
	var path object.DatastorePath
	if req.Config.Files == nil || !path.FromString(req.Config.Files.VmPathName) || s.registry.FindByName(path.Datastore, dc.Datastore) == nil {
		return refuseText(&types.InvalidDatastorePath{}, "config.files.vmPathName names no datastore of the datacenter.")
	}
	compute := s.computeOf(req.Pool)
	if compute == nil {
		return refuse(&types.ManagedObjectNotFound{Obj: req.Pool})
	}
	host := req.Host
	if host == nil {
		host = &compute.Host[0]
	}
	on, ok := s.registry.Get(*host).(*simulator.HostSystem)
	if !ok || !slices.Contains(compute.Host, *host) {
		return refuseText(&types.InvalidArgument{InvalidProperty: "host"}, "The host is not of the resource pool's compute resource.")
	}
	for i, change := range req.Config.DeviceChange {
		if nic, ok := change.GetVirtualDeviceConfigSpec().Device.(types.BaseVirtualEthernetCard); ok {
			if refused := s.checkNetwork(s.internal(), on, nic.GetVirtualEthernetCard().Backing, i); refused != nil {
				return refused
			}
		}
	}
	return nil
}

// MoveIntoFolderTask moves objects here.
func (f *folder) MoveIntoFolderTask(ctx *simulator.Context, req *types.MoveIntoFolder_Task) soap.HasFault {
	s, in := f.server, f.Folder
	task := s.tasks.start(ctx, in, "MoveIntoFolder_Task", func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		return nil, s.move(ctx, in, req.List...)
	})
	return &methods.MoveIntoFolder_TaskBody{Res: &types.MoveIntoFolder_TaskResponse{Returnval: task}}
}

// RegisterVMTask is refused: the lab's datastores hold nothing that could be registered.
func (f *folder) RegisterVMTask(*simulator.Context, *types.RegisterVM_Task) soap.HasFault {
	return &methods.RegisterVM_TaskBody{Fault_: simulator.Fault("The lab cannot register machines.", &types.NotSupported{})}
}

// DestroyTask destroys the folder with all that is in it; a powered-on machine stops that.
func (f *folder) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	s, in := f.server, f.Folder
	if !slices.Contains(in.ChildType, "VirtualMachine") {
		return in.DestroyTask(ctx, req)
	}
	task := s.tasks.start(ctx, in, "Destroy_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		return nil, s.destroyFolder(ctx, in, func(vm *simulator.VirtualMachine) *refusal { return s.destroy(ctx, task, vm) })
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

// UnregisterAndDestroyTask destroys folders; machines in them, which have to be off, keep their files.
func (f *folder) UnregisterAndDestroyTask(ctx *simulator.Context, _ *types.UnregisterAndDestroy_Task) soap.HasFault {
	s, in := f.server, f.Folder
	if !slices.Contains(in.ChildType, "VirtualMachine") {
		return &methods.UnregisterAndDestroy_TaskBody{Fault_: simulator.Fault("", &types.NotSupported{})}
	}
	task := s.tasks.start(ctx, in, "UnregisterAndDestroy_Task", func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		return nil, s.destroyFolder(ctx, in, func(vm *simulator.VirtualMachine) *refusal {
			if vm.Runtime.PowerState != poweredOff {
				return refuse(&types.InvalidPowerState{RequestedState: poweredOff, ExistingState: vm.Runtime.PowerState})
			}
			if err := s.unregister(ctx, vm); err != nil {
				return systemError(err)
			}
			return nil
		})
	})
	return &methods.UnregisterAndDestroy_TaskBody{Res: &types.UnregisterAndDestroy_TaskResponse{Returnval: task}}
}

func (s *Server) destroyFolder(ctx *simulator.Context, in *simulator.Folder, end func(*simulator.VirtualMachine) *refusal) *refusal {
	if in.Parent == nil || in.Parent.Type != "Folder" {
		return refuse(&types.NotSupported{}) // a datacenter's own folder
	}
	var below []ref
	ctx.WithLock(in, func() { below = slices.Clone(in.ChildEntity) })
	for _, child := range below {
		var refused *refusal
		switch object := s.registry.Get(child).(type) {
		case *simulator.VirtualMachine:
			refused = end(object)
		case *simulator.Folder:
			refused = s.destroyFolder(ctx, object, end)
		}
		if refused != nil {
			return refused
		}
	}
	_, refused := s.tasks.inner(ctx, in, func() soap.HasFault {
		return in.DestroyTask(ctx, &types.Destroy_Task{This: in.Self})
	})
	s.hub.Touch(*in.Parent)
	return refused
}

// around are the objects that name a machine in their properties. The caller need not hold its lock.
func (s *Server) around(vm *simulator.VirtualMachine) []ref {
	near := append([]ref{*vm.Parent, *vm.Runtime.Host}, vm.Datastore...)
	if vm.ResourcePool != nil {
		near = append(near, *vm.ResourcePool)
	}
	return near
}

// datacenter stands in for a datacenter of the simulator.
type datacenter struct {
	*simulator.Datacenter
	server *Server
}

// PowerOnMultiVMTask powers on several machines; their own tasks go on after this one.
func (d *datacenter) PowerOnMultiVMTask(ctx *simulator.Context, req *types.PowerOnMultiVM_Task) soap.HasFault {
	s := d.server
	result := types.ClusterPowerOnVmResult{}
	for _, self := range req.Vm {
		vm, ok := s.registry.Get(self).(*simulator.VirtualMachine)
		if !ok {
			return &methods.PowerOnMultiVM_TaskBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: self})}
		}
		started := s.tasks.start(ctx, vm, "PowerOnVM_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
			return nil, s.powerOn(ctx, task, vm)
		})
		result.Attempted = append(result.Attempted, types.ClusterAttemptedVmInfo{Vm: self, Task: &started})
	}
	task := s.tasks.start(ctx, mo.Entity(d.Datacenter), "PowerOnMultiVM_Task", func(*simulator.Context, *running) (types.AnyType, *refusal) {
		return result, nil
	})
	return &methods.PowerOnMultiVM_TaskBody{Res: &types.PowerOnMultiVM_TaskResponse{Returnval: task}}
}
