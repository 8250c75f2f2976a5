package vcenter

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Limits are what tests may change while the vCenter runs.
type Limits struct {
	TaskSeconds       map[string]float64 `json:"taskSeconds"`       // least time by method, "*" for all others
	SecondsPerGiB     float64            `json:"secondsPerGib"`     // of a full clone, added
	TasksPerHost      int                `json:"tasksPerHost"`      // clones and power operations; 0: any number
	TasksPerDatastore int                `json:"tasksPerDatastore"` // clones; 0: any number
	Sessions          int                `json:"sessions"`          // open at a time, over SOAP and over REST each; 0: any number
	SessionIdle       float64            `json:"sessionIdleSeconds"`
	UpdatesPerAnswer  int                `json:"updatesPerAnswer"` // objects in one answer to a wait; the rest is said to be truncated
	GuestinfoValue    int                `json:"guestinfoValueKib"`
	GuestinfoTotal    int                `json:"guestinfoTotalKib"`
	LeaseSeconds      float64            `json:"leaseSeconds"`    // of an NFC lease without progress
	LeaseHost         string             `json:"leaseHost"`       // that leases name: "*" for the vCenter itself, else a port for hosts
	LeaseThumbprint   string             `json:"leaseThumbprint"` // that they name in place of the true one; "none": none
}

type limits struct {
	mu sync.Mutex
	Limits
}

func newLimits(options Options) *limits {
	l := &limits{Limits: Limits{
		TaskSeconds: map[string]float64{}, Sessions: options.SessionLimit, SessionIdle: options.SessionIdle.Seconds(),
		GuestinfoValue: 64, GuestinfoTotal: 512, LeaseSeconds: 300,
	}}
	for _, method := range []string{"CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task"} {
		l.TaskSeconds[method] = options.TaskTime.Seconds()
	}
	return l
}

func (l *limits) get() Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.Limits
	out.TaskSeconds = map[string]float64{}
	for method, seconds := range l.TaskSeconds {
		out.TaskSeconds[method] = seconds
	}
	return out
}

// Limits gives those in force.
func (s *Server) Limits() Limits { return s.limits.get() }

// SetLimits changes those that the JSON text names.
func (s *Server) SetLimits(text io.Reader) error {
	wanted := s.limits.get()
	decoder := json.NewDecoder(text)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	s.limits.mu.Lock()
	s.limits.Limits = wanted
	s.limits.mu.Unlock()
	s.hub.SetPage(wanted.UpdatesPerAnswer)
	s.tasks.freedOne() // who waits looks again
	return nil
}

// duration is how long a task of a method takes at least.
func (l *limits) duration(method string, full int64) time.Duration {
	now := l.get()
	seconds, said := now.TaskSeconds[method]
	if !said && method != "" {
		seconds = now.TaskSeconds["*"]
	}
	if full > 0 {
		seconds += now.SecondsPerGiB * float64(full) / (1 << 30)
	}
	return time.Duration(seconds * float64(time.Second))
}

// slots are the places of hosts and datastores that tasks occupy.
type slots struct {
	mu    sync.Mutex
	used  map[ref]int
	freed chan struct{}
}

