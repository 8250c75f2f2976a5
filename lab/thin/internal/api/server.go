// Package api is a Kubernetes API server in memory: one cluster's objects, over the wire of a real one.
//
// Field ownership and patches are done by Kubernetes' own libraries; certificates, bootstrap tokens and RBAC
// are checked as a real server checks them. Admission, defaults and most validation are left out.
package api

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Executor runs a command in a container, as a kubelet would.
type Executor func(pod, container string, command []string) (code int, stdout, stderr string, err error)

// Server answers for one cluster, whichever of its addresses was asked.
type Server struct {
	Store   *Store
	Clients *x509.CertPool // whose client certificates are believed
	Version string         // such as v1.34.4
	Quorum  func() bool    // whether etcd has one
	Exec    Executor
	Ending  func(pod *Object) // a pod shall end: its kubelet is told
	Count   func(verb, resource string)
}

// request is what the path and the method say.
type request struct {
	*http.Request
	user        *User
	verb        string
	resource    *Resource
	subresource string
	namespace   string
	name        string
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user := s.authenticate(r)
	if user == nil {
		fail(w, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if at := prefixLength(parts); at > 0 && len(parts) > at {
		s.serveResource(w, r, user, parts, at)
		return
	}
	s.count("get", "")
	if !s.authorize(user, attributes{verb: "get", path: r.URL.Path}) {
		fail(w, apierrors.NewForbidden(schema.GroupResource{}, "", fmt.Errorf("User %q cannot get path %q", user.Name, r.URL.Path)))
		return
	}
	s.serveOther(w, r, parts)
}

// prefixLength of /api/v1 or /apis/GROUP/VERSION in front of a resource; 0 when it is none.
func prefixLength(parts []string) int {
	switch {
	case parts[0] == "api" && len(parts) > 2:
		return 2
	case parts[0] == "apis" && len(parts) > 3:
		return 3
	}
	return 0
}

func (s *Server) serveOther(w http.ResponseWriter, r *http.Request, parts []string) {
	switch {
	case r.URL.Path == "/version":
		major, rest, _ := strings.Cut(strings.TrimPrefix(s.Version, "v"), ".")
		minor, _, _ := strings.Cut(rest, ".")
		reply(w, http.StatusOK, map[string]string{
			"major": major, "minor": minor, "gitVersion": s.Version, "platform": "linux/amd64",
			"gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc",
		})
	case parts[0] == "readyz" || parts[0] == "healthz" || parts[0] == "livez":
		if parts[0] != "livez" && !s.Quorum() {
			http.Error(w, "[-]etcd failed: reason withheld\n"+parts[0]+" check failed", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("ok"))
	case parts[0] == "api" || parts[0] == "apis":
		if found := s.discover(parts); found != nil {
			reply(w, http.StatusOK, found)
			return
		}
		fail(w, notFound())
	default:
		fail(w, notFound())
	}
}

func notFound() error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "get", schema.GroupResource{}, "", "the server could not find the requested resource", 0, true)
}

func (s *Server) serveResource(w http.ResponseWriter, r *http.Request, user *User, parts []string, at int) {
	group, version := "", parts[1]
	if at == 3 {
		group, version = parts[1], parts[2]
	}
	q := &request{Request: r, user: user}
	rest := parts[at:]
	if rest[0] == "namespaces" && len(rest) > 2 && rest[2] != "status" && rest[2] != "finalize" {
		q.namespace, rest = rest[1], rest[2:]
	}
	q.resource = s.find(group, version, rest[0])
	if len(rest) > 1 {
		q.name = rest[1]
	}
	if len(rest) > 2 {
		q.subresource = rest[2]
	}
	q.verb = verbOf(r, q.name)
	if q.resource == nil || len(rest) > 3 || q.namespace != "" && !q.resource.Namespaced {
		s.count(q.verb, rest[0])
		fail(w, notFound())
		return
	}
	asked := attributes{
		verb: q.verb, group: group, resource: q.resource.Resource,
		subresource: q.subresource, namespace: q.namespace, name: q.name,
	}
	s.count(q.verb, strings.TrimSuffix(q.resource.Resource+"/"+q.subresource, "/"))
	if !s.authorize(user, asked) {
		fail(w, forbidden(user, asked))
		return
	}
	if !s.Quorum() && !q.resource.CreateOnly {
		fail(w, apierrors.NewInternalError(errors.New("etcdserver: request timed out")))
		return
	}
	s.serve(w, q)
}

func verbOf(r *http.Request, name string) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if watching := r.URL.Query().Get("watch"); watching == "1" || watching == "true" {
			return "watch"
		}
		if name == "" {
			return "list"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	return strings.ToLower(r.Method)
}

func forbidden(user *User, a attributes) error {
	resource, scope := a.resource, "at the cluster scope"
	if a.subresource != "" {
		resource += "/" + a.subresource
	}
	if a.namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", a.namespace)
	}
	why := fmt.Errorf("User %q cannot %s resource %q in API group %q %s", user.Name, a.verb, resource, a.group, scope)
	return apierrors.NewForbidden(schema.GroupResource{Group: a.group, Resource: a.resource}, a.name, why)
}

