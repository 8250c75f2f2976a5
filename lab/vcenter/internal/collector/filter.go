package collector

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// filter is one PropertyFilter with what its client knows.
type filter struct {
	mo.PropertyFilter

	owner  *Collector
	query  *query
	known  map[ref]*member
	passed map[ref]bool // objects that a traversal went through
	stale  bool         // the traversal has to be done again
}

// member is an object of which the client knows some values.
type member struct {
	paths []property
	sums  []uint64 // fingerprints of the values sent; 0 for unset
}

// query is a filter's specification, or that of a single retrieval.
type query struct {
	hub  *Hub
	spec types.PropertyFilterSpec
	byGo map[reflect.Type][]property
}

type property struct {
	name  string
	steps []step
}

// newQuery checks a specification as far as that is possible without objects.
func newQuery(hub *Hub, spec types.PropertyFilterSpec) (*query, types.BaseMethodFault) {
	for _, set := range spec.PropSet {
		kind, known := kinds[set.Type]
		for _, name := range set.PathSet {
			steps, err := parsePath(name)
			if err != nil || known && !exists(kind, steps) {
				return nil, &types.InvalidProperty{Name: name}
			}
		}
	}
	return &query{hub: hub, spec: spec, byGo: map[reflect.Type][]property{}}, nil
}

// properties are those asked for of a type; nil if it was not asked for.
func (q *query) properties(kind reflect.Type) []property {
	if list, ok := q.byGo[kind]; ok {
		return list
	}
	list := []property(nil)
	seen := map[string]bool{}
	for _, set := range q.spec.PropSet {
		if !isA(kind, set.Type) {
			continue
		}
		names := set.PathSet
		if set.All != nil && *set.All {
			names = properties(kind)
		}
		if list == nil {
			list = []property{}
		}
		for _, name := range names {
			if steps, err := parsePath(name); err == nil && !seen[name] {
				seen[name] = true
				list = append(list, property{name, steps})
			}
		}
	}
	q.byGo[kind] = list
	return list
}

// selection is the outcome of going through the object set.
type selection struct {
	objects []ref
	chosen  map[ref]bool
	passed  map[ref]bool
}

// selects goes through the object set. An object that is missing there is a fault for a new request
// only; a filter in use has it leave.
func (q *query) selects(ctx *simulator.Context, strict bool) (*selection, types.BaseMethodFault) {
	out := &selection{chosen: map[ref]bool{}, passed: map[ref]bool{}}
	for _, start := range q.spec.ObjectSet {
		object, value := q.hub.object(ctx.Session, start.Obj)
		if object == nil {
			lenient := q.spec.ReportMissingObjectsInResults != nil && *q.spec.ReportMissingObjectsInResults
			if !strict || lenient {
				continue
			}
			return nil, &types.ManagedObjectNotFound{Obj: start.Obj}
		}
		if start.Skip == nil || !*start.Skip {
			out.choose(start.Obj)
		}
		walk := &walk{query: q, out: out, named: map[string]*types.TraversalSpec{}, done: map[string]bool{}}
		walk.learn(start.SelectSet)
		if fault := walk.through(ctx, object, value, start.SelectSet); fault != nil {
			return nil, fault
		}
	}
	return out, nil
}

func (s *selection) choose(self ref) {
	if !s.chosen[self] {
		s.chosen[self] = true
		s.objects = append(s.objects, self)
	}
}

// walk follows traversal specifications.
type walk struct {
	query *query
	out   *selection
	named map[string]*types.TraversalSpec
	done  map[string]bool // object and specification, since they may refer to each other in a circle
}

func (w *walk) learn(set []types.BaseSelectionSpec) {
	for _, one := range set {
		if traversal, ok := one.(*types.TraversalSpec); ok {
			if traversal.Name != "" {
				w.named[traversal.Name] = traversal
			}
			w.learn(traversal.SelectSet)
		}
	}
}

