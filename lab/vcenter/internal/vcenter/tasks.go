package vcenter

import (
	"context"
	"fmt"
	"log"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// tasks runs the tasks of redirected methods. Unlike the simulator's runner it holds no lock on the
// entity meanwhile, so that an operation which takes long does not stop every reader.
type tasks struct {
	server *Server
	mu     sync.Mutex
	life   context.Context // of the tasks running now; a restart ends it
	end    context.CancelFunc
	known  map[ref]bool
	alone  sync.Mutex // of inner
	slots  slots
}

func newTasks(s *Server) *tasks {
	t := &tasks{server: s, known: map[ref]bool{}}
	t.slots.used, t.slots.freed = map[ref]int{}, make(chan struct{})
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// operation is what a task does. It works with a context of its own.
type operation func(ctx *simulator.Context, task *running) (types.AnyType, *refusal)

// running is a task under way.
type running struct {
	*simulator.Task
	life context.Context
	lost func() bool // true once the task was forgotten by a restart
}

// start makes a task for method (such as "CloneVM_Task") on entity and runs it.
func (t *tasks) start(ctx *simulator.Context, entity mo.Entity, method string, run operation) ref {
	own := t.server.onBehalf(ctx)
	var late *refusal
	if c := callOf(ctx); c != nil && c.fault != nil && c.fault.Late {
		if fault, err := newFault(c.fault.Fault); err == nil {
			late = refuseText(fault, c.fault.text())
		}
	}

	task := t.server.newTask(entity, method, ctx.Session)
	t.mu.Lock()
	life := t.life
	t.known[task.Self] = true
	t.mu.Unlock()
	t.server.registry.Put(task)

	go func() {
		var result types.AnyType
		refused := late
		under := &running{Task: task, life: life, lost: func() bool { return life.Err() != nil }}
		if !slices.Contains(paced, method) {
			under.pause(t.server.limits.duration(method, 0))
		}
		if refused == nil && !under.lost() {
			result, refused = guarded(run, own, under)
		}
		t.finish(own, task, life, result, refused)
	}()
	return task.Self
}

// guarded turns a panic in the simulator (it has some for odd input) into a failed task.
func guarded(run operation, ctx *simulator.Context, task *running) (result types.AnyType, refused *refusal) {
	defer func() {
		if p := recover(); p != nil {
			log.Printf("%s panicked: %v\n%s", task.Info.Name, p, debug.Stack())
			result, refused = nil, systemError(fmt.Errorf("%v", p))
		}
	}()
	return run(ctx, task)
}

func (t *tasks) finish(ctx *simulator.Context, task *simulator.Task, life context.Context, result types.AnyType, refused *refusal) {
	if life.Err() != nil {
		return // the vCenter restarted: nobody will hear of it
	}
	changes := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
	if refused != nil {
		changes = append(changes,
			types.PropertyChange{Name: "info.error", Val: &types.LocalizedMethodFault{Fault: refused.fault, LocalizedMessage: refused.text}},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
	} else {
		changes = append(changes,
			types.PropertyChange{Name: "info.result", Val: result},
			types.PropertyChange{Name: "info.progress", Val: int32(100)},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
	}
	t.server.registry.AtomicUpdate(ctx, task, changes)
	t.trimRecent(*task.Info.Entity)
}

// current is the life of tasks that start now.
func (t *tasks) current() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.life
}

// forgetAll is what a restart does to tasks.
func (t *tasks) forgetAll() {
	t.mu.Lock()
	t.end()
	t.life, t.end = context.WithCancel(context.Background())
	known := t.known
	t.known = map[ref]bool{}
	t.mu.Unlock()
	ctx := t.server.internal()
	for task := range known {
		t.server.registry.Remove(ctx, task)
	}
}

// inner runs a task of the simulator's own, which no client sees: its result is that of a task of ours.
// One at a time, because the simulator reads datastores and folders without their locks.
func (t *tasks) inner(ctx *simulator.Context, entity mo.Reference, start func() soap.HasFault) (types.AnyType, *refusal) {
	t.alone.Lock()
	defer t.alone.Unlock()
	var body soap.HasFault
	ctx.WithLock(entity, func() { body = start() })
	if fault := body.Fault(); fault != nil {
		return nil, refuseText(fault.VimFault().(types.BaseMethodFault), fault.String)
	}
	answer := reflect.ValueOf(body).Elem().FieldByName("Res").Elem().FieldByName("Returnval")
	task := t.server.registry.Get(answer.Interface().(ref)).(*simulator.Task)
	outsider := t.server.internal()
	for done := false; !done; {
		outsider.WithLock(task, func() {
			done = task.Info.State == types.TaskInfoStateSuccess || task.Info.State == types.TaskInfoStateError
		})
		if !done {
			time.Sleep(200 * time.Microsecond)
		}
	}
	// Files are removed by yet another task, which nobody waits for.
	outsider.WithLock(t.server.registry.FileManager(), func() {})
	task.Execute = nil // the history of tasks would keep all it refers to
	t.forget(ctx, task)
	if fault := task.Info.Error; fault != nil {
		return nil, refuse(fault.Fault)
	}
	return task.Info.Result, nil
}

// forget removes a task of the simulator's own that no client has asked for.
func (t *tasks) forget(ctx *simulator.Context, task *simulator.Task) {
	without := func(recent []ref) []types.PropertyChange {
		kept := slices.DeleteFunc(slices.Clone(recent), func(r ref) bool { return r == task.Self })
		return []types.PropertyChange{{Name: "recentTask", Val: kept}}
	}
	registry := t.server.registry
	registry.Remove(ctx, task.Self)
	manager := registry.Get(*t.server.content.TaskManager).(*simulator.TaskManager)
	manager.Lock()
	registry.Update(ctx, manager, without(manager.RecentTask))
	manager.Unlock()
	if entity, ok := registry.Get(*task.Info.Entity).(mo.Entity); ok {
		ctx.WithLock(entity, func() { registry.Update(ctx, entity, without(entity.Entity().RecentTask)) })
	}
}

// pause takes the configured time of a task; false when a restart ended it.
func (r *running) pause(d time.Duration) bool {
	if d <= 0 {
		return !r.lost()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.life.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (s *Server) newTask(entity mo.Entity, method string, session *simulator.Session) *simulator.Task {
	object := entity.Entity()
	task := new(simulator.Task)
	task.Self = s.newReference("Task")
	now := time.Now()
	who := ""
	if session != nil {
		who = session.UserName
	}
	verb := strings.TrimSuffix(method, "_Task")
	verb = strings.ToLower(verb[:1]) + verb[1:]
	if object.Self.Type == "VirtualMachine" {
		verb = strings.TrimSuffix(verb, "VM")
	}
	task.Info = types.TaskInfo{
		Key:           task.Self.Value,
		Task:          task.Self,
		Name:          method,
		DescriptionId: object.Self.Type + "." + verb,
		Entity:        &object.Self,
		EntityName:    object.Name,
		State:         types.TaskInfoStateRunning,
		Reason:        &types.TaskReasonUser{UserName: who},
		QueueTime:     now,
		StartTime:     &now,
		EventChainId:  s.events.next(),
	}
	return task
}

// newReference takes a moref from the simulator's one counter.
func (s *Server) newReference(kind string) ref {
	return s.registry.NewEntity(&mo.Folder{ManagedEntity: mo.ManagedEntity{
		ExtensibleManagedObject: mo.ExtensibleManagedObject{Self: ref{Type: kind}},
	}}).Reference()
}
