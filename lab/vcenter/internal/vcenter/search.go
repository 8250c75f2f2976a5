package vcenter

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// searchIndex finds machines by UUID in any spelling, and none that is still being made.
type searchIndex struct {
	*simulator.SearchIndex
	server *Server
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
			if strings.EqualFold(has, uuid) {
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
