package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const maxBody = 3 << 20

// protobuf is how objects in Kubernetes' binary form begin; answers are JSON, which every client takes.
var protobuf = []byte("k8s\x00")

func body(q *request) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(q.Body, maxBody+1))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(raw) > maxBody {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	if !bytes.HasPrefix(raw, protobuf) {
		return raw, nil
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return json.Marshal(object)
}

// decode reads an object of the request's kind, JSON or YAML.
func decode(q *request) (*Object, error) {
	raw, err := body(q)
	if err != nil {
		return nil, err
	}
	object := &Object{}
	if raw, err = yaml.YAMLToJSON(raw); err == nil {
		err = utiljson.Unmarshal(raw, &object.Object)
	}
	if err != nil || object.Object == nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v", q.resource.Kind, err))
	}
	if object.GetKind() == "" {
		object.SetGroupVersionKind(q.resource.kind())
	}
	if got := object.GroupVersionKind(); got != q.resource.kind() {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s", got.Kind, got.GroupVersion(), q.resource.Kind))
	}
	return object, q.fits(object)
}

// fits checks that name, namespace and the types of all fields suit the request.
func (q *request) fits(object *Object) error {
	if q.name != "" {
		if object.GetName() == "" {
			object.SetName(q.name)
		}
		if object.GetName() != q.name {
			return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", object.GetName(), q.name))
		}
	}
	if q.resource.Namespaced {
		if object.GetNamespace() == "" {
			object.SetNamespace(q.namespace)
		}
		if object.GetNamespace() != q.namespace {
			return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
		}
	}
	return q.typed(object)
}

// typed refuses what Kubernetes' own types cannot hold; a custom or foreign kind has none here.
func (q *request) typed(object *Object) error {
	if q.resource.Custom {
		return nil
	}
	into, err := scheme.Scheme.New(q.resource.kind())
	if runtime.IsNotRegisteredError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	strict := q.URL.Query().Get("fieldValidation") == metav1.FieldValidationStrict
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, strict); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", q.resource.Kind, q.resource.Version, q.resource.Kind, err))
	}
	return nil
}

func (s *Server) create(q *request) (*Object, error) {
	if q.name != "" {
		return nil, apierrors.NewMethodNotSupported(q.group(), "create")
	}
	object, err := decode(q)
	if err != nil {
		return nil, err
	}
	if object.GetName() == "" && object.GetGenerateName() != "" {
		object.SetName(object.GetGenerateName() + rand.String(5))
	}
	q.name = object.GetName()
	return s.write(q, func(old *Object) (*Object, error) {
		if old != nil {
			return nil, apierrors.NewAlreadyExists(q.group(), q.name)
		}
		return object, nil
	})
}

func (s *Server) replace(q *request) (*Object, error) {
	object, err := decode(q)
	if err != nil {
		return nil, err
	}
	return s.write(q, func(old *Object) (*Object, error) {
		if old == nil {
			return nil, apierrors.NewNotFound(q.group(), q.name)
		}
		return object, nil
	})
}

// write makes the object that the function answers the stored one, with everything a server keeps itself.
func (s *Server) write(q *request, next func(old *Object) (*Object, error)) (*Object, error) {
	if err := s.roomFor(q); err != nil {
		return nil, err
	}
	var dry *Object
	resource, namespace, name := q.key()
	stored, err := s.Store.update(resource, namespace, name, func(old *Object) (*Object, error) {
		var live *Object
		if old != nil {
			live = old.DeepCopy()
		}
		fresh, err := next(live)
		if err != nil {
			return old, err
		}
		if fresh, err = s.finish(q, old, fresh); err != nil {
			return old, err
		}
		if old != nil && reflect.DeepEqual(old.Object, fresh.Object) {
			dry = old
			return old, nil
		}
		if q.URL.Query().Get("dryRun") == metav1.DryRunAll {
			dry = fresh
			return old, nil
		}
		if old != nil && fresh.GetDeletionTimestamp() != nil && len(fresh.GetFinalizers()) == 0 && q.resource.Resource != "pods" {
			dry = fresh
			return nil, nil // the last finalizer is gone
		}
		return fresh, nil
	})
	if err == nil && dry != nil {
		return dry, nil
	}
	return stored, err
}

// roomFor refuses objects in a namespace that is not there.
func (s *Server) roomFor(q *request) error {
	if q.resource.Namespaced && s.Store.get("/namespaces", "", q.namespace) == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, q.namespace)
	}
	return nil
}

// finish fills in what clients cannot choose, and keeps status and the rest apart.
func (s *Server) finish(q *request, old, fresh *Object) (*Object, error) {
	if old == nil {
		return s.finishNew(q, fresh)
	}
	if given := fresh.GetResourceVersion(); given != "" && given != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(q.group(), q.name, errors.New("the object has been modified; please apply your changes to the latest version and try again"))
	}
	if given := fresh.GetUID(); given != "" && given != old.GetUID() {
		return nil, apierrors.NewConflict(q.group(), q.name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", given, old.GetUID()))
	}
	switch {
	case q.subresource == "status":
		status, managed := fresh.Object["status"], fresh.GetManagedFields()
		fresh = old.DeepCopy()
		fresh.SetManagedFields(managed)
		set(fresh.Object, "status", status)
	case q.resource.HasStatus:
		set(fresh.Object, "status", old.DeepCopy().Object["status"])
	}
	fresh.SetUID(old.GetUID())
	fresh.SetCreationTimestamp(old.GetCreationTimestamp())
	fresh.SetDeletionTimestamp(old.GetDeletionTimestamp())
	fresh.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	fresh.SetGeneration(old.GetGeneration())
	fresh.SetResourceVersion(old.GetResourceVersion())
	if q.subresource == "" && old.GetGeneration() > 0 && !reflect.DeepEqual(old.Object["spec"], fresh.Object["spec"]) {
		fresh.SetGeneration(old.GetGeneration() + 1)
	}
	return fresh, nil
}

