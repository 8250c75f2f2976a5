package vcenter

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/hypervisor"
)

const (
	poweredOn  = types.VirtualMachinePowerStatePoweredOn
	poweredOff = types.VirtualMachinePowerStatePoweredOff
)

// PowerOnVMTask boots the machine; the task runs until its hypervisor has answered.
func (m *machine) PowerOnVMTask(ctx *simulator.Context, _ *types.PowerOnVM_Task) soap.HasFault {
	if m.Config.Template {
		return &methods.PowerOnVM_TaskBody{Fault_: simulator.Fault("A template cannot be powered on.", &types.NotSupported{})}
	}
	vm, s := m.VirtualMachine, m.server
	task := s.tasks.start(ctx, vm, "PowerOnVM_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		return nil, s.powerOn(ctx, task, vm)
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: task}}
}

// PowerOffVMTask pulls the plug.
func (m *machine) PowerOffVMTask(ctx *simulator.Context, _ *types.PowerOffVM_Task) soap.HasFault {
	vm, s := m.VirtualMachine, m.server
	task := s.tasks.start(ctx, vm, "PowerOffVM_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		return nil, s.powerOff(ctx, task, vm)
	})
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: task}}
}

// ResetVMTask presses the reset button.
func (m *machine) ResetVMTask(ctx *simulator.Context, _ *types.ResetVM_Task) soap.HasFault {
	vm, s := m.VirtualMachine, m.server
	task := s.tasks.start(ctx, vm, "ResetVM_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		end, refused := s.machines.begin(vm.Self, "reset", task)
		if refused != nil {
			return nil, refused
		}
		defer end()
		doc, refused := s.expect(ctx, vm, poweredOn, poweredOff)
		if refused != nil {
			return nil, refused
		}
		s.silence(ctx, vm)
		if err := s.options.Hypervisor.Power(ctx, doc.UUID, "reset"); err != nil {
			return nil, systemError(err)
		}
		ctx.WithLock(vm, func() { s.post(ctx, &types.VmResettingEvent{VmEvent: s.vmEvent(vm)}) })
		return nil, nil
	})
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: task}}
}

// SuspendVMTask is refused: no node of the lab can be frozen.
func (m *machine) SuspendVMTask(*simulator.Context, *types.SuspendVM_Task) soap.HasFault {
	return &methods.SuspendVM_TaskBody{Fault_: simulator.Fault("The lab cannot suspend machines.", &types.NotSupported{})}
}

// ShutdownGuest asks the guest to shut down; its end comes later over the control socket.
func (m *machine) ShutdownGuest(ctx *simulator.Context, _ *types.ShutdownGuest) soap.HasFault {
	if fault := m.guestAct(ctx, "shutdown", &types.VmGuestShutdownEvent{VmEvent: m.server.vmEvent(m.VirtualMachine)}); fault != nil {
		return &methods.ShutdownGuestBody{Fault_: fault}
	}
	return &methods.ShutdownGuestBody{Res: new(types.ShutdownGuestResponse)}
}

// RebootGuest asks the guest to reboot.
func (m *machine) RebootGuest(ctx *simulator.Context, _ *types.RebootGuest) soap.HasFault {
	if fault := m.guestAct(ctx, "reboot", &types.VmGuestRebootEvent{VmEvent: m.server.vmEvent(m.VirtualMachine)}); fault != nil {
		return &methods.RebootGuestBody{Fault_: fault}
	}
	return &methods.RebootGuestBody{Res: new(types.RebootGuestResponse)}
}

func (m *machine) guestAct(ctx *simulator.Context, verb string, event types.BaseEvent) *soap.Fault {
	if m.Runtime.PowerState != poweredOn {
		return simulator.Fault("", &types.InvalidPowerState{RequestedState: poweredOn, ExistingState: m.Runtime.PowerState})
	}
	if m.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		return simulator.Fault("", &types.ToolsUnavailable{})
	}
	if err := m.server.options.Hypervisor.Power(context.Background(), m.Config.Uuid, verb); err != nil {
		refused := systemError(err)
		return simulator.Fault(refused.text, refused.fault)
	}
	m.server.post(ctx, event)
	if m.server.options.Hypervisor == nil && verb == "shutdown" { // nobody will ever report its end
		m.server.setPower(ctx, m.VirtualMachine, poweredOff)
	}
	return nil
}

// expect checks the power state before an operation that leads to another one.
func (s *Server) expect(ctx *simulator.Context, vm *simulator.VirtualMachine, now, then types.VirtualMachinePowerState) (doc *hypervisor.Document, refused *refusal) {
	ctx.WithLock(vm, func() {
		if s.registry.Get(vm.Self) == nil {
			refused = refuse(&types.ManagedObjectNotFound{Obj: vm.Self})
			return
		}
		if is := vm.Runtime.PowerState; is != now {
			refused = refuseText(&types.InvalidPowerState{RequestedState: then, ExistingState: is},
				fmt.Sprintf("The attempted operation cannot be performed in the current state (%s).", is))
			return
		}
		doc = s.machines.document(vm)
	})
	return doc, refused
}

