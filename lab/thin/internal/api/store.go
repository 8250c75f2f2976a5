package api

import (
	"sort"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// Object is stored as decoded JSON. What the store handed out is never changed: writers copy.
type Object = unstructured.Unstructured

const historyLength = 1024

type key struct{ namespace, name string }

type change struct {
	version  uint64
	kind     watch.EventType
	resource string
	object   *Object // after the change; of a deletion the last state, with the deletion's version
	before   *Object
}

// Store holds the objects of one cluster: what its etcd would.
type Store struct {
	mu      sync.Mutex
	objects map[string]map[key]*Object // by "group/plural"
	version uint64
	history []change
	dropped uint64 // version of the newest change that the history has forgotten
	news    chan struct{}
}

// NewStore is an empty etcd.
func NewStore() *Store {
	return &Store{objects: map[string]map[key]*Object{}, news: make(chan struct{})}
}

// Changed is closed by the next write.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// Version is that of the newest write.
func (s *Store) Version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

func (s *Store) get(resource, namespace, name string) *Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[resource][key{namespace, name}]
}

// list is sorted by namespace and name; an empty namespace means all.
func (s *Store) list(resource, namespace string) []*Object {
	all, _ := s.snapshot(resource, namespace)
	return all
}

func (s *Store) snapshot(resource, namespace string) ([]*Object, uint64) {
	s.mu.Lock()
	var all []*Object
	for at, object := range s.objects[resource] {
		if namespace == "" || at.namespace == namespace {
			all = append(all, object)
		}
	}
	version := s.version
	s.mu.Unlock()
	sort.Slice(all, func(i, j int) bool {
		if a, b := all[i].GetNamespace(), all[j].GetNamespace(); a != b {
			return a < b
		}
		return all[i].GetName() < all[j].GetName()
	})
	return all, version
}

// update replaces an object in one step. The function gets the present object (nil: none) and answers the
// new one (nil: delete). The same object or an error changes nothing.
func (s *Store) update(resource, namespace, name string, next func(*Object) (*Object, error)) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := key{namespace, name}
	old := s.objects[resource][at]
	fresh, err := next(old)
	if err != nil || fresh == old {
		return old, err
	}
	s.version++
	event := change{version: s.version, resource: resource, before: old}
	switch {
	case fresh == nil:
		delete(s.objects[resource], at)
		event.kind, event.object = watch.Deleted, withVersion(old.DeepCopy(), s.version)
		fresh = event.object
	default:
		event.kind = watch.Modified
		if old == nil {
			event.kind = watch.Added
		}
		if s.objects[resource] == nil {
			s.objects[resource] = map[key]*Object{}
		}
		s.objects[resource][at] = withVersion(fresh, s.version)
		event.object = fresh
	}
	s.history = append(s.history, event)
	if len(s.history) > 2*historyLength {
		s.dropped = s.history[historyLength-1].version
		s.history = append([]change(nil), s.history[historyLength:]...)
	}
	close(s.news)
	s.news = make(chan struct{})
	return fresh, nil
}

func withVersion(object *Object, version uint64) *Object {
	object.SetResourceVersion(strconv.FormatUint(version, 10))
	return object
}

// since answers the changes after a version, false when some of them are forgotten, and what the next write closes.
func (s *Store) since(version uint64) (changes []change, known bool, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version < s.dropped {
		return nil, false, s.news
	}
	at := sort.Search(len(s.history), func(i int) bool { return s.history[i].version > version })
	return append([]change(nil), s.history[at:]...), true, s.news
}
