package vcenter

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// machine stands in for a virtual machine of the simulator.
type machine struct {
	*simulator.VirtualMachine
	server *Server
}

// source is a machine as it was when its clone was asked for.
type source struct {
	self      ref
	name      string
	template  bool
	pool      *ref
	host      *ref
	datastore string
	config    *types.VirtualMachineConfigInfo
	snapshots []ref
}

// CloneVMTask copies a machine or template.
func (m *machine) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	s := m.server
	folder, ok := s.registry.Get(req.Folder).(*simulator.Folder)
	if !ok || !slices.Contains(folder.ChildType, "VirtualMachine") {
		return &methods.CloneVM_TaskBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "folder"})}
	}
	from := s.sourceOf(m.VirtualMachine)
	event := s.vmEvent(m.VirtualMachine)
	task := s.tasks.start(ctx, m.VirtualMachine, "CloneVM_Task", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		return s.clone(ctx, task, from, folder, req, event)
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task}}
}

// sourceOf notes what a clone is made of. The caller holds the machine's lock.
func (s *Server) sourceOf(vm *simulator.VirtualMachine) *source {
	from := &source{
		self: vm.Self, name: vm.Name, template: vm.Config.Template,
		pool: vm.ResourcePool, host: vm.Runtime.Host, config: copyOf(vm.Config),
	}
	var path object.DatastorePath
	path.FromString(vm.Config.Files.VmPathName)
	from.datastore = path.Datastore
	if vm.Snapshot != nil {
		from.snapshots = snapshots(vm.Snapshot.RootSnapshotList)
	}
	return from
}

func snapshots(tree []types.VirtualMachineSnapshotTree) []ref {
	var found []ref
	for _, node := range tree {
		found = append(append(found, node.Snapshot), snapshots(node.ChildSnapshotList)...)
	}
	return found
}

func (s *Server) clone(ctx *simulator.Context, task *running, from *source, folder *simulator.Folder, req *types.CloneVM_Task, event types.VmEvent) (types.AnyType, *refusal) {
	if req.Spec.Config != nil {
		whole, _ := merged(from.config.ExtraConfig, req.Spec.Config.ExtraConfig)
		if refused := s.limits.checkGuestinfo(whole); refused != nil {
			return nil, refused
		}
	}
	release, refused := s.machines.claimName(ctx, folder, req.Name)
	if refused != nil {
		return nil, refused
	}
	defer release()
	if refused := s.unreachable(from.host); refused != nil {
		return nil, refused
	}
	plan, refused := s.planClone(ctx, from, req)
	if plan != nil && plan.host != nil {
		defer s.machines.coming.leave(plan.host.Self)
	}
	if refused != nil {
		return nil, refused
	}
	s.post(ctx, &types.VmBeingClonedEvent{
		VmCloneEvent: types.VmCloneEvent{VmEvent: event},
		DestFolder:   types.FolderEventArgument{EntityEventArgument: types.EntityEventArgument{Name: folder.Name}, Folder: folder.Self},
		DestName:     req.Name,
		DestHost:     types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: plan.host.Name}, Host: plan.host.Self},
	})
	leave, alive := s.tasks.spend(task, "CloneVM_Task", plan.copied, plan.host.Self, plan.datastore)
	if !alive {
		return nil, nil
	}
	defer leave()

	var wanted string
	if req.Spec.Config != nil {
		wanted = req.Spec.Config.InstanceUuid
	}
	instance, releaseUUID := s.machines.claimInstanceUUID(wanted, ref{})
	defer releaseUUID()
	plan.config.InstanceUuid = instance

	vm, refused := s.create(ctx, folder, plan)
	if refused != nil {
		return nil, refused
	}
	s.ledger.by(vm.Self, ctx.Session)
	s.machines.setImage(vm.Self, s.machines.image(from.self))
	s.policies.note(vm.Self, plan.policies)
	ctx.WithLock(vm, func() { s.settle(ctx, vm, from, plan, req) })
	for _, disk := range disksOf(vm) {
		s.correctSpace(ctx, disk, 1)
	}
	s.hub.Publish(ctx, vm.Self)
	s.hub.Touch(append(s.around(vm), plan.pool)...)
	s.post(ctx, &types.VmClonedEvent{
		VmCloneEvent: types.VmCloneEvent{VmEvent: s.vmEvent(vm)},
		SourceVm:     types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: from.name}, Vm: from.self},
	})
	if req.Spec.PowerOn && !req.Spec.Template {
		if refused := s.powerOn(ctx, task, vm); refused != nil {
			return nil, refused
		}
	}
	return vm.Self, nil
}

// create makes the machine by the simulator's own means. Its configuration bears no extraConfig: the
// simulator's creation event keeps the whole of it, which that of a real clone does not.
func (s *Server) create(ctx *simulator.Context, folder *simulator.Folder, plan *clonePlan) (*simulator.VirtualMachine, *refusal) {
	config := plan.config
	config.ExtraConfig, config.VAppConfig = nil, nil
	made, refused := s.tasks.inner(ctx, folder, func() soap.HasFault {
		return folder.CreateVMTask(ctx, &types.CreateVM_Task{
			This: folder.Self, Config: config, Pool: plan.pool, Host: &plan.host.Self,
		})
	})
	if refused != nil {
		return nil, refused
	}
	return s.registry.Get(made.(ref)).(*simulator.VirtualMachine), nil
}

