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
		return nil, s.rename(ctx, vm, req.NewName)
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

func (s *Server) rename(ctx *simulator.Context, vm *simulator.VirtualMachine, name string) *refusal {
	folder, ok := s.registry.Get(*vm.Parent).(*simulator.Folder)
	if !ok {
		return refuse(&types.NotSupported{})
	}
	release, refused := s.machines.claimName(ctx, folder, name)
	if refused != nil {
		return refused
	}
	defer release()
	ctx.WithLock(vm, func() {
		s.registry.Update(ctx, vm, []types.PropertyChange{
			{Name: "name", Val: name},
			{Name: "config.name", Val: name},
			{Name: "summary.config.name", Val: name},
		})
		s.post(ctx, &types.VmRenamedEvent{VmEvent: s.vmEvent(vm), NewName: name})
	})
	return nil
}
