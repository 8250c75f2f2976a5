package api

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// User is who sends a request.
type User struct {
	Name   string
	Groups []string
}

const (
	authenticated = "system:authenticated"
	masters       = "system:masters"
	tokenType     = "bootstrap.kubernetes.io/token"
	systemSpace   = "kube-system"
)

// authenticate answers nil for credentials that are given and not good.
func (s *Server) authenticate(r *http.Request) *User {
	if token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); given {
		return s.byToken(strings.TrimSpace(token))
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return s.byCertificate(r.TLS.PeerCertificates)
	}
	return &User{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}
}

func (s *Server) byCertificate(chain []*x509.Certificate) *User {
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	options := x509.VerifyOptions{Roots: s.Clients, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := chain[0].Verify(options); err != nil {
		return nil
	}
	subject := chain[0].Subject
	return &User{Name: subject.CommonName, Groups: append(slices.Clone(subject.Organization), authenticated)}
}

// byToken knows bootstrap tokens, as kube-apiserver does with --enable-bootstrap-token-auth.
func (s *Server) byToken(token string) *User {
	id, secret, ok := strings.Cut(token, ".")
	if !ok {
		return nil
	}
	object := s.Store.get("/secrets", systemSpace, "bootstrap-token-"+id)
	if object == nil || text(object.Object, "type") != tokenType || object.GetDeletionTimestamp() != nil {
		return nil
	}
	read := func(name string) string {
		value, err := base64.StdEncoding.DecodeString(text(object.Object, "data", name))
		if err != nil {
			return ""
		}
		return string(value)
	}
	if read("token-id") != id || subtle.ConstantTimeCompare([]byte(read("token-secret")), []byte(secret)) != 1 {
		return nil
	}
	if read("usage-bootstrap-authentication") != "true" {
		return nil
	}
	if end := read("expiration"); end != "" {
		if at, err := time.Parse(time.RFC3339, end); err != nil || time.Now().After(at) {
			return nil
		}
	}
	groups := []string{"system:bootstrappers", authenticated}
	for extra := range strings.SplitSeq(read("auth-extra-groups"), ",") {
		if strings.HasPrefix(extra, "system:bootstrappers:") {
			groups = append(groups, extra)
		}
	}
	return &User{Name: "system:bootstrap:" + id, Groups: groups}
}

// attributes of a request, as RBAC looks at it.
type attributes struct {
	verb, group, resource, subresource, namespace, name string
	path                                                string // of requests that are for no resource
}

// authorize evaluates the cluster's own roles and bindings.
func (s *Server) authorize(user *User, a attributes) bool {
	if slices.Contains(user.Groups, masters) {
		return true
	}
	if a.path != "" && a.verb == "get" && (a.path == "/version" || a.path == "/healthz" || a.path == "/livez" || a.path == "/readyz") {
		return true // system:public-info-viewer
	}
	known := slices.Contains(user.Groups, authenticated)
	if known && a.verb == "create" && a.group == "authorization.k8s.io" || known && a.group == "authentication.k8s.io" && a.resource == "selfsubjectreviews" {
		return true // system:basic-user
	}
	if known && a.verb == "get" && (a.path == "/api" || a.path == "/apis" || strings.HasPrefix(a.path, "/api/") || strings.HasPrefix(a.path, "/apis/")) {
		return true // system:discovery
	}
	for _, binding := range s.Store.list(rbacGroup+"/clusterrolebindings", "") {
		if bound(user, binding.Object, "") && s.allows(binding.Object, "", a) {
			return true
		}
	}
	if a.namespace == "" {
		return false
	}
	for _, binding := range s.Store.list(rbacGroup+"/rolebindings", a.namespace) {
		if bound(user, binding.Object, a.namespace) && s.allows(binding.Object, a.namespace, a) {
			return true
		}
	}
	return false
}

func bound(user *User, binding map[string]any, namespace string) bool {
	for _, item := range slice(binding, "subjects") {
		subject, _ := item.(map[string]any)
		name := text(subject, "name")
		switch text(subject, "kind") {
		case "User":
			if name == user.Name {
				return true
			}
		case "Group":
			if slices.Contains(user.Groups, name) {
				return true
			}
		case "ServiceAccount":
			space := text(subject, "namespace")
			if space == "" {
				space = namespace
			}
			if user.Name == "system:serviceaccount:"+space+":"+name {
				return true
			}
		}
	}
	return false
}

func (s *Server) allows(binding map[string]any, namespace string, a attributes) bool {
	plural := "clusterroles"
	if text(binding, "roleRef", "kind") == "Role" {
		plural = "roles"
	} else {
		namespace = ""
	}
	role := s.Store.get(rbacGroup+"/"+plural, namespace, text(binding, "roleRef", "name"))
	if role == nil {
		return false
	}
	for _, item := range slice(role.Object, "rules") {
		if rule, ok := item.(map[string]any); ok && permits(rule, a) {
			return true
		}
	}
	return false
}

func permits(rule map[string]any, a attributes) bool {
	has := func(field string, wanted ...string) bool {
		words := texts(rule, field)
		return slices.Contains(words, "*") || slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(words, w) })
	}
	if !has("verbs", a.verb) {
		return false
	}
	if a.path != "" {
		return slices.ContainsFunc(texts(rule, "nonResourceURLs"), func(pattern string) bool {
			prefix, open := strings.CutSuffix(pattern, "*")
			return pattern == a.path || open && strings.HasPrefix(a.path, prefix)
		})
	}
	resource := a.resource
	if a.subresource != "" {
		resource += "/" + a.subresource
	}
	wanted := []string{resource}
	if a.subresource != "" {
		wanted = append(wanted, "*/"+a.subresource)
	}
	names := texts(rule, "resourceNames")
	return has("apiGroups", a.group) && has("resources", wanted...) && (len(names) == 0 || slices.Contains(names, a.name))
}