func (s *Server) powerOn(ctx *simulator.Context, task *running, vm *simulator.VirtualMachine) *refusal {
	end, refused := s.machines.begin(vm.Self, "power on", task)
	if refused != nil {
		return refused
	}
	defer end()
	doc, refused := s.expect(ctx, vm, poweredOff, poweredOn)
	if refused != nil {
		return refused
	}
	if refused := s.orphaned(vm); refused != nil {
		return refused
	}
	if refused := s.reserved.admit(ctx, vm); refused != nil {
		return refused
	}
	defer func() {
		if vm.Runtime.PowerState != poweredOn {
			s.reserved.give(vm.Self)
		}
	}()
	placed, refused := s.drs(ctx, vm)
	defer placed()
	if refused != nil {
		return refused
	}
	leave, alive := s.tasks.spend(task, "PowerOnVM_Task", 0, *vm.Runtime.Host)
	if !alive {
		return nil
	}
	defer leave()
	ctx.WithLock(vm, func() { s.post(ctx, &types.VmStartingEvent{VmEvent: s.vmEvent(vm)}) })
	// The machine counts as on while its hypervisor is at it, so that the guest's first words are heard.
	if err := s.options.Hypervisor.Put(ctx, doc); err != nil {
		return s.failedToPowerOn(ctx, vm, err)
	}
	if err := s.options.Hypervisor.Power(ctx, doc.UUID, "power-on"); err != nil {
		return s.failedToPowerOn(ctx, vm, err)
	}
	ctx.WithLock(vm, func() {
		s.setPower(ctx, vm, poweredOn)
		s.post(ctx, &types.VmPoweredOnEvent{VmEvent: s.vmEvent(vm)})
	})
	return nil
}

func (s *Server) failedToPowerOn(ctx *simulator.Context, vm *simulator.VirtualMachine, err error) *refusal {
	refused := refuseText(&types.GenericVmConfigFault{Reason: err.Error()}, "The virtual machine could not be started: "+err.Error())
	ctx.WithLock(vm, func() {
		s.post(ctx, &types.VmFailedToPowerOnEvent{
			VmEvent: s.vmEvent(vm), Reason: types.LocalizedMethodFault{Fault: refused.fault, LocalizedMessage: refused.text},
		})
	})
	return refused
}

func (s *Server) powerOff(ctx *simulator.Context, task *running, vm *simulator.VirtualMachine) *refusal {
	end, refused := s.machines.begin(vm.Self, "power off", task)
	if refused != nil {
		return refused
	}
	defer end()
	doc, refused := s.expect(ctx, vm, poweredOn, poweredOff)
	if refused != nil {
		return refused
	}
	leave, alive := s.tasks.spend(task, "PowerOffVM_Task", 0, *vm.Runtime.Host)
	if !alive {
		return nil
	}
	defer leave()
	if err := s.options.Hypervisor.Power(ctx, doc.UUID, "power-off"); err != nil {
		return systemError(err)
	}
	ctx.WithLock(vm, func() {
		s.setPower(ctx, vm, poweredOff)
		s.post(ctx, &types.VmPoweredOffEvent{VmEvent: s.vmEvent(vm)})
	})
	return nil
}

// setPower changes the state that clients see. The caller holds the machine's lock.
func (s *Server) setPower(ctx *simulator.Context, vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) {
	var boot any
	if state == poweredOn {
		boot = time.Now()
	}
	devices := copyOf(&types.ArrayOfVirtualDevice{VirtualDevice: vm.Config.Hardware.Device}).VirtualDevice
	for _, device := range devices {
		if link := device.GetVirtualDevice().Connectable; link != nil {
			link.Connected = state == poweredOn && link.StartConnected
		}
	}
	changes := []types.PropertyChange{
		{Name: "runtime.powerState", Val: state},
		{Name: "summary.runtime.powerState", Val: state},
		{Name: "runtime.bootTime", Val: boot},
		{Name: "summary.runtime.bootTime", Val: boot},
		{Name: "config.hardware.device", Val: devices},
	}
	if state == poweredOff {
		s.reserved.give(vm.Self)
		changes = append(changes, noGuest()...)
	}
	s.registry.Update(ctx, vm, changes)
}

// silence clears what the guest has said of itself.
func (s *Server) silence(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	ctx.WithLock(vm, func() { s.registry.Update(ctx, vm, noGuest()) })
}

// GuestPower is what the hypervisor reports on its own: a guest that shut down, or a process that died.
func (s *Server) GuestPower(bios, state string) error {
	ctx := s.internal()
	vm := s.machines.find(ctx, bios)
	if vm == nil {
		return ErrNoMachine
	}
	if state != string(poweredOff) && state != string(poweredOn) {
		return fmt.Errorf("state %q: it is poweredOff or poweredOn", state)
	}
	ctx.WithLock(vm, func() {
		if want := types.VirtualMachinePowerState(state); vm.Runtime.PowerState != want {
			log.Printf("%s (%s): the hypervisor says %s", vm.Name, vm.Self.Value, state)
			s.setPower(ctx, vm, want)
			if want == poweredOff {
				s.post(ctx, &types.VmPoweredOffEvent{VmEvent: s.vmEvent(vm)})
			}
		}
	})
	return nil
}
