package vcenter

import (
	"errors"
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// host stands in for a host of the simulator, which changes a state and nothing that follows from it.
type host struct {
	*simulator.HostSystem
	server *Server
}

func (h *host) set(ctx *simulator.Context, method, state string) ref {
	return h.server.tasks.start(ctx, h.HostSystem, method, func(*simulator.Context, *running) (types.AnyType, *refusal) {
		if err := h.server.SetHost(h.Self.Value, state); err != nil {
			return nil, systemError(err)
		}
		return nil, nil
	})
}

// DisconnectHostTask lets vCenter lose the host.
func (h *host) DisconnectHostTask(ctx *simulator.Context, _ *types.DisconnectHost_Task) soap.HasFault {
	return &methods.DisconnectHost_TaskBody{Res: &types.DisconnectHost_TaskResponse{Returnval: h.set(ctx, "DisconnectHost_Task", "disconnected")}}
}

// ReconnectHostTask lets vCenter find it again.
func (h *host) ReconnectHostTask(ctx *simulator.Context, _ *types.ReconnectHost_Task) soap.HasFault {
	return &methods.ReconnectHost_TaskBody{Res: &types.ReconnectHost_TaskResponse{Returnval: h.set(ctx, "ReconnectHost_Task", "connected")}}
}

// EnterMaintenanceModeTask is refused while machines run on the host: nobody moves them away here.
func (h *host) EnterMaintenanceModeTask(ctx *simulator.Context, _ *types.EnterMaintenanceMode_Task) soap.HasFault {
	for _, self := range h.Vm {
		if vm, ok := h.server.registry.Get(self).(*simulator.VirtualMachine); ok && vm.Runtime.PowerState == poweredOn {
			return &methods.EnterMaintenanceMode_TaskBody{Fault_: simulator.Fault("Machines run on the host, and the lab moves none away.", &types.InvalidState{})}
		}
	}
	return &methods.EnterMaintenanceMode_TaskBody{Res: &types.EnterMaintenanceMode_TaskResponse{Returnval: h.set(ctx, "EnterMaintenanceMode_Task", "maintenance")}}
}

// ExitMaintenanceModeTask ends it.
func (h *host) ExitMaintenanceModeTask(ctx *simulator.Context, _ *types.ExitMaintenanceMode_Task) soap.HasFault {
	return &methods.ExitMaintenanceMode_TaskBody{Res: &types.ExitMaintenanceMode_TaskResponse{Returnval: h.set(ctx, "ExitMaintenanceMode_Task", "connected")}}
}

// DestroyTask takes the host out of the inventory; it has to be in maintenance or disconnected.
func (h *host) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	if h.Runtime.ConnectionState == types.HostSystemConnectionStateConnected && !h.Runtime.InMaintenanceMode {
		return &methods.Destroy_TaskBody{Fault_: simulator.Fault("", &types.InvalidState{})}
	}
	name, s := h.Self.Value, h.server
	task := s.tasks.start(ctx, h.HostSystem, "Destroy_Task", func(*simulator.Context, *running) (types.AnyType, *refusal) {
		if err := s.RemoveHost(name); err != nil {
			return nil, systemError(err)
		}
		return nil, nil
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

// SetHost connects or disconnects a host, or takes it into maintenance and back. What runs on a host that
// is disconnected goes on running; vCenter only cannot say or do anything about it.
func (s *Server) SetHost(name, state string) error {
	found, err := at[*simulator.HostSystem](s, name)
	if err != nil {
		return err
	}
	ctx := s.internal()
	connection := types.HostSystemConnectionStateConnected
	maintenance := false
	switch state {
	case "connected":
	case "disconnected":
		connection = types.HostSystemConnectionStateDisconnected
	case "notResponding":
		connection = types.HostSystemConnectionStateNotResponding
	case "maintenance":
		maintenance = true
	default:
		return fmt.Errorf("state %q: it is connected, disconnected, notResponding or maintenance", state)
	}
	var vms []ref
	ctx.WithLock(found, func() {
		vms = append(vms, found.Vm...)
		s.registry.Update(ctx, found, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: connection},
			{Name: "runtime.inMaintenanceMode", Val: maintenance},
			{Name: "summary.runtime.connectionState", Val: connection},
			{Name: "summary.runtime.inMaintenanceMode", Val: maintenance},
		})
	})
	reached := types.VirtualMachineConnectionStateConnected
	if connection != types.HostSystemConnectionStateConnected {
		reached = types.VirtualMachineConnectionStateDisconnected
	}
	for _, self := range vms {
		if vm, ok := s.registry.Get(self).(*simulator.VirtualMachine); ok {
			ctx.WithLock(vm, func() {
				s.registry.Update(ctx, vm, []types.PropertyChange{
					{Name: "runtime.connectionState", Val: reached}, {Name: "summary.runtime.connectionState", Val: reached},
				})
			})
		}
	}
	return nil
}

// unreachable refuses what needs a machine's host when vCenter has lost it.
func (s *Server) unreachable(on *ref) *refusal {
	if on == nil {
		return nil
	}
	host, ok := s.registry.Get(*on).(*simulator.HostSystem)
	if !ok || host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected {
		return nil
	}
	return refuseText(&types.HostNotConnected{}, "Unable to communicate with the remote host, since it is disconnected.")
}

// unregister takes a machine out of the inventory; its files stay on the datastores. Its node is ended, because
// nobody could end it later.
func (s *Server) unregister(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
	uuid, around := "", s.around(vm)
	ctx.WithLock(vm, func() {
		uuid = vm.Config.Uuid
		vm.Runtime.PowerState = poweredOff // the simulator removes no other
		vm.UnregisterVM(ctx, &types.UnregisterVM{This: vm.Self})
	})
	s.machines.forget(vm.Self)
	s.dropFromRules(ctx, vm.Self)
	s.hub.Touch(around...)
	return s.options.Hypervisor.Delete(ctx, uuid)
}

// RemoveHost takes a host out of the inventory with all machines on it, as a vCenter does with a disconnected
// one.
func (s *Server) RemoveHost(name string) error {
	found, err := at[*simulator.HostSystem](s, name)
	if err != nil {
		return err
	}
	ctx := s.internal()
	var vms []ref
	ctx.WithLock(found, func() { vms = append(vms, found.Vm...) })
	for _, self := range vms {
		vm, ok := s.registry.Get(self).(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		if err := s.unregister(ctx, vm); err != nil {
			return err
		}
	}
	parent, ok := s.registry.Get(*found.Parent).(mo.Entity)
	if !ok {
		return errors.New("the host has no parent")
	}
	compute := s.computeAbove(parent)
	ctx.WithLock(parent, func() {
		simulator.RemoveReference(&compute.Host, found.Self)
		compute.Summary.GetComputeResourceSummary().NumHosts--
	})
	for _, store := range found.Datastore {
		if ds, ok := s.registry.Get(store).(*simulator.Datastore); ok {
			ctx.WithLock(ds, func() {
				for i, mount := range ds.Host {
					if mount.Key == found.Self {
						ds.Host = append(ds.Host[:i:i], ds.Host[i+1:]...)
						break
					}
				}
			})
		}
	}
	s.registry.Remove(ctx, found.Self)
	s.hub.Touch(parent.Reference())
	return nil
}

func (s *Server) computeAbove(parent mo.Entity) *mo.ComputeResource {
	if cluster, ok := parent.(*simulator.ClusterComputeResource); ok {
		return &cluster.ComputeResource
	}
	return parent.(*mo.ComputeResource)
}
