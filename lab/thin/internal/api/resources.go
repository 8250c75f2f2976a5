package api

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is one kind of object that an API server serves.
type Resource struct {
	schema.GroupVersionResource
	Kind       string
	Namespaced bool
	HasStatus  bool
	CreateOnly bool // reviews: answered, never stored
	Custom     bool // made by a CustomResourceDefinition: no schema
}

func (r *Resource) kind() schema.GroupVersionKind { return r.GroupVersion().WithKind(r.Kind) }

// id is the place of the resource's objects in the store.
func (r *Resource) id() string { return r.Group + "/" + r.Resource }

const (
	namespaced = 1 << iota
	hasStatus
	createOnly
)

func row(group, version, plural, kind string, flags int) *Resource {
	return &Resource{
		GroupVersionResource: schema.GroupVersionResource{Group: group, Version: version, Resource: plural},
		Kind:                 kind,
		Namespaced:           flags&namespaced != 0,
		HasStatus:            flags&hasStatus != 0,
		CreateOnly:           flags&createOnly != 0,
	}
}

const (
	rbacGroup       = "rbac.authorization.k8s.io"
	extensionsGroup = "apiextensions.k8s.io"
	definitions     = "customresourcedefinitions"
)

var builtin = []*Resource{
	row("", "v1", "namespaces", "Namespace", hasStatus),
	row("", "v1", "nodes", "Node", hasStatus),
	row("", "v1", "pods", "Pod", namespaced|hasStatus),
	row("", "v1", "secrets", "Secret", namespaced),
	row("", "v1", "configmaps", "ConfigMap", namespaced),
	row("", "v1", "services", "Service", namespaced|hasStatus),
	row("", "v1", "serviceaccounts", "ServiceAccount", namespaced),
	row("", "v1", "endpoints", "Endpoints", namespaced),
	row("", "v1", "events", "Event", namespaced),
	row("", "v1", "persistentvolumes", "PersistentVolume", hasStatus),
	row("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced|hasStatus),
	row("", "v1", "resourcequotas", "ResourceQuota", namespaced|hasStatus),
	row("", "v1", "limitranges", "LimitRange", namespaced),
	row("apps", "v1", "deployments", "Deployment", namespaced|hasStatus),
	row("apps", "v1", "replicasets", "ReplicaSet", namespaced|hasStatus),
	row("apps", "v1", "daemonsets", "DaemonSet", namespaced|hasStatus),
	row("apps", "v1", "statefulsets", "StatefulSet", namespaced|hasStatus),
	row("batch", "v1", "jobs", "Job", namespaced|hasStatus),
	row("batch", "v1", "cronjobs", "CronJob", namespaced|hasStatus),
	row(rbacGroup, "v1", "clusterroles", "ClusterRole", 0),
	row(rbacGroup, "v1", "clusterrolebindings", "ClusterRoleBinding", 0),
	row(rbacGroup, "v1", "roles", "Role", namespaced),
	row(rbacGroup, "v1", "rolebindings", "RoleBinding", namespaced),
	row("coordination.k8s.io", "v1", "leases", "Lease", namespaced),
	row("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced|hasStatus),
	row("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced),
	row("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", hasStatus),
	row("storage.k8s.io", "v1", "storageclasses", "StorageClass", 0),
	row("storage.k8s.io", "v1", "csidrivers", "CSIDriver", 0),
	row("storage.k8s.io", "v1", "csinodes", "CSINode", 0),
	row("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", hasStatus),
	row("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", namespaced),
	row("networking.k8s.io", "v1", "ingresses", "Ingress", namespaced|hasStatus),
	row("networking.k8s.io", "v1", "ingressclasses", "IngressClass", 0),
	row("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", 0),
	row("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", 0),
	row("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", 0),
	row("apiregistration.k8s.io", "v1", "apiservices", "APIService", hasStatus),
	row(extensionsGroup, "v1", definitions, "CustomResourceDefinition", hasStatus),
	row("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", createOnly),
	row("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", createOnly),
}

// subresources that are served beside `status`.
var subresources = map[string]map[string]string{
	"pods": {"eviction": "Eviction", "exec": "PodExecOptions"},
}

var verbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// resources are those built in and the cluster's own definitions.
func (s *Server) resources() []*Resource {
	all := append([]*Resource(nil), builtin...)
	for _, object := range s.Store.list(extensionsGroup+"/"+definitions, "") {
		all = append(all, custom(object.Object)...)
	}
	return all
}

func custom(definition map[string]any) []*Resource {
	group, plural := text(definition, "spec", "group"), text(definition, "spec", "names", "plural")
	kind, scope := text(definition, "spec", "names", "kind"), text(definition, "spec", "scope")
	var made []*Resource
	for _, item := range slice(definition, "spec", "versions") {
		version, _ := item.(map[string]any)
		if version == nil || version["served"] != true {
			continue
		}
		flags := 0
		if scope == "Namespaced" {
			flags |= namespaced
		}
		if dig(version, "subresources", "status") != nil {
			flags |= hasStatus
		}
		r := row(group, text(version, "name"), plural, kind, flags)
		r.Custom = true
		made = append(made, r)
	}
	return made
}

func (s *Server) find(group, version, plural string) *Resource {
	for _, r := range builtin {
		if r.Resource == plural && r.Group == group && r.Version == version {
			return r
		}
	}
	if !strings.Contains(group, ".") {
		return nil
	}
	for _, r := range s.resources()[len(builtin):] {
		if r.Resource == plural && r.Group == group && r.Version == version {
			return r
		}
	}
	return nil
}

// discover answers /api, /apis, /api/v1, /apis/GROUP and /apis/GROUP/VERSION; nil when there is no such.
func (s *Server) discover(parts []string) any {
	switch {
	case len(parts) == 1 && parts[0] == "api":
		return metav1.APIVersions{
			TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
		}
	case len(parts) == 2 && parts[0] == "api":
		return s.discoverVersion("", parts[1])
	case len(parts) == 1:
		return metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: s.groups()}
	case len(parts) == 2:
		for _, group := range s.groups() {
			if group.Name == parts[1] {
				group.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
				return group
			}
		}
		return nil
	default:
		return s.discoverVersion(parts[1], parts[2])
	}
}

func (s *Server) groups() []metav1.APIGroup {
	var all []metav1.APIGroup
	at := map[string]int{}
	for _, r := range s.resources() {
		if r.Group == "" {
			continue
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: r.GroupVersion().String(), Version: r.Version}
		i, known := at[r.Group]
		if !known {
			at[r.Group] = len(all)
			all = append(all, metav1.APIGroup{Name: r.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
			continue
		}
		if last := all[i].Versions; last[len(last)-1] != version {
			all[i].Versions = append(last, version)
		}
	}
	return all
}

func (s *Server) discoverVersion(group, version string) any {
	list := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: schema.GroupVersion{Group: group, Version: version}.String(),
	}
	for _, r := range s.resources() {
		if r.Group != group || r.Version != version {
			continue
		}
		entry := metav1.APIResource{Name: r.Resource, SingularName: strings.ToLower(r.Kind), Namespaced: r.Namespaced, Kind: r.Kind, Verbs: verbs}
		if r.CreateOnly {
			entry.Verbs = metav1.Verbs{"create"}
		}
		list.APIResources = append(list.APIResources, entry)
		if r.HasStatus {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: r.Resource + "/status", Namespaced: r.Namespaced, Kind: r.Kind, Verbs: metav1.Verbs{"get", "patch", "update"},
			})
		}
		for name, kind := range subresources[r.Resource] {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: r.Resource + "/" + name, Namespaced: r.Namespaced, Kind: kind, Verbs: metav1.Verbs{"create"},
			})
		}
	}
	if list.APIResources == nil {
		return nil
	}
	return list
}