// settle turns what the simulator has made into what a clone is.
func (s *Server) settle(ctx *simulator.Context, vm *simulator.VirtualMachine, from *source, plan *clonePlan, req *types.CloneVM_Task) {
	s.machines.complete(vm)
	if from.config.VAppConfig != nil {
		vm.Config.VAppConfig = from.config.VAppConfig
	}
	for _, disk := range disksOf(vm) {
		if parent := plan.parents[disk.Key]; parent != nil {
			disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).Parent = parent
		}
	}
	sayStorage(vm)
	if req.Spec.Template {
		vm.Config.Template, vm.Summary.Config.Template, vm.ResourcePool = true, true, nil
	}
	vm.Config.ExtraConfig, _ = merged(from.config.ExtraConfig, plan.extraConfig)
	s.registry.Update(ctx, vm, []types.PropertyChange{
		{Name: "config.extraConfig", Val: vm.Config.ExtraConfig},
		{Name: "config.hardware.device", Val: vm.Config.Hardware.Device},
		{Name: "config.template", Val: vm.Config.Template},
		{Name: "runtime.faultToleranceState", Val: vm.Runtime.FaultToleranceState},
	})
}

// correctSpace changes a datastore's free space where the simulator takes a child disk for a full one:
// the sign is 1 after it was made and -1 after it was destroyed.
func (s *Server) correctSpace(ctx *simulator.Context, disk *types.VirtualDisk, sign int64) {
	backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok || backing.Parent == nil || backing.Datastore == nil {
		return
	}
	ds, ok := s.registry.Get(*backing.Datastore).(*simulator.Datastore)
	if !ok {
		return
	}
	s.tasks.alone.Lock()
	defer s.tasks.alone.Unlock()
	ctx.WithLock(ds, func() {
		ds.Summary.FreeSpace += sign * (disk.CapacityInBytes - childSize)
		ds.Info.GetDatastoreInfo().FreeSpace = ds.Summary.FreeSpace
	})
}

// clonePlan is what a clone will be, decided before anything is made.
type clonePlan struct {
	config      types.VirtualMachineConfigSpec
	extraConfig []types.BaseOptionValue
	pool        ref
	datastore   ref
	copied      int64 // bytes
	host        *simulator.HostSystem
	newDisks    map[int]*simulator.Datastore                    // of disks that the configuration puts elsewhere, by number of the change
	policies    map[string]string                               // names of storage policies, by what follows them
	parents     map[int32]*types.VirtualDiskFlatVer2BackingInfo // by disk key, of disks that hang on another
}

// planClone returns what it has decided with a refusal too: the host counts the machine until that leaves.
func (s *Server) planClone(ctx *simulator.Context, from *source, req *types.CloneVM_Task) (*clonePlan, *refusal) {
	where := req.Spec.Location
	if req.Spec.Customization != nil {
		return nil, refuseText(&types.NotSupported{}, "The lab knows no guest customization.")
	}
	plan := &clonePlan{}
	if req.Spec.Config != nil {
		plan.config = *req.Spec.Config
		plan.extraConfig = req.Spec.Config.ExtraConfig
	}
	datastore, refused := s.cloneDatastore(ctx, from, where)
	if refused != nil {
		return nil, refused
	}
	plan.datastore = datastore.Self
	if plan.newDisks, refused = s.newDiskStores(req); refused != nil {
		return plan, refused
	}
	if plan.policies, refused = s.policies.check(&req.Spec, datastore, plan.newDisks); refused != nil {
		return plan, refused
	}
	if refused := s.clonePool(plan, from, where); refused != nil {
		return plan, refused
	}
	if plan.parents, refused = parentsOf(from, req, datastore.Self); refused != nil {
		return plan, refused
	}
	if refused := s.cloneHost(ctx, plan, where, datastore); refused != nil {
		return plan, refused
	}
	inherit(&plan.config, from, req.Name, datastore.Name)
	if refused := s.cloneDevices(ctx, plan, from, req); refused != nil {
		return plan, refused
	}
	return plan, s.enoughSpace(ctx, plan, datastore)
}

func (s *Server) cloneDatastore(ctx *simulator.Context, from *source, where types.VirtualMachineRelocateSpec) (*simulator.Datastore, *refusal) {
	if where.Datastore != nil {
		if ds, ok := s.registry.Get(*where.Datastore).(*simulator.Datastore); ok {
			return ds, nil
		}
		return nil, refuseText(&types.InvalidDatastore{Datastore: where.Datastore}, "There is no datastore "+where.Datastore.Value+".")
	}
	vm, ok := s.registry.Get(from.self).(*simulator.VirtualMachine)
	if !ok {
		return nil, refuse(&types.ManagedObjectNotFound{Obj: from.self})
	}
	var stores []ref
	ctx.WithLock(vm, func() { stores = append(stores, vm.Datastore...) })
	for _, r := range stores {
		if ds, ok := s.registry.Get(r).(*simulator.Datastore); ok && ds.Name == from.datastore {
			return ds, nil
		}
	}
	return nil, refuseText(&types.InvalidDatastore{Name: from.datastore}, "The source's datastore is gone.")
}

