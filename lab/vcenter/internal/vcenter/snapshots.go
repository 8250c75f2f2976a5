package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// CreateSnapshotTask refuses templates, as a vCenter does. Its task is one of ours: it takes the time that it
// is told, and is lost with a restart.
func (m *machine) CreateSnapshotTask(ctx *simulator.Context, req *types.CreateSnapshot_Task) soap.HasFault {
	if m.Config.Template {
		return &methods.CreateSnapshot_TaskBody{Fault_: simulator.Fault("A template cannot have a snapshot taken.", &types.NotSupported{})}
	}
	task := m.snapshot(ctx, "CreateSnapshot_Task", func(ctx *simulator.Context) soap.HasFault {
		return m.VirtualMachine.CreateSnapshotTask(ctx, req)
	})
	return &methods.CreateSnapshot_TaskBody{Res: &types.CreateSnapshot_TaskResponse{Returnval: task}}
}

// CreateSnapshotExTask refuses templates, as a vCenter does.
func (m *machine) CreateSnapshotExTask(ctx *simulator.Context, req *types.CreateSnapshotEx_Task) soap.HasFault {
	if m.Config.Template {
		return &methods.CreateSnapshotEx_TaskBody{Fault_: simulator.Fault("A template cannot have a snapshot taken.", &types.NotSupported{})}
	}
	task := m.snapshot(ctx, "CreateSnapshotEx_Task", func(ctx *simulator.Context) soap.HasFault {
		return m.VirtualMachine.CreateSnapshotExTask(ctx, req)
	})
	return &methods.CreateSnapshotEx_TaskBody{Res: &types.CreateSnapshotEx_TaskResponse{Returnval: task}}
}

// snapshot runs the simulator's own task inside of one of ours, alone on the machine.
func (m *machine) snapshot(ctx *simulator.Context, method string, take func(*simulator.Context) soap.HasFault) ref {
	vm, s := m.VirtualMachine, m.server
	return s.tasks.start(ctx, vm, method, func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		release, refused := s.machines.begin(vm.Self, "a snapshot is taken", task)
		if refused != nil {
			return nil, refused
		}
		defer release()
		made, refused := s.tasks.inner(ctx, vm, func() soap.HasFault { return take(ctx) })
		ctx.WithLock(vm, func() { sayStorage(vm) })
		s.hub.Touch(vm.Self)
		return made, refused
	})
}
