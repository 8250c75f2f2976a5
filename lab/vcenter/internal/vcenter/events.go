package vcenter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// recorder keeps every event as it was posted, encoded at once because the simulator goes on changing
// what its events point to. The simulator itself prunes its history.
//
// It listens to an event collector with a page of one, made for this purpose.
type recorder struct {
	self  ref
	mu    sync.Mutex
	kept  []json.RawMessage
	chain atomic.Int32
}

func newRecorder(s *Server) (*recorder, error) {
	ctx := s.internal()
	manager := s.registry.EventManager()
	body := manager.CreateCollectorForEvents(ctx, &types.CreateCollectorForEvents{
		This: manager.Self, Filter: types.EventFilterSpec{MaxCount: 1},
	})
	if body.Fault() != nil {
		return nil, fmt.Errorf("record events: %s", body.Fault().String)
	}
	r := &recorder{self: body.(*methods.CreateCollectorForEventsBody).Res.Returnval}
	s.registry.AddHandler(r)
	return r, nil
}

// next gives the number of a new chain of events.
func (r *recorder) next() int32 { return r.chain.Add(1) }

// Reference is that of the listener in the registry, not of a managed object.
func (r *recorder) Reference() ref { return ref{Type: "LabRecorder", Value: r.self.Value} }

// PutObject does nothing.
func (r *recorder) PutObject(*simulator.Context, mo.Reference) {}

// RemoveObject does nothing.
func (r *recorder) RemoveObject(*simulator.Context, ref) {}

// UpdateObject notes the newest event.
func (r *recorder) UpdateObject(_ *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	if object.Reference() != r.self {
		return
	}
	for _, change := range changes {
		page, ok := change.Val.(*types.ArrayOfEvent)
		if !ok || len(page.Event) == 0 {
			continue
		}
		text := new(bytes.Buffer)
		encoder := types.NewJSONEncoder(text)
		if err := encoder.Encode(page.Event[0]); err != nil {
			text.Reset()
			fmt.Fprintf(text, `{"_typeName": %q, "error": %q}`, typeName(page.Event[0]), err)
		}
		r.mu.Lock()
		r.kept = append(r.kept, bytes.TrimSpace(text.Bytes()))
		r.mu.Unlock()
	}
}

// Events gives every event since the start, oldest first.
func (s *Server) Events() []json.RawMessage {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return append([]json.RawMessage{}, s.events.kept...)
}

func (s *Server) post(ctx *simulator.Context, event types.BaseEvent) {
	manager := s.registry.EventManager()
	ctx.WithLock(manager, func() {
		manager.PostEvent(ctx, &types.PostEvent{This: manager.Self, EventToPost: event})
	})
}

// vmEvent says where a machine is. The caller holds the machine's lock.
func (s *Server) vmEvent(vm *simulator.VirtualMachine) types.VmEvent {
	event := types.VmEvent{Event: types.Event{
		Vm: &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self},
	}}
	if vm.Runtime.Host != nil {
		if host, ok := s.registry.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
			event.Host = &types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Host: host.Self}
			parent := s.registry.Get(*host.Parent).(mo.Entity)
			event.ComputeResource = &types.ComputeResourceEventArgument{
				EntityEventArgument: types.EntityEventArgument{Name: parent.Entity().Name}, ComputeResource: parent.Reference(),
			}
		}
	}
	if dc := s.datacenterOf(vm); dc != nil {
		event.Datacenter = &types.DatacenterEventArgument{EntityEventArgument: types.EntityEventArgument{Name: dc.Name}, Datacenter: dc.Self}
	}
	return event
}

// datacenterOf climbs from an object to its datacenter.
func (s *Server) datacenterOf(object mo.Entity) *simulator.Datacenter {
	for parent := object.Entity().Parent; parent != nil; {
		switch above := s.registry.Get(*parent).(type) {
		case *simulator.Datacenter:
			return above
		case mo.Entity:
			parent = above.Entity().Parent
		default:
			return nil
		}
	}
	return nil
}
