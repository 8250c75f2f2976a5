// Package collector is the lab's own PropertyCollector, with views, in place of the simulator's.
//
// The simulator's collects every object of every filter anew for each change, loses updates whose answer
// did not arrive, reports only what its code has announced under the very path that the filter names, and
// goes on waiting for clients that hung up. This one keeps a fingerprint of each value that a client was
// sent, looks again only at objects that were touched, keeps the last answer until the next call proves
// its arrival, and refuses versions it does not know.
package collector

import (
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

type ref = types.ManagedObjectReference

// Hub hears of every change in the registry and passes it on to views and collectors.
type Hub struct {
	registry *simulator.Registry

	mu         sync.Mutex
	collectors map[*Collector]bool
	views      map[*containerView]bool
	unborn     map[ref]bool // machines that are still being made
	held       func(parent ref, name string) bool
	guard      Guard
	pageSize   atomic.Int32
}

// Guard says what a session's user may see.
type Guard interface {
	// Unlimited is true for a session from which nothing is kept.
	Unlimited(session *simulator.Session) bool
	// Sees is true for objects that the user knows to exist.
	Sees(session *simulator.Session, self ref) bool
	// Lacks names the privilege without which a property stays unread; "" for none.
	Lacks(session *simulator.Session, self ref, kind reflect.Type, property string) string
}

// NewHub listens to the registry. Machines for which held is true appear only when Publish is called.
func NewHub(registry *simulator.Registry, guard Guard, held func(parent ref, name string) bool) *Hub {
	h := &Hub{
		registry: registry, guard: guard, held: held,
		collectors: map[*Collector]bool{}, views: map[*containerView]bool{}, unborn: map[ref]bool{},
	}
	registry.AddHandler(h)
	return h
}

// Reference is that of the listener in the registry, not of a managed object.
func (h *Hub) Reference() ref { return ref{Type: "LabHub", Value: "collector"} }

// PutObject is called for every new object, and for one that was moved.
func (h *Hub) PutObject(ctx *simulator.Context, object mo.Reference) {
	self := object.Reference()
	if self.Type == "VirtualMachine" && h.registryIsMaking(object) {
		h.mu.Lock()
		h.unborn[self] = true
		h.mu.Unlock()
		return
	}
	h.placed(ctx, object)
}

// registryIsMaking is true for a machine that the simulator has just put into its folder, without a name.
func (h *Hub) registryIsMaking(object mo.Reference) bool {
	vm, ok := object.(*simulator.VirtualMachine)
	return ok && vm.Name == ""
}

// UpdateObject is called for announced changes.
func (h *Hub) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	self := object.Reference()
	if self.Type == "VirtualMachine" && len(changes) == 1 && changes[0].Name == "name" {
		h.mu.Lock()
		young := h.unborn[self]
		h.mu.Unlock()
		if entity, ok := object.(mo.Entity); young && ok && !h.held(*entity.Entity().Parent, entity.Entity().Name) {
			h.Publish(ctx, self) // the last thing that the simulator does to a machine it has made
			return
		}
	}
	for i := range changes {
		if name := changes[i].Name; name == "resourcePool" || name == "runtime.host" || name == "parent" {
			h.placed(ctx, object)
			if self.Type == "Folder" {
				h.Reconsider(ctx) // what is below it inherits other permissions now
			}
			return
		}
	}
	h.Touch(self)
	if task, ok := object.(*mo.Task); ok && task.Info.Entity != nil {
		h.Touch(*task.Info.Entity) // the simulator's tasks do not announce all that they change
	}
}

// RemoveObject is called before an object goes.
func (h *Hub) RemoveObject(ctx *simulator.Context, self ref) {
	h.mu.Lock()
	delete(h.unborn, self)
	views := keys(h.views)
	h.mu.Unlock()
	parent := parentOf(h.registry.Get(self))
	for _, view := range views {
		view.drop(ctx, self)
	}
	h.Touch(self)
	if parent != nil {
		h.Touch(*parent)
	}
}

// Publish makes a machine visible that was held back while it was made.
func (h *Hub) Publish(ctx *simulator.Context, self ref) {
	h.mu.Lock()
	delete(h.unborn, self)
	h.mu.Unlock()
	if object := h.registry.Get(self); object != nil {
		h.placed(ctx, object)
	}
}

// placed tells the views of an object that is new or has moved.
func (h *Hub) placed(ctx *simulator.Context, object mo.Reference) {
	h.mu.Lock()
	views := keys(h.views)
	h.mu.Unlock()
	for _, view := range views {
		view.place(ctx, object)
	}
	h.Touch(object.Reference())
	if parent := parentOf(object); parent != nil {
		h.Touch(*parent)
	}
}

// Touch has the collectors look at objects again. Values that did not change are not sent.
func (h *Hub) Touch(objects ...ref) {
	h.mu.Lock()
	collectors := keys(h.collectors)
	h.mu.Unlock()
	for _, collector := range collectors {
		collector.touch(objects)
	}
}

// Reconsider has views and filters look at everything again: permissions have changed.
func (h *Hub) Reconsider(ctx *simulator.Context) {
	h.mu.Lock()
	views, collectors := keys(h.views), keys(h.collectors)
	h.mu.Unlock()
	for _, view := range views {
		view.reconsider(ctx)
	}
	for _, collector := range collectors {
		collector.reconsider()
	}
}

// SetPage makes answers to waits hold at most so many objects; 0 is the usual number.
func (h *Hub) SetPage(objects int) { h.pageSize.Store(int32(objects)) }

func (h *Hub) page() int {
	if objects := int(h.pageSize.Load()); objects > 0 {
		return objects
	}
	return pageSize
}

func (h *Hub) sees(session *simulator.Session, self ref) bool {
	return session == nil || h.guard.Unlimited(session) || h.guard.Sees(session, self)
}

// Unborn is true for a machine that is still being made.
func (h *Hub) Unborn(self ref) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unborn[self]
}

func (h *Hub) attach(c *Collector) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.collectors[c] = true
}

func (h *Hub) detach(c *Collector) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.collectors, c)
}

// object finds an object in the session or in the inventory, with the API's struct in it.
func (h *Hub) object(session *simulator.Session, self ref) (mo.Reference, reflect.Value) {
	var found mo.Reference
	switch {
	case session != nil:
		found = session.Get(self)
	case self.Type == "SessionManager":
		found = &mo.SessionManager{Self: self} // who is logged in is nobody else's business
	default:
		found = h.registry.Get(self)
	}
	if found == nil || h.Unborn(self) {
		return nil, reflect.Value{}
	}
	if stored, ok := found.(interface{ Get() mo.Reference }); ok { // history collectors make theirs when asked
		found = stored.Get()
	}
	value := managed(found)
	if !value.IsValid() {
		return nil, reflect.Value{}
	}
	return found, value
}

func parentOf(object mo.Reference) *ref {
	if entity, ok := object.(mo.Entity); ok {
		return entity.Entity().Parent
	}
	return nil
}

func keys[K comparable](set map[K]bool) []K {
	list := make([]K, 0, len(set))
	for key := range set {
		list = append(list, key)
	}
	return list
}
