package vcenter

import (
	"fmt"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// reservations are what running machines have reserved. Admission control, as vSphere Resource Management
// describes it: a machine is powered on only where its resource pool has as much left, of its own reservation,
// and, where that is expandable, of what the pool above it has left. Overhead is not counted here.
type reservations struct {
	server *Server
	mu     sync.Mutex
	of     map[ref]reservation // by machine: those that run, or are being powered on
}

type reservation struct {
	pool   ref
	host   ref
	memory int64 // bytes
	cpu    int64 // MHz
}

func newReservations(s *Server) *reservations {
	r := &reservations{server: s, of: map[ref]reservation{}}
	r.show()
	return r
}

func amount(info *types.ResourceAllocationInfo) int64 {
	if info == nil || info.Reservation == nil {
		return 0
	}
	return *info.Reservation
}

// admit takes what a machine has reserved, or refuses to power it on; give takes it back.
func (r *reservations) admit(ctx *simulator.Context, vm *simulator.VirtualMachine) *refusal {
	var wanted reservation
	ctx.WithLock(vm, func() {
		wanted = reservation{memory: amount(vm.Config.MemoryAllocation) << 20, cpu: amount(vm.Config.CpuAllocation)}
		if vm.ResourcePool != nil {
			wanted.pool = *vm.ResourcePool
		}
		if vm.Runtime.Host != nil {
			wanted.host = *vm.Runtime.Host
		}
	})
	if wanted.memory == 0 && wanted.cpu == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	memory, cpu := r.left(wanted.pool)
	if onMemory, onCPU, fixed := r.leftOn(ctx, wanted); fixed {
		memory, cpu = min(memory, onMemory), min(cpu, onCPU)
	}
	short := func(what, unit string, left, asked int64) string {
		return fmt.Sprintf("Insufficient %s resources: %d %s are left to reserve, and %d %s are asked for.", what, left, unit, asked, unit)
	}
	if wanted.memory > memory {
		return refuseText(&types.InsufficientMemoryResourcesFault{Unreserved: memory, Requested: wanted.memory},
			short("memory", "MB", memory>>20, wanted.memory>>20))
	}
	if wanted.cpu > cpu {
		return refuseText(&types.InsufficientCpuResourcesFault{Unreserved: cpu, Requested: wanted.cpu},
			short("CPU", "MHz", cpu, wanted.cpu))
	}
	r.of[vm.Self] = wanted
	r.show()
	return nil
}

// leftOn is what machines on a host can still have reserved, where no DRS moves others away from it.
func (r *reservations) leftOn(ctx *simulator.Context, wanted reservation) (memory, cpu int64, fixed bool) {
	host, ok := r.server.registry.Get(wanted.host).(*simulator.HostSystem)
	compute := r.server.computeOf(wanted.pool)
	if !ok || compute == nil {
		return 0, 0, false
	}
	if cluster, ok := r.server.registry.Get(compute.Self).(*simulator.ClusterComputeResource); ok && automated(ctx, cluster) {
		return 0, 0, false
	}
	ctx.WithLock(host, func() {
		memory = host.Summary.Hardware.MemorySize
		cpu = int64(host.Summary.Hardware.CpuMhz) * int64(host.Summary.Hardware.NumCpuCores)
	})
	for _, one := range r.of {
		if one.host == wanted.host {
			memory, cpu = memory-one.memory, cpu-one.cpu
		}
	}
	return memory, cpu, true
}

// give back what a machine had reserved, if anything.
func (r *reservations) give(vm ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, had := r.of[vm]; had {
		delete(r.of, vm)
		r.show()
	}
}

// used is what machines in a pool and the pools below it have reserved; those pools keep theirs in any case.
func (r *reservations) used(pool *simulator.ResourcePool) (memory, cpu int64) {
	for _, one := range r.of {
		if one.pool == pool.Self {
			memory, cpu = memory+one.memory, cpu+one.cpu
		}
	}
	for _, child := range pool.ResourcePool.ResourcePool {
		if below, ok := r.server.registry.Get(child).(*simulator.ResourcePool); ok {
			m, c := r.used(below)
			memory += max(m, amount(&below.Config.MemoryAllocation)<<20)
			cpu += max(c, amount(&below.Config.CpuAllocation))
		}
	}
	return memory, cpu
}

// left is what machines directly in a pool can still have reserved.
func (r *reservations) left(self ref) (memory, cpu int64) {
	pool, ok := r.server.registry.Get(self).(*simulator.ResourcePool)
	if !ok {
		return 0, 0
	}
	usedMemory, usedCPU := r.used(pool)
	if pool.Parent == nil || pool.Parent.Type != "ResourcePool" { // the root pool: its hosts
		return pool.Runtime.Memory.MaxUsage - usedMemory, pool.Runtime.Cpu.MaxUsage - usedCPU
	}
	aboveMemory, aboveCPU := r.left(*pool.Parent)
	of := func(info types.ResourceAllocationInfo, used, above, unit int64) int64 {
		left := max(0, amount(&info)*unit-used)
		if info.ExpandableReservation != nil && *info.ExpandableReservation {
			left += max(0, above)
		}
		if info.Limit != nil && *info.Limit >= 0 {
			left = min(left, *info.Limit*unit-used)
		}
		return left
	}
	return of(pool.Config.MemoryAllocation, usedMemory, aboveMemory, 1<<20), of(pool.Config.CpuAllocation, usedCPU, aboveCPU, 1)
}

// show writes what is left into the pools. The caller holds the lock, or nobody else knows r.
func (r *reservations) show() {
	ctx := r.server.internal()
	for _, entity := range r.server.registry.All("ResourcePool") {
		pool, ok := entity.(*simulator.ResourcePool)
		if !ok {
			continue
		}
		memory, cpu := r.left(pool.Self)
		ctx.WithLock(pool, func() {
			pool.Runtime.Memory.UnreservedForVm, pool.Runtime.Cpu.UnreservedForVm = memory, cpu
		})
	}
}
