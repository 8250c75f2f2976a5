package vcenter

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
)

// searchIndex finds machines by UUID in any spelling, and none that is still being made.
type searchIndex struct {
	*simulator.SearchIndex
	server *Server
}

// visible gives an object that was found only to those who may know of it.
func (i *searchIndex) visible(ctx *simulator.Context, found *ref) *ref {
	if found == nil || i.server.policy.Has(ctx.Session.UserName, *found, authz.View) {
		return found
	}
	return nil
}

// FindByInventoryPath climbs down from the root folder.
func (i *searchIndex) FindByInventoryPath(ctx *simulator.Context, req *types.FindByInventoryPath) soap.HasFault {
	body := i.SearchIndex.FindByInventoryPath(ctx, req)
	if found, ok := body.(*methods.FindByInventoryPathBody); ok && found.Res != nil {
		found.Res.Returnval = i.visible(ctx, found.Res.Returnval)
	}
	return body
}

// FindChild finds an object by its name in another.
func (i *searchIndex) FindChild(ctx *simulator.Context, req *types.FindChild) soap.HasFault {
	body := i.SearchIndex.FindChild(ctx, req)
	if found, ok := body.(*methods.FindChildBody); ok && found.Res != nil {
		found.Res.Returnval = i.visible(ctx, found.Res.Returnval)
	}
	return body
}

// FindByDatastorePath finds a machine by its configuration file.
func (i *searchIndex) FindByDatastorePath(ctx *simulator.Context, req *types.FindByDatastorePath) soap.HasFault {
	body := i.SearchIndex.FindByDatastorePath(ctx, req)
	if found, ok := body.(*methods.FindByDatastorePathBody); ok && found.Res != nil {
		found.Res.Returnval = i.visible(ctx, found.Res.Returnval)
	}
	return body
}

// FindByIp finds a machine by an address of its guest.
func (i *searchIndex) FindByIp(ctx *simulator.Context, req *types.FindByIp) soap.HasFault {
	body := i.SearchIndex.FindByIp(ctx, req)
	if found, ok := body.(*methods.FindByIpBody); ok && found.Res != nil {
		found.Res.Returnval = i.visible(ctx, found.Res.Returnval)
	}
	return body
}

// FindByDnsName finds a machine by its guest's name.
func (i *searchIndex) FindByDnsName(ctx *simulator.Context, req *types.FindByDnsName) soap.HasFault {
	body := i.SearchIndex.FindByDnsName(ctx, req)
	if found, ok := body.(*methods.FindByDnsNameBody); ok && found.Res != nil {
		found.Res.Returnval = i.visible(ctx, found.Res.Returnval)
	}
	return body
}

func (i *searchIndex) machines(ctx *simulator.Context, uuid string, instance *bool) []ref {
	var found []ref
	for _, entity := range i.server.registry.All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok || i.server.hub.Unborn(vm.Self) {
			continue
		}
		ctx.WithLock(vm, func() {
			has := vm.Config.Uuid
			if instance != nil && *instance {
				has = vm.Config.InstanceUuid
			}
			if strings.EqualFold(has, uuid) && i.visible(ctx, &vm.Self) != nil {
				found = append(found, vm.Self)
			}
		})
	}
	return found
}

// FindByUuid answers one machine or host, or none.
func (i *searchIndex) FindByUuid(ctx *simulator.Context, req *types.FindByUuid) soap.HasFault {
	if !req.VmSearch {
		return i.SearchIndex.FindByUuid(ctx, req)
	}
	body := &methods.FindByUuidBody{Res: new(types.FindByUuidResponse)}
	if found := i.machines(ctx, req.Uuid, req.InstanceUuid); len(found) > 0 {
		body.Res.Returnval = &found[0]
	}
	return body
}

// FindAllByUuid answers all machines or hosts.
func (i *searchIndex) FindAllByUuid(ctx *simulator.Context, req *types.FindAllByUuid) soap.HasFault {
	if !req.VmSearch {
		return i.SearchIndex.FindAllByUuid(ctx, req)
	}
	return &methods.FindAllByUuidBody{Res: &types.FindAllByUuidResponse{
		Returnval: i.machines(ctx, req.Uuid, req.InstanceUuid),
	}}
}