func (w *walk) through(ctx *simulator.Context, object mo.Reference, value reflect.Value, set []types.BaseSelectionSpec) types.BaseMethodFault {
	for _, one := range set {
		traversal, ok := one.(*types.TraversalSpec)
		if !ok {
			if traversal = w.named[one.GetSelectionSpec().Name]; traversal == nil {
				return &types.InvalidArgument{InvalidProperty: "selectSet"}
			}
		}
		if !isA(value.Type(), traversal.Type) {
			continue
		}
		self := object.Reference()
		mark := fmt.Sprintf("%s:%s %p", self.Type, self.Value, traversal)
		if w.done[mark] {
			continue
		}
		w.done[mark] = true
		w.out.passed[self] = true
		skip := traversal.Skip != nil && *traversal.Skip
		for _, next := range follow(ctx, object, value, traversal.Path) {
			if !w.query.hub.sees(ctx.Session, next) {
				continue
			}
			if len(traversal.SelectSet) == 0 {
				if !skip {
					w.out.choose(next) // whether it exists is seen when it is read
				}
				continue
			}
			below, inner := w.query.hub.object(ctx.Session, next)
			if below == nil {
				continue
			}
			if !skip {
				w.out.choose(next)
			}
			if fault := w.through(ctx, below, inner, traversal.SelectSet); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// follow reads the references behind a path.
func follow(ctx *simulator.Context, object mo.Reference, value reflect.Value, path string) []ref {
	steps, err := parsePath(path)
	if err != nil {
		return nil
	}
	var found any
	ctx.WithLock(object, func() { found = read(value, steps) })
	switch refs := found.(type) {
	case ref:
		return []ref{refs}
	case *types.ArrayOfManagedObjectReference:
		return refs.ManagedObjectReference
	}
	return nil
}

// value is a property as it is now.
type value struct {
	name  string
	val   any    // nil: unset
	lacks string // the privilege without which it cannot be read
}

// missing is the fault that stands for a value which the user may not read.
func (v value) missing(self ref) types.MissingProperty {
	return types.MissingProperty{Path: v.name, Fault: types.LocalizedMethodFault{
		Fault:            &types.NoPermission{Object: &self, PrivilegeId: v.lacks},
		LocalizedMessage: "Permission to perform this operation was denied.",
	}}
}

func (v value) sum() uint64 {
	if v.lacks != "" {
		return 2 // no fingerprint is even
	}
	return fingerprint(v.val)
}

// values reads properties of an object. False means that there is no such object any more.
func (q *query) values(ctx *simulator.Context, self ref) ([]value, []property, bool) {
	object, inner := q.hub.object(ctx.Session, self)
	if object == nil {
		return nil, nil, false
	}
	wanted := q.properties(inner.Type())
	out := make([]value, len(wanted))
	limited := ctx.Session != nil && !q.hub.guard.Unlimited(ctx.Session)
	ctx.WithLock(object, func() {
		for i, p := range wanted {
			out[i].name = p.name
			if limited {
				out[i].lacks = q.hub.guard.Lacks(ctx.Session, self, inner.Type(), p.steps[0].field)
			}
			if out[i].lacks == "" {
				out[i].val = read(inner, p.steps)
			}
		}
	})
	for i := range out {
		if list, ok := out[i].val.(*types.ArrayOfManagedObjectReference); ok && limited {
			list.ManagedObjectReference = slices.DeleteFunc(list.ManagedObjectReference, func(one ref) bool {
				return !q.hub.sees(ctx.Session, one)
			})
		}
	}
	return out, wanted, true
}

// update compares what the client knows with what is, and makes that known.
func (f *filter) update(ctx *simulator.Context, touched map[ref]bool) ([]types.ObjectUpdate, types.BaseMethodFault) {
	for self := range touched {
		if f.passed[self] {
			f.stale = true
		}
	}
	var updates []types.ObjectUpdate
	if f.stale {
		chosen, fault := f.query.selects(ctx, false)
		if fault != nil {
			return nil, fault
		}
		f.stale, f.passed = false, chosen.passed
		for self := range f.known {
			if !chosen.chosen[self] {
				delete(f.known, self)
				updates = append(updates, types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: self})
			}
		}
		for _, self := range chosen.objects {
			if f.known[self] == nil {
				if entered, ok := f.enter(ctx, self); ok {
					updates = append(updates, entered)
				}
			}
		}
	}
	for self := range touched {
		if f.known[self] == nil {
			continue
		}
		if changed, ok := f.modified(ctx, self); ok {
			updates = append(updates, changed)
		}
	}
	return updates, nil
}

func (f *filter) enter(ctx *simulator.Context, self ref) (types.ObjectUpdate, bool) {
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindEnter, Obj: self}
	now, paths, ok := f.query.values(ctx, self)
	if !ok || paths == nil {
		return update, false
	}
	known := &member{paths: paths, sums: make([]uint64, len(now))}
	for i, v := range now {
		known.sums[i] = v.sum()
		if v.lacks != "" {
			update.MissingSet = append(update.MissingSet, v.missing(self))
		} else if v.val != nil {
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{
				Name: v.name, Op: types.PropertyChangeOpAssign, Val: v.val,
			})
		}
	}
	f.known[self] = known
	return update, true
}

