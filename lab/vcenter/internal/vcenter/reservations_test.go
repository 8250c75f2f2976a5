package vcenter_test

import (
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

// TestReservationsAreAdmitted: a pool of 3000 MB of its own, in one of 5000 MB at most; the inner one may expand.
func TestReservationsAreAdmitted(t *testing.T) {
	fixed := false
	lab := labtest.Start(t, func(o *vcenter.Options) {
		o.Inventory.Datacenters[0].ComputeClusters[0].ResourcePools = []inventory.ResourcePool{
			{Name: "kept", MemoryReservationMiB: 3000, Expandable: &fixed},
			{Name: "small", MemoryLimitMiB: 5000, Children: []inventory.ResourcePool{{Name: "inner"}}},
		}
	})
	client := lab.Login()
	ctx := lab.Context()
	pool := func(path string) *object.ResourcePool {
		found, err := find.NewFinder(client.Client, false).ResourcePool(ctx, "/dc1/host/cc1/Resources/"+path)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	left := func(path string) int64 {
		var of mo.ResourcePool
		if err := pool(path).Properties(ctx, pool(path).Reference(), []string{"runtime"}, &of); err != nil {
			t.Fatal(err)
		}
		return of.Runtime.Memory.UnreservedForVm >> 20
	}
	node := func(name, in string, mib int64) *object.VirtualMachine {
		return lab.Clone(client, name, func(spec *types.VirtualMachineCloneSpec) {
			where := pool(in).Reference()
			spec.Location.Pool = &where
			spec.Config.MemoryAllocation = &types.ResourceAllocationInfo{Reservation: &mib}
		})
	}
	if left("kept") != 3000 || left("small/inner") != 5000 {
		t.Errorf("at first %d and %d MB", left("kept"), left("small/inner"))
	}
	first, second := node("first", "kept", 2000), node("second", "kept", 2000)
	lab.Done(first.PowerOn(ctx))
	fault, text := lab.Fault(second.PowerOn(ctx))
	if short, ok := fault.(*types.InsufficientMemoryResourcesFault); !ok || short.Unreserved>>20 != 1000 || short.Requested>>20 != 2000 {
		t.Errorf("%#v %s", fault, text)
	}
	lab.Done(first.PowerOff(ctx))
	lab.Done(second.PowerOn(ctx))

	lab.Done(node("third", "small/inner", 2000).PowerOn(ctx)) // has none of its own: it comes from above
	if left("small/inner") != 3000 || left("small") != 3000 || left("kept") != 1000 {
		t.Errorf("then %d, %d and %d MB", left("small/inner"), left("small"), left("kept"))
	}
	lab.Done(node("free", "small", 0).PowerOn(ctx))
}

func TestAHostKeepsWhatItHasWhereNobodyMovesMachines(t *testing.T) {
	for _, drs := range []bool{true, false} {
		lab := labtest.Start(t, func(o *vcenter.Options) {
			compute := &o.Inventory.Datacenters[0].ComputeClusters[0]
			compute.DRS = drs
			for i := range compute.Hosts {
				compute.Hosts[i].MemoryGiB = 8
			}
		})
		client := lab.Login()
		ctx := lab.Context()
		var on *types.ManagedObjectReference
		node := func(name string) *object.VirtualMachine {
			mib := int64(5000)
			vm := lab.Clone(client, name, func(spec *types.VirtualMachineCloneSpec) {
				spec.Location.Host = on
				spec.Config.MemoryAllocation = &types.ResourceAllocationInfo{Reservation: &mib}
			})
			on = lab.Properties(client, vm.Reference(), "runtime").Runtime.Host
			return vm
		}
		lab.Done(node("first").PowerOn(ctx))
		second, err := node("second").PowerOn(ctx)
		if drs {
			lab.Done(second, err)
			continue
		}
		fault, text := lab.Fault(second, err)
		if short, ok := fault.(*types.InsufficientMemoryResourcesFault); !ok || short.Requested>>20 != 5000 {
			t.Errorf("%#v %s", fault, text)
		}
	}
}