// paced are the methods that take their time themselves, where it belongs in their course.
var paced = []string{"CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "PowerOnMultiVM_Task"}

// spend waits until each place has room, and then for as long as the method takes. Full is the size of what
// is copied. False means that a restart ended the task; leave is to be called when it is over.
func (t *tasks) spend(task *running, method string, full int64, places ...ref) (leave func(), alive bool) {
	leave = t.occupy(task, places)
	if leave == nil {
		return func() {}, false
	}
	if !task.pause(t.server.limits.duration(method, full)) {
		leave()
		return func() {}, false
	}
	return leave, true
}

func (t *tasks) occupy(task *running, places []ref) func() {
	waits := false
	for {
		now := t.server.limits.get()
		room := map[string]int{"HostSystem": now.TasksPerHost, "Datastore": now.TasksPerDatastore}
		t.slots.mu.Lock()
		full := slices.ContainsFunc(places, func(place ref) bool {
			limit := room[place.Type]
			return limit > 0 && t.slots.used[place] >= limit
		})
		if !full {
			for _, place := range places {
				t.slots.used[place]++
			}
		}
		freed := t.slots.freed
		t.slots.mu.Unlock()
		if !full {
			if waits {
				t.setState(task, types.TaskInfoStateRunning)
			}
			return func() { t.vacate(places) }
		}
		if !waits {
			waits = true
			t.setState(task, types.TaskInfoStateQueued)
		}
		select {
		case <-freed:
		case <-task.life.Done():
			return nil
		}
	}
}

func (t *tasks) vacate(places []ref) {
	t.slots.mu.Lock()
	for _, place := range places {
		if t.slots.used[place]--; t.slots.used[place] == 0 {
			delete(t.slots.used, place)
		}
	}
	t.slots.mu.Unlock()
	t.freedOne()
}

func (t *tasks) freedOne() {
	t.slots.mu.Lock()
	defer t.slots.mu.Unlock()
	close(t.slots.freed)
	t.slots.freed = make(chan struct{})
}

func (t *tasks) setState(task *running, state types.TaskInfoState) {
	if task.Info.Name == "" {
		return // nobody sees it
	}
	t.server.registry.AtomicUpdate(t.server.internal(), task.Task, []types.PropertyChange{{Name: "info.state", Val: state}})
}

const (
	recentKept = 10
	recentTime = 10 * time.Minute
)

// trimRecent leaves an entity its running tasks and the last few that ended, as a vCenter does.
func (t *tasks) trimRecent(self ref) {
	entity, ok := t.server.registry.Get(self).(mo.Entity)
	if !ok {
		return
	}
	ctx := t.server.internal()
	ctx.WithLock(entity, func() {
		all := entity.Entity().RecentTask
		ended := 0
		var kept []ref
		for _, one := range slices.Backward(all) {
			task, ok := t.server.registry.Get(one).(*simulator.Task)
			if !ok {
				continue
			}
			if over := task.Info.CompleteTime; over != nil {
				if ended++; ended > recentKept || time.Since(*over) > recentTime {
					continue
				}
			}
			kept = append(kept, one)
		}
		slices.Reverse(kept)
		entity.Entity().RecentTask = kept
	})
}

// checkGuestinfo refuses options that hold more than a machine takes.
func (l *limits) checkGuestinfo(options []types.BaseOptionValue) *refusal {
	now := l.get()
	total := 0
	for _, o := range options {
		option := o.GetOptionValue()
		if !strings.HasPrefix(option.Key, guestinfoPrefix) {
			continue
		}
		size := len(optionText(option))
		total += size
		if now.GuestinfoValue > 0 && size > now.GuestinfoValue<<10 {
			return refuseText(&types.InvalidArgument{InvalidProperty: "config.extraConfig"}, fmt.Sprintf(
				"A specified parameter was not correct: config.extraConfig (%s has %d bytes, more than %d KiB)", option.Key, size, now.GuestinfoValue))
		}
	}
	if now.GuestinfoTotal > 0 && total > now.GuestinfoTotal<<10 {
		return refuseText(&types.InvalidArgument{InvalidProperty: "config.extraConfig"}, fmt.Sprintf(
			"A specified parameter was not correct: config.extraConfig (guestinfo has %d bytes in all, more than %d KiB)", total, now.GuestinfoTotal))
	}
	return nil
}

// full is true when no further session is given.
func (s *sessions) full(rest bool) bool {
	limit := s.server.limits.get().Sessions
	soap, overREST := s.count()
	if rest {
		soap = overREST
	}
	return limit > 0 && soap >= limit
}

// refuses is true for a call that would need a further session: vCenter keeps one for each client without,
// and so refuses the very first call already.
func (s *sessions) refuses(method, key string) bool {
	switch method {
	case "Login":
	case "RetrieveServiceContent":
		if _, open := s.user(key); open {
			return false
		}
	default:
		return false
	}
	return s.full(false)
}

// limitText is what vCenter says of the limit over REST.
func (s *sessions) limitText() string {
	limit := s.server.limits.get().Sessions
	return fmt.Sprintf("User session count is limited to %d. Existing session count is %d.", limit, limit)
}

func (s *sessions) idle() time.Duration {
	return time.Duration(s.server.limits.get().SessionIdle * float64(time.Second))
}
