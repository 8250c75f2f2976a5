package vcenter_test

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

func disk(l *labtest.Lab, name string) vcenter.ListedDisk {
	for _, vm := range l.Server.Inventory().VMs {
		if vm.Name == name {
			return vm.Disks[0]
		}
	}
	return vcenter.ListedDisk{}
}

func free(l *labtest.Lab) int64 { return l.Server.Inventory().Datastores[0].FreeSpace }

func TestEachMoveTypeIsHonoured(t *testing.T) {
	const base = "[ds1] ubuntu-2404-kube-v1.34.4/ubuntu-2404-kube-v1.34.4.vmdk"
	for move, want := range map[string]struct {
		parent string
		full   bool
	}{
		"":                                      {"", true},
		"moveAllDiskBackingsAndDisallowSharing": {"", true},
		"moveAllDiskBackingsAndConsolidate":     {"", true},
		"moveAllDiskBackingsAndAllowSharing":    {base, false},
		"moveChildMostDiskBacking":              {base, false},
	} {
		t.Run(move, func(t *testing.T) {
			l := labtest.Start(t)
			c := l.Login()
			linked := l.Clone(c, "linked", l.Linked(c))
			folder := object.NewFolder(c.Client, *l.Properties(c, linked.Reference(), "parent").Parent)
			before := free(l)
			l.Done(linked.Clone(l.Context(), folder, "second", l.Spec(c, func(spec *types.VirtualMachineCloneSpec) {
				spec.Location.DiskMoveType = move
			})))
			if got := disk(l, "second").Parent; got != want.parent {
				t.Errorf("its disk hangs on %q", got)
			}
			if took := before - free(l); took >= 20<<30 != want.full {
				t.Errorf("it took %d bytes", took)
			}
		})
	}
}

func TestAMoveTypeThatIsNoneIsRefused(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	spec := l.Spec(c, func(spec *types.VirtualMachineCloneSpec) { spec.Location.DiskMoveType = "createChildMost" })
	if fault, _ := l.Fault(l.StartClone(c, "one", spec), nil); !isA[*types.InvalidArgument](fault) {
		t.Errorf("%T", fault)
	}
}

func TestABaseIsLockedByItsRunningChildren(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	child := l.Clone(c, "child", l.Linked(c))
	l.Done(child.PowerOn(l.Context()))
	base := l.VM(c, labtest.Template)
	if fault, _ := l.Fault(base.Destroy(l.Context())); !isA[*types.FileLocked](fault) {
		t.Fatalf("%T", fault)
	}
	l.Done(child.PowerOff(l.Context()))
	l.Done(base.Destroy(l.Context()))
	if fault, _ := l.Fault(child.PowerOn(l.Context())); !isA[*types.FileNotFound](fault) {
		t.Errorf("a child whose parent is gone: %T", fault)
	}
}
