package api

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

func (s *Server) patch(q *request) (any, int, error) {
	kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	if err != nil {
		return nil, 0, apierrors.NewBadRequest(err.Error())
	}
	if types.PatchType(kind) == types.ApplyYAMLPatchType {
		return s.apply(q)
	}
	raw, err := body(q)
	if err != nil {
		return nil, 0, err
	}
	var change func([]byte) ([]byte, error)
	switch types.PatchType(kind) {
	case types.MergePatchType:
		change = func(old []byte) ([]byte, error) { return jsonpatch.MergePatch(old, raw) }
	case types.JSONPatchType:
		change = func(old []byte) ([]byte, error) {
			steps, err := jsonpatch.DecodePatch(raw)
			if err != nil {
				return nil, err
			}
			return steps.Apply(old)
		}
	case types.StrategicMergePatchType:
		like, err := scheme.Scheme.New(q.resource.kind())
		if err == nil && !q.resource.Custom {
			change = func(old []byte) ([]byte, error) { return strategicpatch.StrategicMergePatch(old, raw, like) }
		}
	}
	if change == nil {
		return nil, 0, unsupported(kind)
	}
	done, err := s.write(q, func(old *Object) (*Object, error) {
		if old == nil {
			return nil, apierrors.NewNotFound(q.group(), q.name)
		}
		before, err := json.Marshal(old.Object)
		if err != nil {
			return nil, err
		}
		after, err := change(before)
		if err != nil {
			return nil, apierrors.NewBadRequest("the patch cannot be applied: " + err.Error())
		}
		fresh := &Object{}
		if err := utiljson.Unmarshal(after, &fresh.Object); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if err := q.fits(fresh); err != nil {
			return nil, err
		}
		return s.own(q, old, fresh)
	})
	return done, http.StatusOK, err
}

func unsupported(kind string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: %s, %s, %s, %s; got %s",
			types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType, kind),
	}}
}

// own notes who changed which fields, if anything of the object was ever applied.
func (s *Server) own(q *request, old, fresh *Object) (*Object, error) {
	if len(old.GetManagedFields()) == 0 {
		return fresh, nil
	}
	manager, err := managerOf(q.resource, q.subresource)
	if err != nil {
		return nil, err
	}
	name := q.URL.Query().Get("fieldManager")
	if name == "" {
		name = "unknown"
	}
	done, err := manager.Update(old, fresh, name)
	if err != nil {
		return nil, err
	}
	return done.(*Object), nil
}

// apply is server-side apply.
func (s *Server) apply(q *request) (any, int, error) {
	object, err := decode(q)
	if err != nil {
		return nil, 0, err
	}
	name := q.URL.Query().Get("fieldManager")
	if name == "" {
		return nil, 0, apierrors.NewBadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
	}
	if object.GetManagedFields() != nil {
		return nil, 0, apierrors.NewBadRequest("metadata.managedFields must be nil")
	}
	force := q.URL.Query().Get("force") == "true"
	manager, err := managerOf(q.resource, q.subresource)
	if err != nil {
		return nil, 0, err
	}
	code := http.StatusOK
	done, err := s.write(q, func(old *Object) (*Object, error) {
		code = http.StatusOK
		live := old
		if old == nil {
			if q.subresource != "" {
				return nil, apierrors.NewNotFound(q.group(), q.name)
			}
			code = http.StatusCreated
			live = &Object{Object: map[string]any{}}
			live.SetGroupVersionKind(q.resource.kind())
			live.SetName(q.name)
			live.SetNamespace(q.namespace)
		} else if given := object.GetUID(); given != "" && given != old.GetUID() {
			return nil, apierrors.NewConflict(q.group(), q.name, fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", given))
		}
		merged, err := manager.Apply(live, object.DeepCopy(), name, force)
		if err != nil {
			return nil, err
		}
		fresh := merged.(*Object)
		if err := q.fits(fresh); err != nil {
			return nil, err
		}
		return sameTimes(live, fresh), nil
	})
	return done, code, err
}

// sameTimes keeps the old list of owners when only its times differ: nothing was changed then.
func sameTimes(old, fresh *Object) *Object {
	a, b := old.GetManagedFields(), fresh.GetManagedFields()
	if len(a) != len(b) {
		return fresh
	}
	for i := range a {
		x, y := a[i].DeepCopy(), b[i].DeepCopy()
		x.Time, y.Time = nil, nil
		if x.String() != y.String() {
			return fresh
		}
	}
	fresh.SetManagedFields(a)
	return fresh
}

type managerKey struct {
	kind        schema.GroupVersionKind
	subresource string
	custom      bool
}

var (
	managersMu sync.Mutex
	managers   = map[managerKey]*managedfields.FieldManager{}
	schemas    = sync.OnceValue(func() managedfields.TypeConverter {
		return applyconfigurations.NewTypeConverter(scheme.Scheme)
	})
)

// managerOf is Kubernetes' own field manager for a kind; all clusters share it.
func managerOf(r *Resource, subresource string) (*managedfields.FieldManager, error) {
	managersMu.Lock()
	defer managersMu.Unlock()
	at := managerKey{r.kind(), subresource, r.Custom}
	if known := managers[at]; known != nil {
		return known, nil
	}
	converter := managedfields.NewDeducedTypeConverter()
	if !r.Custom && scheme.Scheme.Recognizes(r.kind()) {
		converter = schemas()
	}
	made, err := managedfields.NewDefaultFieldManager(converter, asIs{}, asIs{}, asIs{}, r.kind(), r.GroupVersion(), subresource, nil)
	if err == nil {
		managers[at] = made
	}
	return made, err
}

// asIs stands for conversion and defaults: each kind has one version here, and no defaults.
type asIs struct{}

func (asIs) Default(runtime.Object) {}

func (asIs) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &Object{}
	object.SetGroupVersionKind(kind)
	return object, nil
}

func (asIs) Convert(any, any, any) error { return fmt.Errorf("each kind has one version") }

func (asIs) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (asIs) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