// serve is past all checks of who asks.
func (s *Server) serve(w http.ResponseWriter, q *request) {
	if q.resource.CreateOnly {
		s.review(w, q)
		return
	}
	if q.subresource != "" && (q.subresource != "status" || !q.resource.HasStatus) {
		s.serveSubresource(w, q)
		return
	}
	var answer any
	var err error
	code := http.StatusOK
	switch q.verb {
	case "get":
		answer, err = s.read(q)
	case "list":
		answer, err = s.list(q)
	case "watch":
		s.watch(w, q)
		return
	case "create":
		answer, err = s.create(q)
		code = http.StatusCreated
	case "update":
		answer, err = s.replace(q)
	case "patch":
		answer, code, err = s.patch(q)
	case "delete":
		answer, err = s.remove(q)
	case "deletecollection":
		answer, err = s.removeAll(q)
	default:
		err = apierrors.NewMethodNotSupported(q.group(), q.verb)
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, code, answer)
}

func (q *request) group() schema.GroupResource { return q.resource.GroupResource() }

func (q *request) key() (resource, namespace, name string) {
	return q.resource.id(), q.namespace, q.name
}

func (s *Server) read(q *request) (*Object, error) {
	found := s.Store.get(q.key())
	if found == nil {
		return nil, apierrors.NewNotFound(q.group(), q.name)
	}
	return found, nil
}

func (s *Server) count(verb, resource string) {
	if s.Count != nil {
		s.Count(verb, resource)
	}
}

func (s *Server) review(w http.ResponseWriter, q *request) {
	var review map[string]any
	raw, err := body(q)
	if err == nil {
		if err = json.Unmarshal(raw, &review); err != nil || review == nil {
			err = apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized: %v", err))
		}
	}
	if err != nil {
		fail(w, err)
		return
	}
	if q.verb != "create" {
		fail(w, apierrors.NewMethodNotSupported(q.group(), q.verb))
		return
	}
	if q.resource.Resource == "selfsubjectreviews" {
		review["status"] = map[string]any{"userInfo": map[string]any{"username": q.user.Name, "groups": q.user.Groups}}
	} else {
		asked := func(field string) string { return text(review, "spec", "resourceAttributes", field) }
		review["status"] = map[string]any{"allowed": s.authorize(q.user, attributes{
			verb: asked("verb"), group: asked("group"), resource: asked("resource"), subresource: asked("subresource"),
			namespace: asked("namespace"), name: asked("name"), path: text(review, "spec", "nonResourceAttributes", "path"),
		})}
	}
	review["kind"], review["apiVersion"] = q.resource.Kind, q.resource.GroupVersion().String()
	reply(w, http.StatusCreated, review)
}

func reply(w http.ResponseWriter, code int, body any) {
	if object, ok := body.(*Object); ok {
		body = object.Object
	}
	payload, err := json.Marshal(body)
	if err != nil {
		fail(w, apierrors.NewInternalError(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(payload)+1))
	w.WriteHeader(code)
	_, _ = w.Write(append(payload, '\n')) // an error means that the reader left
}

func fail(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	reply(w, int(status.Code), status)
}

func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return status
}
