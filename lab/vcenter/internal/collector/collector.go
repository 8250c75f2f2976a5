package collector

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	pageSize = 100                   // objects in one answer, as in vCenter, unless told otherwise
	settle   = 10 * time.Millisecond // for changes that come together to be answered together
)

// Collector is one PropertyCollector of a session.
type Collector struct {
	*simulator.PropertyCollector // for Fetch, whose types are the simulator's own

	hub   *Hub
	wake  chan struct{}
	pages pages

	mu      sync.Mutex // of all below; never held while waiting
	filters []*filter
	touched map[ref]bool
	anew    bool                    // everything has to be looked at again
	cancel  context.CancelCauseFunc // of the wait under way

	turn    sync.Mutex // one wait at a time
	version int        // of the last answer; 0 before the first
	last    *types.UpdateSet
	rest    []types.PropertyFilterUpdate // of an answer that was cut
}

// New makes a collector; self may be the reference of the session's own one.
func New(hub *Hub, self ref) *Collector {
	c := &Collector{PropertyCollector: new(simulator.PropertyCollector), hub: hub, wake: make(chan struct{}, 1), touched: map[ref]bool{}}
	c.Self = self
	hub.attach(c)
	return c
}

// Lock and Unlock keep the simulator from holding a lock of its own while a call runs.
func (c *Collector) Lock()   {}
func (c *Collector) Unlock() {}

func (c *Collector) touch(objects []ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.filters) == 0 {
		return
	}
	for _, self := range objects {
		c.touched[self] = true
	}
	c.awake()
}

// reconsider has the collector look at all that its client knows.
func (c *Collector) reconsider() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.filters) > 0 {
		c.anew = true
		c.awake()
	}
}

func (c *Collector) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// CreatePropertyCollector makes another collector for the session.
func (c *Collector) CreatePropertyCollector(ctx *simulator.Context, _ *types.CreatePropertyCollector) soap.HasFault {
	made := ctx.Session.Put(New(c.hub, ref{Type: "PropertyCollector"})).Reference()
	return &methods.CreatePropertyCollectorBody{Res: &types.CreatePropertyCollectorResponse{Returnval: made}}
}