func (s *Server) clonePool(plan *clonePlan, from *source, where types.VirtualMachineRelocateSpec) *refusal {
	pool := where.Pool
	if pool == nil && !from.template {
		pool = from.pool
	}
	if pool == nil {
		return refuseText(&types.InvalidArgument{InvalidProperty: "spec.location.pool"},
			"A specified parameter was not correct: spec.location.pool")
	}
	switch s.registry.Get(*pool).(type) {
	case *simulator.ResourcePool, *simulator.VirtualApp:
		plan.pool = *pool
		return nil
	}
	return refuse(&types.ManagedObjectNotFound{Obj: *pool})
}

// cloneHost takes the host asked for, or the one that can run the clone and has the fewest machines, those
// that are being made on it included, as DRS spreads what is asked for at the same time.
func (s *Server) cloneHost(ctx *simulator.Context, plan *clonePlan, where types.VirtualMachineRelocateSpec, datastore *simulator.Datastore) *refusal {
	compute := s.computeOf(plan.pool)
	if compute == nil {
		return refuse(&types.ManagedObjectNotFound{Obj: plan.pool})
	}
	mounts := []ref{datastore.Self} // a child disk is read together with its parent
	for _, parent := range plan.parents {
		if parent.Datastore != nil {
			mounts = append(mounts, *parent.Datastore)
		}
	}
	for _, store := range plan.newDisks {
		mounts = append(mounts, store.Self)
	}
	lacks := func(host *simulator.HostSystem) bool {
		return slices.ContainsFunc(mounts, func(store ref) bool { return !slices.Contains(host.Datastore, store) })
	}
	coming := &s.machines.coming
	coming.mu.Lock()
	defer coming.mu.Unlock()
	best := -1
	for _, r := range compute.Host {
		if where.Host != nil && *where.Host != r {
			continue
		}
		host := s.registry.Get(r).(*simulator.HostSystem)
		ctx.WithLock(host, func() {
			usable := host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected &&
				!host.Runtime.InMaintenanceMode && !lacks(host)
			if has := len(host.Vm) + coming.number[r]; usable && (best < 0 || has < best) {
				plan.host, best = host, has
			}
		})
	}
	if plan.host != nil {
		coming.number[plan.host.Self]++
		return nil
	}
	if where.Host != nil && !slices.Contains(compute.Host, *where.Host) {
		return refuseText(&types.InvalidArgument{InvalidProperty: "spec.location.host"},
			"A specified parameter was not correct: spec.location.host (it is not of the resource pool's compute resource)")
	}
	return refuseText(&types.NoCompatibleHost{}, fmt.Sprintf("No host is compatible with the virtual machine: none of %s mounts datastore %s and those of its other disks and their parents.", compute.Name, datastore.Name))
}

func (s *Server) computeOf(pool ref) *mo.ComputeResource {
	for at := &pool; at != nil; {
		switch above := s.registry.Get(*at).(type) {
		case *simulator.ClusterComputeResource:
			return &above.ComputeResource
		case *mo.ComputeResource:
			return above
		case mo.Entity:
			at = above.Entity().Parent
		default:
			return nil
		}
	}
	return nil
}

// inherit fills in what the clone's own configuration leaves open.
func inherit(config *types.VirtualMachineConfigSpec, from *source, name, datastore string) {
	was := from.config
	config.Name = name
	config.Uuid = "42" + uuid.NewString()[2:]
	config.Files = &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", datastore)}
	or := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	or(&config.Version, was.Version)
	or(&config.GuestId, was.GuestId)
	or(&config.Firmware, was.Firmware)
	or(&config.Annotation, was.Annotation)
	if config.NumCPUs == 0 {
		config.NumCPUs = was.Hardware.NumCPU
	}
	if config.MemoryMB == 0 {
		config.MemoryMB = int64(was.Hardware.MemoryMB)
	}
	if config.NumCoresPerSocket == nil {
		config.NumCoresPerSocket = was.Hardware.NumCoresPerSocket
	}
	if config.CpuAllocation == nil {
		config.CpuAllocation = copyOf(was.CpuAllocation)
	}
	if config.MemoryAllocation == nil {
		config.MemoryAllocation = copyOf(was.MemoryAllocation)
	}
	if config.Flags == nil {
		config.Flags = &was.Flags
	}
	if config.BootOptions == nil {
		config.BootOptions = was.BootOptions
	}
	if config.CpuHotAddEnabled == nil {
		config.CpuHotAddEnabled = was.CpuHotAddEnabled
	}
	if config.MemoryHotAddEnabled == nil {
		config.MemoryHotAddEnabled = was.MemoryHotAddEnabled
	}
}