func (f *filter) modified(ctx *simulator.Context, self ref) (types.ObjectUpdate, bool) {
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: self}
	now, _, ok := f.query.values(ctx, self)
	if !ok {
		delete(f.known, self)
		update.Kind = types.ObjectUpdateKindLeave
		return update, true
	}
	known := f.known[self]
	for i, v := range now {
		if v.name == "recentTask" && self.Type != "TaskManager" {
			continue // "servers might not generate update notifications for this property": those of today do not
		}
		sum := v.sum()
		if sum == known.sums[i] {
			continue
		}
		if v.lacks != "" {
			known.sums[i] = sum
			update.MissingSet = append(update.MissingSet, v.missing(self))
			continue
		}
		change := types.PropertyChange{Name: v.name, Op: types.PropertyChangeOpAssign, Val: v.val}
		if keyed := known.paths[i].steps[len(known.paths[i].steps)-1].key != nil; keyed {
			switch {
			case v.val == nil:
				change.Op = types.PropertyChangeOpRemove
			case known.sums[i] == 0:
				change.Op = types.PropertyChangeOpAdd
			}
		}
		known.sums[i] = sum
		update.ChangeSet = append(update.ChangeSet, change)
	}
	return update, len(update.ChangeSet)+len(update.MissingSet) > 0
}

// everything is what the client knows.
func (f *filter) everything() map[ref]bool {
	all := map[ref]bool{}
	for self := range f.known {
		all[self] = true
	}
	return all
}

// fingerprint tells values apart; 0 stands for unset.
func fingerprint(val any) uint64 {
	if val == nil {
		return 0
	}
	sum := fnv.New64a()
	switch v := val.(type) {
	case string:
		_, _ = sum.Write([]byte(v))
	case ref:
		_, _ = sum.Write([]byte(v.Type + ":" + v.Value))
	case bool, int32, int64, int16, int8, float32, float64:
		fmt.Fprint(sum, v)
	default:
		if err := xml.NewEncoder(sum).Encode(val); err != nil {
			fmt.Fprintf(sum, "%#v", val)
		}
	}
	return sum.Sum64() | 1
}

// DestroyPropertyFilter ends the filter.
func (f *filter) DestroyPropertyFilter(ctx *simulator.Context, req *types.DestroyPropertyFilter) soap.HasFault {
	f.owner.removeFilter(f)
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyFilterBody{Res: new(types.DestroyPropertyFilterResponse)}
}

// Lock and Unlock keep the simulator from holding a lock of its own while a call runs.
func (f *filter) Lock()   {}
func (f *filter) Unlock() {}