// CreateFilter adds a filter; a wait under way hears of it.
func (c *Collector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	body := new(methods.CreateFilterBody)
	query, fault := newQuery(c.hub, req.Spec)
	if fault == nil {
		_, fault = query.selects(ctx, true)
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	made := &filter{owner: c, query: query, known: map[ref]*member{}, stale: true}
	made.Self.Type, made.Spec, made.PartialUpdates = "PropertyFilter", req.Spec, req.PartialUpdates
	self := ctx.Session.Put(made).Reference()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filters = append(c.filters, made)
	c.Filter = append(slices.Clone(c.Filter), self)
	c.awake()
	body.Res = &types.CreateFilterResponse{Returnval: self}
	return body
}

func (c *Collector) removeFilter(f *filter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filters = slices.DeleteFunc(slices.Clone(c.filters), func(other *filter) bool { return other == f })
	c.Filter = slices.DeleteFunc(slices.Clone(c.Filter), func(other ref) bool { return other == f.Self })
}

// DestroyPropertyCollector ends the collector with its filters.
func (c *Collector) DestroyPropertyCollector(ctx *simulator.Context, req *types.DestroyPropertyCollector) soap.HasFault {
	c.mu.Lock()
	filters := c.filters
	c.filters = nil
	c.mu.Unlock()
	for _, f := range filters {
		ctx.Session.Remove(ctx, f.Self)
	}
	c.Abandon()
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyCollectorBody{Res: new(types.DestroyPropertyCollectorResponse)}
}

// Abandon is what the end of a session does to a collector: whoever waits gets no further.
func (c *Collector) Abandon() {
	c.hub.detach(c)
	c.stop(errAbandoned)
}

// CancelWaitForUpdates makes the wait under way fail with RequestCanceled.
func (c *Collector) CancelWaitForUpdates(*types.CancelWaitForUpdates) soap.HasFault {
	c.stop(errCanceled)
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

func (c *Collector) stop(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel(why)
	}
}

// begin takes the turn; a wait that its client seems to have given up is ended.
func (c *Collector) begin(ctx *simulator.Context) (wait context.Context, end func()) {
	wait, cancel := context.WithCancelCause(ctx.Context)
	c.stop(errCanceled)
	c.turn.Lock()
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	return wait, func() {
		c.mu.Lock()
		c.cancel = nil
		c.mu.Unlock()
		cancel(nil)
		c.turn.Unlock()
	}
}

// WaitForUpdatesEx answers what has changed since the version given.
func (c *Collector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	set, fault := c.wait(ctx, req.Version, req.Options)
	if fault != nil {
		return &methods.WaitForUpdatesExBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{Returnval: set}}
}

// CheckForUpdates is WaitForUpdatesEx without waiting.
func (c *Collector) CheckForUpdates(ctx *simulator.Context, req *types.CheckForUpdates) soap.HasFault {
	set, fault := c.wait(ctx, req.Version, &types.WaitOptions{MaxWaitSeconds: new(int32)})
	if fault != nil {
		return &methods.CheckForUpdatesBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.CheckForUpdatesBody{Res: &types.CheckForUpdatesResponse{Returnval: set}}
}

// WaitForUpdates is the old name.
func (c *Collector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	set, fault := c.wait(ctx, req.Version, nil)
	if fault != nil {
		return &methods.WaitForUpdatesBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.WaitForUpdatesBody{Res: &types.WaitForUpdatesResponse{Returnval: *set}}
}

func (c *Collector) wait(ctx *simulator.Context, version string, options *types.WaitOptions) (*types.UpdateSet, types.BaseMethodFault) {
	most, limit := c.hub.page(), time.Duration(-1)
	if options != nil {
		if options.MaxObjectUpdates > 0 && int(options.MaxObjectUpdates) < most {
			most = int(options.MaxObjectUpdates)
		}
		if options.MaxWaitSeconds != nil {
			limit = time.Duration(*options.MaxWaitSeconds) * time.Second
		}
	}
	waiting, end := c.begin(ctx)
	defer end()

	switch {
	case version == "":
		c.restart()
	case c.last != nil && version == strconv.Itoa(c.version-1) && c.version > 1:
		return c.last, nil // the answer got lost on its way
	case c.version == 0 || version != strconv.Itoa(c.version):
		return nil, new(types.InvalidCollectorVersion)
	}
	if len(c.rest) > 0 {
		return c.answer(c.rest, most), nil
	}

	var timeout <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		updates, fault := c.collect(ctx)
		if fault != nil {
			return nil, fault
		}
		if len(updates) > 0 || version == "" {
			return c.answer(updates, most), nil
		}
		if limit == 0 {
			return nil, nil
		}
		select {
		case <-waiting.Done():
			return nil, faultOf(context.Cause(waiting))
		case <-timeout:
			return nil, nil
		case <-c.wake:
		}
		select {
		case <-waiting.Done():
			return nil, faultOf(context.Cause(waiting))
		case <-time.After(settle):
		}
	}
}

// restart forgets what the client knows.
func (c *Collector) restart() {
	c.rest, c.last = nil, nil
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.touched)
	for _, f := range c.filters {
		f.known, f.stale = map[ref]*member{}, true
	}
}

// collect looks at what was touched since the last time.
func (c *Collector) collect(ctx *simulator.Context) ([]types.PropertyFilterUpdate, types.BaseMethodFault) {
	c.mu.Lock()
	touched, anew, filters := c.touched, c.anew, slices.Clone(c.filters)
	c.touched, c.anew = map[ref]bool{}, false
	c.mu.Unlock()
	var out []types.PropertyFilterUpdate
	for _, f := range filters {
		look := touched
		if anew {
			f.stale, look = true, f.everything()
		}
		updates, fault := f.update(ctx, look)
		if fault != nil {
			c.touch(keys(touched))
			return nil, fault
		}
		if len(updates) > 0 {
			out = append(out, types.PropertyFilterUpdate{Filter: f.Self, ObjectSet: updates})
		}
	}
	return out, nil
}

// answer gives the updates a version, and keeps back what is too much for one answer.
func (c *Collector) answer(updates []types.PropertyFilterUpdate, most int) *types.UpdateSet {
	c.version++
	set := &types.UpdateSet{Version: strconv.Itoa(c.version)}
	c.rest = nil
	for i, update := range updates {
		if len(update.ObjectSet) > most {
			later := update
			later.ObjectSet = update.ObjectSet[most:]
			update.ObjectSet = update.ObjectSet[:most]
			c.rest = append([]types.PropertyFilterUpdate{later}, updates[i+1:]...)
		}
		most -= len(update.ObjectSet)
		set.FilterSet = append(set.FilterSet, update)
		if most == 0 && len(c.rest) == 0 {
			c.rest = updates[i+1:]
		}
		if len(c.rest) > 0 || most == 0 {
			break
		}
	}
	if len(c.rest) > 0 {
		set.Truncated = types.NewBool(true)
	}
	c.last = set
	return set
}
