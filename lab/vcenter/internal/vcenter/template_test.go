package vcenter_test

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

func TestReplicaOfATemplate(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	ctx := lab.Context()
	// A full clone, a snapshot, a template: then linked clones hang on the replica.
	replica := lab.Clone(client, "replica")
	lab.Done(replica.CreateSnapshot(ctx, "base", "", false, false))
	if err := replica.MarkAsTemplate(ctx); err != nil {
		t.Fatal(err)
	}
	got := lab.Properties(client, replica.Reference(), "snapshot", "config.template", "resourcePool")
	if !got.Config.Template || got.ResourcePool != nil {
		t.Errorf("%+v", got)
	}
	spec := lab.Spec(client, func(s *types.VirtualMachineCloneSpec) {
		s.Snapshot = got.Snapshot.CurrentSnapshot
		s.Location.DiskMoveType = string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
	})
	parent, err := replica.ObjectName(ctx)
	if err != nil {
		t.Fatal(err)
	}
	folder := object.NewFolder(client.Client, *lab.Properties(client, replica.Reference(), "parent").Parent)
	lab.Done(replica.Clone(ctx, folder, "node", spec))
	for _, vm := range lab.Server.Inventory().VMs {
		if vm.Name == "node" && (vm.Disks[0].Parent != "[ds1] "+parent+"/"+parent+".vmdk" || vm.Image != "1.34.4") {
			t.Errorf("%+v", vm)
		}
	}
	fault, _ := lab.Fault(replica.CreateSnapshot(ctx, "second", "", false, false))
	if _, ok := fault.(*types.NotSupported); !ok {
		t.Errorf("a snapshot of a template: %T", fault)
	}
}

func TestRenamedMachineIsFoundUnderItsNewName(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "old")
	lab.Clone(client, "taken")
	fault, _ := lab.Fault(vm.Rename(lab.Context(), "taken"))
	if _, ok := fault.(*types.DuplicateName); !ok {
		t.Errorf("%T", fault)
	}
	lab.Done(vm.Rename(lab.Context(), "new"))
	if lab.VM(client, "/dc1/vm/clusters/new").Reference() != vm.Reference() {
		t.Error("another machine")
	}
	if name := lab.Properties(client, vm.Reference(), "config.name").Config.Name; name != "new" {
		t.Error(name)
	}
}

func TestTemplateTellsItsKubernetesVersion(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	for _, vm := range []*object.VirtualMachine{lab.VM(client, labtest.Template), lab.Clone(client, "node")} {
		config := lab.Properties(client, vm.Reference(), "config.vAppConfig").Config
		if config == nil || config.VAppConfig == nil {
			t.Fatal("no vApp configuration")
		}
		info := config.VAppConfig.GetVmConfigInfo()
		if len(info.Property) != 1 || info.Property[0].Id != "KUBERNETES_SEMVER" || info.Property[0].DefaultValue != "v1.34.4" ||
			info.Product[0].Version != "v1.34.4" {
			t.Errorf("%+v", info)
		}
	}
	if _, err := methods.GetCurrentTime(lab.Context(), client); err != nil {
		t.Error(err)
	}
}
