package collector

import (
	"reflect"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Views stands in for the simulator's view manager.
type Views struct {
	*simulator.ViewManager
	Hub *Hub
}

// kinds are the managed object types that views and filters may name.
var kinds = map[string]reflect.Type{}

func init() {
	for _, sample := range []any{
		mo.ManagedEntity{}, mo.Folder{}, mo.StoragePod{}, mo.Datacenter{}, mo.ComputeResource{},
		mo.ClusterComputeResource{}, mo.HostSystem{}, mo.ResourcePool{}, mo.VirtualApp{}, mo.VirtualMachine{},
		mo.Datastore{}, mo.Network{}, mo.OpaqueNetwork{}, mo.DistributedVirtualPortgroup{},
		mo.DistributedVirtualSwitch{}, mo.VmwareDistributedVirtualSwitch{}, mo.Task{}, mo.TaskManager{},
		mo.ContainerView{}, mo.ListView{}, mo.SessionManager{}, mo.EventManager{}, mo.VirtualMachineSnapshot{},
	} {
		kinds[reflect.TypeOf(sample).Name()] = reflect.TypeOf(sample)
	}
}

// containerView follows what is below a container.
type containerView struct {
	mo.ContainerView

	hub   *Hub
	root  mo.Reference
	owner *simulator.Session // whose eyes the view has
	in    map[ref]bool
}

// CreateContainerView makes a view that follows the inventory.
func (v *Views) CreateContainerView(ctx *simulator.Context, req *types.CreateContainerView) soap.HasFault {
	body := new(methods.CreateContainerViewBody)
	root, value := v.Hub.object(nil, req.Container)
	if root == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.Container})
		return body
	}
	if !isA(value.Type(), "ManagedEntity") {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "container"})
		return body
	}
	for _, kind := range req.Type {
		if known, ok := kinds[kind]; !ok || !isA(known, "ManagedEntity") {
			body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "type"})
			return body
		}
	}
	owner := *ctx.Session
	view := &containerView{hub: v.Hub, root: root, owner: &owner, in: map[ref]bool{}}
	view.Self.Type = "ContainerView"
	view.Container, view.Type, view.Recursive = req.Container, req.Type, req.Recursive
	self := ctx.Session.Put(view).Reference()

	// Listening starts before the walk, so that nothing made meanwhile is missed.
	v.Hub.mu.Lock()
	v.Hub.views[view] = true
	v.Hub.mu.Unlock()
	view.fill(ctx, root)
	body.Res = &types.CreateContainerViewResponse{Returnval: self}
	return body
}

// fill adds what is below an object.
func (v *containerView) fill(ctx *simulator.Context, above mo.Reference) {
	var below []ref
	ctx.WithLock(above, func() { below = slices.Clone(children(above)) })
	for _, self := range below {
		child, value := v.hub.object(nil, self)
		if child == nil || !v.hub.sees(v.owner, self) {
			continue
		}
		if v.wants(value.Type()) {
			v.add(ctx, self)
		}
		if v.Recursive {
			v.fill(ctx, child)
		}
	}
}

func (v *containerView) wants(kind reflect.Type) bool {
	return len(v.Type) == 0 || slices.ContainsFunc(v.Type, func(name string) bool { return isA(kind, name) })
}

func (v *containerView) add(ctx *simulator.Context, self ref) {
	ctx.WithLock(v, func() {
		if !v.in[self] {
			v.in[self] = true
			v.View = append(v.View, self)
		}
	})
	v.hub.Touch(v.Self)
}

// place looks at an object that is new or has moved.
func (v *containerView) place(ctx *simulator.Context, object mo.Reference) {
	value := managed(object)
	if !value.IsValid() || !isA(value.Type(), "ManagedEntity") || !v.wants(value.Type()) {
		return
	}
	if v.contains(object) && v.hub.sees(v.owner, object.Reference()) {
		v.add(ctx, object.Reference())
	} else {
		v.drop(ctx, object.Reference())
	}
}

// contains climbs from the object to the view's container.
func (v *containerView) contains(object mo.Reference) bool {
	var ways []*ref
	ways = append(ways, parentOf(object))
	if vm, ok := managed(object).Addr().Interface().(*mo.VirtualMachine); ok {
		ways = append(ways, vm.ResourcePool, vm.Runtime.Host)
	}
	for _, at := range ways {
		for at != nil {
			if *at == v.Container {
				return true
			}
			if !v.Recursive {
				break
			}
			above := v.hub.registry.Get(*at)
			if above == nil {
				break
			}
			at = parentOf(above)
		}
	}
	return false
}

