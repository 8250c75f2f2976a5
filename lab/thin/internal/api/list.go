package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// selectable are the fields that may be selected by, beside name and namespace.
var selectable = map[string][]string{
	"pods":    {"spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName", "status.podIP"},
	"nodes":   {"spec.unschedulable"},
	"secrets": {"type"},
	"events":  {"involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid", "reason", "type"},
}

type selector struct {
	labels labels.Selector
	fields fields.Selector
	names  []string
	space  string
}

func newSelector(q *request) (*selector, error) {
	given := q.URL.Query()
	byLabel, err := labels.Parse(given.Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest("unable to parse requirement: " + err.Error())
	}
	byField, err := fields.ParseSelector(given.Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	names := append([]string{"metadata.name", "metadata.namespace"}, selectable[q.resource.Resource]...)
	for _, asked := range byField.Requirements() {
		known := false
		for _, name := range names {
			known = known || name == asked.Field
		}
		if !known {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", asked.Field))
		}
	}
	return &selector{byLabel, byField, names, q.namespace}, nil
}

func (s *selector) matches(object *Object) bool {
	if object == nil || s.space != "" && object.GetNamespace() != s.space {
		return false
	}
	if !s.labels.Empty() && !s.labels.Matches(labels.Set(object.GetLabels())) {
		return false
	}
	if s.fields.Empty() {
		return true
	}
	values := fields.Set{}
	for _, name := range s.names {
		if found := dig(object.Object, strings.Split(name, ".")...); found != nil {
			values[name] = fmt.Sprint(found)
		} else if name == "spec.unschedulable" {
			values[name] = "false"
		}
	}
	return s.fields.Matches(values)
}

// position is where the next page of a list begins.
type position struct {
	Version   uint64 `json:"rv"`
	Namespace string `json:"ns"`
	Name      string `json:"name"`
}

func (s *Server) list(q *request) (any, error) {
	wanted, err := newSelector(q)
	if err != nil {
		return nil, err
	}
	all, version := s.Store.snapshot(q.resource.id(), q.namespace)
	given := q.URL.Query()
	limit, _ := strconv.Atoi(given.Get("limit"))
	metadata := map[string]any{}
	var after position
	if token := given.Get("continue"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || json.Unmarshal(raw, &after) != nil {
			return nil, apierrors.NewBadRequest("continue key is not valid")
		}
		version = after.Version
	}
	items := []any{}
	for _, object := range all {
		at := position{version, object.GetNamespace(), object.GetName()}
		if after.Name != "" && (at.Namespace < after.Namespace || at.Namespace == after.Namespace && at.Name <= after.Name) {
			continue
		}
		if !wanted.matches(object) {
			continue
		}
		if limit > 0 && len(items) == limit {
			last := items[limit-1].(map[string]any)
			raw, err := json.Marshal(position{version, text(last, "metadata", "namespace"), text(last, "metadata", "name")})
			if err != nil {
				return nil, err
			}
			metadata["continue"] = base64.RawURLEncoding.EncodeToString(raw)
			break
		}
		items = append(items, object.Object)
	}
	metadata["resourceVersion"] = strconv.FormatUint(version, 10)
	return map[string]any{
		"kind": q.resource.Kind + "List", "apiVersion": q.resource.GroupVersion().String(), "metadata": metadata, "items": items,
	}, nil
}

const bookmarkEvery = time.Minute

// watch streams changes until the client leaves or its time is over.
func (s *Server) watch(w http.ResponseWriter, q *request) {
	wanted, err := newSelector(q)
	if err != nil {
		fail(w, err)
		return
	}
	if q.name != "" {
		wanted.fields = fields.AndSelectors(wanted.fields, fields.OneTermEqualSelector("metadata.name", q.name))
	}
	given := q.URL.Query()
	from, err := strconv.ParseUint(orZero(given.Get("resourceVersion")), 10, 64)
	if err != nil {
		fail(w, apierrors.NewBadRequest("invalid resource version: "+given.Get("resourceVersion")))
		return
	}
	var over <-chan time.Time
	if seconds, _ := strconv.Atoi(given.Get("timeoutSeconds")); seconds > 0 {
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		over = timer.C
	}
	stream := &stream{w: w, resource: q.resource}
	stream.begin()
	if initial := given.Get("sendInitialEvents") == "true"; from == 0 || initial {
		var all []*Object
		all, from = s.Store.snapshot(q.resource.id(), q.namespace)
		for _, object := range all {
			if wanted.matches(object) {
				stream.send(watch.Added, object.Object)
			}
		}
		if initial {
			stream.bookmark(from, true)
		}
	}
	bookmarks := given.Get("allowWatchBookmarks") == "true"
	tick := time.NewTicker(bookmarkEvery)
	defer tick.Stop()
	for !stream.broken {
		changes, known, news := s.Store.since(from)
		if !known {
			stale := apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", from, s.Store.Version()))
			stream.send(watch.Error, statusOf(stale))
			return
		}
		for _, c := range changes {
			from = c.version
			if c.resource == q.resource.id() {
				stream.change(c, wanted)
			}
		}
		stream.flush()
		select {
		case <-news:
		case <-tick.C:
			if bookmarks {
				stream.bookmark(from, false)
			}
		case <-over:
			if bookmarks {
				stream.bookmark(from, false)
				stream.flush()
			}
			return
		case <-q.Context().Done():
			return
		}
	}
}

func orZero(version string) string {
	if version == "" {
		return "0"
	}
	return version
}

type stream struct {
	w        http.ResponseWriter
	resource *Resource
	broken   bool
}

func (t *stream) begin() {
	t.w.Header().Set("Content-Type", "application/json")
	t.w.WriteHeader(http.StatusOK)
	t.flush()
}

// change tells of an object that came into the selection, changed in it, or left it.
func (t *stream) change(c change, wanted *selector) {
	was := wanted.matches(c.before)
	is := c.kind != watch.Deleted && wanted.matches(c.object)
	switch {
	case is && was:
		t.send(watch.Modified, c.object.Object)
	case is:
		t.send(watch.Added, c.object.Object)
	case was:
		gone := withVersion(c.before.DeepCopy(), c.version)
		t.send(watch.Deleted, gone.Object)
	}
}

func (t *stream) bookmark(version uint64, initial bool) {
	metadata := map[string]any{"resourceVersion": strconv.FormatUint(version, 10), "creationTimestamp": nil}
	if initial {
		metadata["annotations"] = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	t.send(watch.Bookmark, map[string]any{
		"kind": t.resource.Kind, "apiVersion": t.resource.GroupVersion().String(), "metadata": metadata,
	})
}

func (t *stream) send(kind watch.EventType, object any) {
	line, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err == nil {
		_, err = t.w.Write(append(line, '\n'))
	}
	t.broken = t.broken || err != nil
}

func (t *stream) flush() {
	if flusher, ok := t.w.(http.Flusher); ok {
		flusher.Flush()
	}
}
