package vcenter

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// parentsOf decides, disk by disk, what a clone's disks hang on: a new child on the source's disk, a shared one
// on the parent that the source's disk has; all others are copied whole, with what is below them.
func parentsOf(from *source, req *types.CloneVM_Task, datastore ref) (map[int32]*types.VirtualDiskFlatVer2BackingInfo, *refusal) {
	invalid := func(what, why string) *refusal {
		return refuseText(&types.InvalidArgument{InvalidProperty: what}, "A specified parameter was not correct: "+what+" ("+why+")")
	}
	if snapshot := req.Spec.Snapshot; snapshot != nil && !slices.Contains(from.snapshots, *snapshot) {
		return nil, invalid("spec.snapshot", "it is not a snapshot of the source")
	}
	moves := map[int32]string{}
	for _, disk := range req.Spec.Location.Disk {
		moves[disk.DiskId] = disk.DiskMoveType
		if disk.Datastore != datastore {
			return nil, refuseText(&types.NotSupported{}, "The lab puts all disks of a clone on one datastore.")
		}
	}
	parents := map[int32]*types.VirtualDiskFlatVer2BackingInfo{}
	for _, device := range from.config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		move := req.Spec.Location.DiskMoveType
		if own := moves[disk.Key]; own != "" {
			move = own
		}
		delete(moves, disk.Key)
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		switch types.VirtualMachineRelocateDiskMoveOptions(move) {
		case "", types.VirtualMachineRelocateDiskMoveOptionsMoveAllDiskBackingsAndDisallowSharing,
			types.VirtualMachineRelocateDiskMoveOptionsMoveAllDiskBackingsAndConsolidate:
		case types.VirtualMachineRelocateDiskMoveOptionsMoveAllDiskBackingsAndAllowSharing,
			types.VirtualMachineRelocateDiskMoveOptionsMoveChildMostDiskBacking:
			if ok && backing.Parent != nil {
				parents[disk.Key] = copyOf(backing.Parent)
			}
		case types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking:
			if req.Spec.Snapshot == nil {
				return nil, invalid("spec.snapshot", "a new child disk needs one")
			}
			if ok && backing.FileName != "" {
				parents[disk.Key] = copyOf(backing)
			}
		default:
			return nil, invalid("spec.location.diskMoveType", move+" is not one of its values")
		}
	}
	for key := range moves {
		return nil, invalid("spec.location.disk.diskId", fmt.Sprintf("the source has no disk %d", key))
	}
	return parents, nil
}

// lockedByChildren refuses to destroy a disk that a running machine's disk hangs on: its host holds it open.
func (s *Server) lockedByChildren(vm *simulator.VirtualMachine) *refusal {
	if !vm.Config.Template && vm.Snapshot == nil {
		return nil // nothing can hang on it
	}
	mine := map[string]bool{}
	for _, disk := range disksOf(vm) {
		if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			mine[backing.FileName] = true
		}
	}
	ctx := s.internal()
	var refused *refusal
	for _, entity := range s.registry.All("VirtualMachine") {
		other := entity.(*simulator.VirtualMachine)
		ctx.WithLock(other, func() {
			if other.Runtime.PowerState != poweredOn {
				return
			}
			for _, disk := range disksOf(other) {
				backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
				if ok && backing.Parent != nil && mine[backing.Parent.FileName] {
					refused = refuseText(&types.FileLocked{FileFault: types.FileFault{File: backing.Parent.FileName}},
						fmt.Sprintf("Unable to access file %s since it is locked: a disk of %s hangs on it.", backing.Parent.FileName, other.Name))
				}
			}
		})
	}
	return refused
}

// orphaned refuses to start a machine whose disk hangs on a file that is gone.
func (s *Server) orphaned(vm *simulator.VirtualMachine) *refusal {
	for _, disk := range disksOf(vm) {
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok || backing.Parent == nil || backing.Parent.Datastore == nil {
			continue
		}
		store, ok := s.registry.Get(*backing.Parent.Datastore).(*simulator.Datastore)
		var path object.DatastorePath
		if !ok || !path.FromString(backing.Parent.FileName) {
			continue
		}
		if _, err := os.Stat(filepath.Join(store.Info.GetDatastoreInfo().Url, path.Path)); err != nil {
			return refuseText(&types.FileNotFound{FileFault: types.FileFault{File: backing.Parent.FileName}},
				fmt.Sprintf("File %s was not found: the parent of a disk is gone.", backing.Parent.FileName))
		}
	}
	return nil
}
