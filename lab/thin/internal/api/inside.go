package api

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What the cluster's own parts do, past all checks of who asks.

// Get answers a stored object, nil when there is none. It must not be changed.
func (s *Server) Get(id, namespace, name string) *Object { return s.Store.get(id, namespace, name) }

// List answers the stored objects of a resource, such as "apps/daemonsets" or "/nodes".
func (s *Server) List(id string) []*Object { return s.Store.list(id, "") }

// Put makes an object or replaces its contents; uid, times and generation are kept.
func (s *Server) Put(document map[string]any) (*Object, error) {
	object := &Object{Object: document}
	r := resourceOf(object.GroupVersionKind())
	q := &request{resource: r, namespace: object.GetNamespace(), name: object.GetName()}
	q.Request = newRequest(context.Background(), http.MethodPut, "/", nil)
	return s.write(q, func(old *Object) (*Object, error) {
		fresh := object.DeepCopy()
		if old != nil {
			fresh.SetResourceVersion("")
			fresh.SetManagedFields(old.GetManagedFields())
		}
		return fresh, nil
	})
}

// Change changes a stored object, status included; nothing happens when it is not there.
func (s *Server) Change(id, namespace, name string, change func(document map[string]any)) {
	_, _ = s.Store.update(id, namespace, name, func(old *Object) (*Object, error) {
		if old == nil {
			return nil, nil
		}
		fresh := old.DeepCopy()
		change(fresh.Object)
		if reflect.DeepEqual(old.Object, fresh.Object) {
			return old, nil
		}
		return fresh, nil
	})
}

// Drop removes an object whatever holds it.
func (s *Server) Drop(id, namespace, name string) {
	_, _ = s.Store.update(id, namespace, name, func(*Object) (*Object, error) { return nil, nil })
}

// News are the ids of resources that changed after a version, and the version to go on from.
func (s *Server) News(from uint64) (changed map[string]bool, to uint64, next <-chan struct{}) {
	changes, known, next := s.Store.since(from)
	if !known {
		return map[string]bool{"": true}, s.Store.Version(), next
	}
	changed = map[string]bool{}
	for _, c := range changes {
		changed[c.resource], from = true, c.version
	}
	return changed, from, next
}

// Ask sends a request through the whole server without a connection.
func (s *Server) Ask(token, method, path string, body []byte) (code int, answer []byte) {
	r := newRequest(context.Background(), method, path, body)
	r.Header.Set("Authorization", "Bearer "+token)
	w := &recorder{header: http.Header{}, code: http.StatusOK}
	s.ServeHTTP(w, r)
	return w.code, w.body.Bytes()
}

func newRequest(ctx context.Context, method, path string, body []byte) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		panic(err) // method and path are constants of this program
	}
	return r
}

func resourceOf(kind schema.GroupVersionKind) *Resource {
	for _, r := range builtin {
		if r.kind() == kind {
			return r
		}
	}
	panic("no resource holds " + kind.String())
}

type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// Add stores a new object; false when one of that name is there already. The document is the server's from now
// on, but what lies deeper than metadata may be shared with other objects.
func (s *Server) Add(document map[string]any) bool {
	object := &Object{Object: document}
	q := &request{resource: resourceOf(object.GroupVersionKind()), namespace: object.GetNamespace(), name: object.GetName()}
	added := false
	_, err := s.Store.update(q.resource.id(), q.namespace, q.name, func(old *Object) (*Object, error) {
		if old != nil {
			return old, nil
		}
		added = true
		return s.finishNew(q, object)
	})
	return added && err == nil
}

// SetStatus replaces an object's status and nothing else.
func (s *Server) SetStatus(id, namespace, name string, status map[string]any) {
	_, _ = s.Store.update(id, namespace, name, func(old *Object) (*Object, error) {
		if old == nil || reflect.DeepEqual(old.Object["status"], status) {
			return old, nil
		}
		// Stored objects are never changed, so that the new one may share the old one's parts.
		fresh := &Object{Object: maps.Clone(old.Object)}
		fresh.Object["metadata"] = maps.Clone(old.Object["metadata"].(map[string]any))
		fresh.Object["status"] = status
		return fresh, nil
	})
}
