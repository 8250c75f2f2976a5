package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// RenameTask refuses a name that is taken in the folder, with the fault of a vCenter.
func (m *machine) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	vm, s := m.VirtualMachine, m.server
	task := s.tasks.start(ctx, vm, "Rename_Task", func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		folder, ok := s.registry.Get(*vm.Parent).(*simulator.Folder)
		if !ok {
			return nil, refuse(&types.NotSupported{})
		}
		release, refused := s.machines.claimName(ctx, folder, req.NewName)
		if refused != nil {
			return nil, refused
		}
		defer release()
		ctx.WithLock(vm, func() {
			s.registry.Update(ctx, vm, []types.PropertyChange{
				{Name: "name", Val: req.NewName},
				{Name: "config.name", Val: req.NewName},
				{Name: "summary.config.name", Val: req.NewName},
			})
			s.post(ctx, &types.VmRenamedEvent{VmEvent: s.vmEvent(vm), NewName: req.NewName})
		})
		return nil, nil
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

// CreateSnapshotTask refuses templates, as a vCenter does.
func (m *machine) CreateSnapshotTask(ctx *simulator.Context, req *types.CreateSnapshot_Task) soap.HasFault {
	if m.Config.Template {
		return &methods.CreateSnapshot_TaskBody{Fault_: simulator.Fault("A template cannot have a snapshot taken.", &types.NotSupported{})}
	}
	return m.VirtualMachine.CreateSnapshotTask(ctx, req)
}

// CreateSnapshotExTask refuses templates, as a vCenter does.
func (m *machine) CreateSnapshotExTask(ctx *simulator.Context, req *types.CreateSnapshotEx_Task) soap.HasFault {
	if m.Config.Template {
		return &methods.CreateSnapshotEx_TaskBody{Fault_: simulator.Fault("A template cannot have a snapshot taken.", &types.NotSupported{})}
	}
	return m.VirtualMachine.CreateSnapshotExTask(ctx, req)
}