// reconsider drops what its owner no longer sees, and adds what is seen now.
func (v *containerView) reconsider(ctx *simulator.Context) {
	var known []ref
	ctx.WithLock(v, func() { known = slices.Clone(v.View) })
	for _, self := range known {
		if !v.hub.sees(v.owner, self) {
			v.drop(ctx, self)
		}
	}
	v.fill(ctx, v.root)
}

func (v *containerView) drop(ctx *simulator.Context, self ref) {
	was := false
	ctx.WithLock(v, func() {
		if was = v.in[self]; was {
			delete(v.in, self)
			v.View = slices.DeleteFunc(v.View, func(r ref) bool { return r == self })
		}
	})
	if was {
		v.hub.Touch(v.Self)
	}
}

// DestroyView ends the view.
func (v *containerView) DestroyView(ctx *simulator.Context, req *types.DestroyView) soap.HasFault {
	v.Abandon()
	ctx.Session.Remove(ctx, req.This)
	v.hub.Touch(v.Self)
	return &methods.DestroyViewBody{Res: new(types.DestroyViewResponse)}
}

// Abandon is what the end of a session does to a view.
func (v *containerView) Abandon() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	delete(v.hub.views, v)
}

// children are what an object contains, as a container view sees it. The caller holds its lock.
func children(object mo.Reference) []ref {
	switch o := managed(object).Addr().Interface().(type) {
	case *mo.Datacenter:
		return []ref{o.VmFolder, o.HostFolder, o.DatastoreFolder, o.NetworkFolder}
	case *mo.Folder:
		return o.ChildEntity
	case *mo.StoragePod:
		return o.ChildEntity
	case *mo.ComputeResource:
		return append(slices.Clone(o.Host), *o.ResourcePool)
	case *mo.ClusterComputeResource:
		return append(slices.Clone(o.Host), *o.ResourcePool)
	case *mo.ResourcePool:
		return append(slices.Clone(o.ResourcePool), o.Vm...)
	case *mo.VirtualApp:
		return append(slices.Clone(o.ResourcePool.ResourcePool), o.Vm...)
	case *mo.HostSystem:
		return o.Vm
	}
	return nil
}

// listView holds what its client puts in.
type listView struct {
	mo.ListView

	hub *Hub
}

// CreateListView makes a view of the objects given.
func (v *Views) CreateListView(ctx *simulator.Context, req *types.CreateListView) soap.HasFault {
	list := &listView{hub: v.Hub}
	list.Self.Type = "ListView"
	if missing := list.put(ctx, req.Obj); len(missing) > 0 {
		return &methods.CreateListViewBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: missing[0]})}
	}
	return &methods.CreateListViewBody{Res: &types.CreateListViewResponse{Returnval: ctx.Session.Put(list).Reference()}}
}

// put adds objects and answers those that do not exist.
func (v *listView) put(ctx *simulator.Context, objects []ref) []ref {
	var missing []ref
	for _, self := range objects {
		if found, _ := v.hub.object(ctx.Session, self); found == nil {
			missing = append(missing, self)
		} else if !slices.Contains(v.View, self) {
			v.View = append(v.View, self)
		}
	}
	return missing
}

// ModifyListView adds and removes objects; it answers those that could not be resolved.
func (v *listView) ModifyListView(ctx *simulator.Context, req *types.ModifyListView) soap.HasFault {
	missing := v.put(ctx, req.Add)
	v.View = slices.DeleteFunc(slices.Clone(v.View), func(r ref) bool { return slices.Contains(req.Remove, r) })
	v.hub.Touch(v.Self)
	return &methods.ModifyListViewBody{Res: &types.ModifyListViewResponse{Returnval: missing}}
}

// ResetListView replaces the whole list.
func (v *listView) ResetListView(ctx *simulator.Context, req *types.ResetListView) soap.HasFault {
	v.View = nil
	missing := v.put(ctx, req.Obj)
	v.hub.Touch(v.Self)
	return &methods.ResetListViewBody{Res: &types.ResetListViewResponse{Returnval: missing}}
}

// DestroyView ends the view.
func (v *listView) DestroyView(ctx *simulator.Context, req *types.DestroyView) soap.HasFault {
	ctx.Session.Remove(ctx, req.This)
	v.hub.Touch(v.Self)
	return &methods.DestroyViewBody{Res: new(types.DestroyViewResponse)}
}
