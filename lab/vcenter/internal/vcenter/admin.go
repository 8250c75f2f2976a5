package vcenter

import (
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
)

// What an administrator does by hand, or what befalls an estate: the control port's verbs. Things are named
// by inventory path or moref.

func at[T mo.Entity](s *Server, name string) (T, error) {
	var none T
	entity, err := s.entityAt(name)
	if err != nil {
		return none, err
	}
	found, ok := entity.(T)
	if !ok {
		return none, fmt.Errorf("%s is a %s", name, entity.Reference().Type)
	}
	return found, nil
}

// answered waits for a task of ours that ran in nobody's name.
func answered(refused *refusal) error {
	if refused == nil {
		return nil
	}
	return fmt.Errorf("%s: %s", typeName(refused.fault), refused.text)
}

// alone runs an operation without a task that clients could see.
func (s *Server) alone(run operation) error {
	life := s.tasks.current()
	_, refused := guarded(run, s.internal(), &running{
		Task: new(simulator.Task), life: life, lost: func() bool { return life.Err() != nil },
	})
	return answered(refused)
}

// SetDatastore sets how much space is free, whether hosts reach the datastore, and whether it is in maintenance.
func (s *Server) SetDatastore(name string, freeGiB *float64, accessible, maintenance *bool) error {
	ds, err := at[*simulator.Datastore](s, name)
	if err != nil {
		return err
	}
	ctx := s.internal()
	s.tasks.alone.Lock()
	defer s.tasks.alone.Unlock()
	ctx.WithLock(ds, func() {
		if freeGiB != nil {
			free := int64(*freeGiB * (1 << 30))
			ds.Info.GetDatastoreInfo().FreeSpace = free
			s.registry.Update(ctx, ds, []types.PropertyChange{{Name: "summary.freeSpace", Val: free}})
		}
		if maintenance != nil {
			mode := types.DatastoreSummaryMaintenanceModeStateNormal
			if *maintenance {
				mode = types.DatastoreSummaryMaintenanceModeStateInMaintenance
			}
			s.registry.Update(ctx, ds, []types.PropertyChange{{Name: "summary.maintenanceMode", Val: string(mode)}})
		}
		if accessible != nil {
			s.registry.Update(ctx, ds, []types.PropertyChange{{Name: "summary.accessible", Val: *accessible}})
		}
	})
	return nil
}

// MoveVM moves a machine into another folder.
func (s *Server) MoveVM(name, folder string) error {
	vm, err1 := at[*simulator.VirtualMachine](s, name)
	into, err2 := at[*simulator.Folder](s, folder)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return s.alone(func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		return nil, s.move(ctx, into, vm.Self)
	})
}

// move is MoveIntoFolder_Task: a name that is taken there is refused, which the simulator does not.
func (s *Server) move(ctx *simulator.Context, into *simulator.Folder, list ...ref) *refusal {
	for _, self := range list {
		entity, ok := s.registry.Get(self).(mo.Entity)
		if !ok {
			return refuse(&types.ManagedObjectNotFound{Obj: self})
		}
		if *entity.Entity().Parent == into.Self {
			continue
		}
		release, refused := s.machines.claimName(ctx, into, nameOf(entity))
		if refused != nil {
			return refused
		}
		from := *entity.Entity().Parent
		_, refused = s.tasks.inner(ctx, into, func() soap.HasFault {
			return into.MoveIntoFolderTask(ctx, &types.MoveIntoFolder_Task{This: into.Self, List: []ref{self}})
		})
		release()
		if refused != nil {
			return refused
		}
		s.registry.Update(ctx, entity, []types.PropertyChange{{Name: "parent", Val: into.Self}})
		s.hub.Touch(from, into.Self)
	}
	return nil
}

// RenameVM gives a machine another name.
func (s *Server) RenameVM(name, wanted string) error {
	vm, err := at[*simulator.VirtualMachine](s, name)
	if err != nil {
		return err
	}
	return s.alone(func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		return nil, s.rename(ctx, vm, wanted)
	})
}

// DestroyVM powers a machine off and destroys it.
func (s *Server) DestroyVM(name string) error {
	vm, err := at[*simulator.VirtualMachine](s, name)
	if err != nil {
		return err
	}
	return s.alone(func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		if vm.Runtime.PowerState == poweredOn {
			if refused := s.powerOff(ctx, task, vm); refused != nil {
				return nil, refused
			}
		}
		return nil, s.destroy(ctx, task, vm)
	})
}

// CloneVM makes a copy of a machine, as somebody does by hand, or as the restore of a backup does: with all its
// options, in the folder `into` or else beside it, with the wished instance UUID if that is free, or else a new
// one. It answers the copy's moref.
func (s *Server) CloneVM(name, wanted, into, instance string) (string, error) {
	vm, err := at[*simulator.VirtualMachine](s, name)
	if err != nil {
		return "", err
	}
	folder, ok := s.registry.Get(*vm.Parent).(*simulator.Folder)
	if !ok {
		return "", fmt.Errorf("%s is in no folder", name)
	}
	if into != "" {
		if folder, err = at[*simulator.Folder](s, into); err != nil {
			return "", err
		}
	}
	pool := vm.ResourcePool
	if pool == nil { // of a template
		if any := s.registry.Any("ResourcePool"); any != nil {
			self := any.Reference()
			pool = &self
		}
	}
	var made ref
	err = s.alone(func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		spec := types.VirtualMachineCloneSpec{
			Location: types.VirtualMachineRelocateSpec{Pool: pool},
			Config:   &types.VirtualMachineConfigSpec{InstanceUuid: instance},
		}
		var from *source
		var event types.VmEvent
		ctx.WithLock(vm, func() { from, event = s.sourceOf(vm), s.vmEvent(vm) })
		copied, refused := s.clone(ctx, task, from, folder, &types.CloneVM_Task{
			This: vm.Self, Folder: folder.Self, Name: wanted, Spec: spec,
		}, event)
		if refused == nil {
			made = copied.(ref)
		}
		return nil, refused
	})
	return made.Value, err
}

// SetPassword changes the password of a user; sessions that are open stay open.
func (s *Server) SetPassword(user, password string) error {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	if _, known := s.sessions.users[authz.Principal(user)]; !known {
		return fmt.Errorf("there is no user %s", user)
	}
	s.sessions.users[authz.Principal(user)] = password
	return nil
}

// NewCertificate restarts the vCenter with another certificate: of the same authority, or of a new one. It
// answers the file of the authority.
func (s *Server) NewCertificate(newAuthority bool, pause time.Duration) (string, error) {
	if s.options.Issue == nil {
		return "", errors.New("this vCenter has nobody who issues certificates")
	}
	certificate, file, err := s.options.Issue(newAuthority)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.options.Certificate = certificate
	s.mu.Unlock()
	return file, s.Restart(pause)
}