func set(document map[string]any, name string, value any) {
	if value == nil {
		delete(document, name)
		return
	}
	document[name] = value
}

func (s *Server) finishNew(q *request, fresh *Object) (*Object, error) {
	if fresh.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	check := validation.NameIsDNSSubdomain
	if q.resource.Group == rbacGroup {
		check = func(name string, _ bool) []string { // colons are usual there
			if name == "" || strings.ContainsAny(name, "/%") {
				return []string{"may not be empty or contain '/' or '%'"}
			}
			return nil
		}
	}
	if faults := check(fresh.GetName(), false); len(faults) > 0 {
		at := field.Invalid(field.NewPath("metadata", "name"), fresh.GetName(), strings.Join(faults, "; "))
		return nil, apierrors.NewInvalid(q.resource.kind().GroupKind(), fresh.GetName(), field.ErrorList{at})
	}
	fresh.SetUID(types.UID(uuid.NewUUID()))
	fresh.SetCreationTimestamp(metav1.NewTime(time.Now().UTC().Truncate(time.Second)))
	if fresh.Object["spec"] != nil {
		fresh.SetGeneration(1)
	}
	switch q.resource.Resource {
	case "namespaces":
		set(fresh.Object, "status", map[string]any{"phase": "Active"})
	case definitions:
		established := func(kind string) any {
			return map[string]any{"type": kind, "status": "True", "reason": "Accepted", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
		}
		set(fresh.Object, "status", map[string]any{"conditions": []any{established("NamesAccepted"), established("Established")}})
	case "pods":
		if dig(fresh.Object, "status", "phase") == nil {
			set(fresh.Object, "status", map[string]any{"phase": "Pending"})
		}
	}
	return fresh, nil
}

func (s *Server) remove(q *request) (any, error) {
	var options metav1.DeleteOptions
	raw, err := body(q)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &options); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if seconds := q.URL.Query().Get("gracePeriodSeconds"); seconds == "0" {
		options.GracePeriodSeconds = new(int64)
	}
	object, err := s.delete(q, &options)
	if err != nil {
		return nil, err
	}
	if object.GetDeletionTimestamp() != nil {
		return object, nil
	}
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: q.name, Group: q.resource.Group, Kind: q.resource.Resource, UID: object.GetUID()},
	}, nil
}

// delete removes an object at once, or marks one that a kubelet or a finalizer must let go.
func (s *Server) delete(q *request, options *metav1.DeleteOptions) (*Object, error) {
	resource, namespace, name := q.key()
	var ending *Object
	object, err := s.Store.update(resource, namespace, name, func(old *Object) (*Object, error) {
		ending = nil
		if old == nil {
			return nil, apierrors.NewNotFound(q.group(), name)
		}
		if p := options.Preconditions; p != nil {
			if p.UID != nil && *p.UID != old.GetUID() {
				return old, apierrors.NewConflict(q.group(), name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", *p.UID, old.GetUID()))
			}
			if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
				return old, apierrors.NewConflict(q.group(), name, fmt.Errorf("Precondition failed: ResourceVersion in precondition: %s, ResourceVersion in object meta: %s", *p.ResourceVersion, old.GetResourceVersion()))
			}
		}
		grace := grace(q.resource, old, options)
		if grace == 0 && len(old.GetFinalizers()) == 0 {
			return nil, nil
		}
		if old.GetDeletionTimestamp() != nil && grace != 0 {
			ending = old
			return old, nil
		}
		fresh := old.DeepCopy()
		// The timestamp holds the grace period already.
		at := metav1.NewTime(time.Now().UTC().Truncate(time.Second).Add(time.Duration(grace) * time.Second))
		fresh.SetDeletionTimestamp(&at)
		fresh.SetDeletionGracePeriodSeconds(&grace)
		ending = fresh
		return fresh, nil
	})
	if err != nil {
		return nil, err
	}
	if ending != nil && q.resource.Resource == "pods" && s.Ending != nil {
		s.Ending(ending)
	}
	if ending == nil && q.resource.Resource == "namespaces" {
		s.emptyNamespace(name)
	}
	return object, nil
}

// grace in seconds: only pods that run on a node have any.
func grace(r *Resource, old *Object, options *metav1.DeleteOptions) int64 {
	if r.Resource != "pods" || r.Group != "" || text(old.Object, "spec", "nodeName") == "" {
		return 0
	}
	if phase := text(old.Object, "status", "phase"); phase == "Succeeded" || phase == "Failed" {
		return 0
	}
	if options.GracePeriodSeconds != nil {
		return *options.GracePeriodSeconds
	}
	switch seconds := dig(old.Object, "spec", "terminationGracePeriodSeconds").(type) {
	case int64:
		return seconds
	case float64:
		return int64(seconds)
	}
	return 30
}

func (s *Server) emptyNamespace(namespace string) {
	for _, r := range s.resources() {
		if !r.Namespaced {
			continue
		}
		for _, object := range s.Store.list(r.id(), namespace) {
			_, _ = s.Store.update(r.id(), namespace, object.GetName(), func(*Object) (*Object, error) { return nil, nil })
		}
	}
}

func (s *Server) removeAll(q *request) (any, error) {
	wanted, err := newSelector(q)
	if err != nil {
		return nil, err
	}
	for _, object := range s.Store.list(q.resource.id(), q.namespace) {
		if !wanted.matches(object) {
			continue
		}
		one := *q
		one.namespace, one.name = object.GetNamespace(), object.GetName()
		if _, err := s.delete(&one, &metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: http.StatusOK}, nil
}
