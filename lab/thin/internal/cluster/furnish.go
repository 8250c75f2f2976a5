package cluster

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

type document = map[string]any

const (
	system     = "kube-system"
	rbac       = "rbac.authorization.k8s.io"
	joiners    = "system:bootstrappers:kubeadm:default-node-token"
	kubeletsOf = "system:nodes"
)

func object(version, kind, namespace, name string) document {
	metadata := document{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return document{"apiVersion": version, "kind": kind, "metadata": metadata}
}

func with(base, more document) document {
	for name, value := range more {
		base[name] = value
	}
	return base
}

// furnish makes what `kubeadm init` leaves in a cluster, the configuration first and the rights of joiners last.
func (c *Cluster) furnish() error {
	var all []document
	for _, name := range []string{"default", system, "kube-public", "kube-node-lease"} {
		all = append(all, object("v1", "Namespace", "", name))
	}
	for _, name := range []string{"default", system, "kube-public"} {
		all = append(all, object("v1", "ServiceAccount", name, "default"))
	}
	configurations := map[string]document{
		"kubeadm-config": {"ClusterConfiguration": c.Founding.Configuration["kubeadm"]},
		"kubelet-config": {"kubelet": c.Founding.Configuration["kubelet"]},
		"kube-proxy":     {"config.conf": c.Founding.Configuration["kubeProxy"]},
	}
	for name, data := range configurations {
		all = append(all, with(object("v1", "ConfigMap", system, name), document{"data": data}))
	}
	all = append(all, with(object("v1", "ConfigMap", "kube-public", "cluster-info"), document{"data": document{"kubeconfig": ""}}))
	all = append(all, c.services()...)
	all = append(all, addons(c.Founding.Version)...)
	for _, token := range c.Founding.Tokens {
		all = append(all, tokenSecret(token))
	}
	all = append(all, rights()...)
	for _, one := range all {
		if _, err := c.Server.Put(one); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) services() []document {
	first, dns := "10.96.0.1", "10.96.0.10"
	if _, network, err := net.ParseCIDR(strings.Split(c.Founding.ServiceSubnet, ",")[0]); err == nil {
		if base, ok := netip.AddrFromSlice(network.IP); ok {
			first = base.Next().String()
			at := base
			for range 10 {
				at = at.Next()
			}
			dns = at.String()
		}
	}
	service := func(namespace, name, address, selector string, port int) document {
		spec := document{"clusterIP": address, "clusterIPs": []any{address}, "type": "ClusterIP", "ports": []any{document{"port": int64(port), "protocol": "TCP"}}}
		if selector != "" {
			spec["selector"] = document{"k8s-app": selector}
		}
		return with(object("v1", "Service", namespace, name), document{"spec": spec})
	}
	return []document{service("default", "kubernetes", first, "", 443), service(system, "kube-dns", dns, "kube-dns", 53)}
}

// addons are kube-proxy and CoreDNS.
func addons(version string) []document {
	template := func(label, image string, host bool) document {
		spec := document{
			"containers":  []any{document{"name": label, "image": image}},
			"tolerations": []any{document{"operator": "Exists"}},
		}
		if host {
			spec["hostNetwork"] = true
		}
		return document{"metadata": document{"labels": document{"k8s-app": label}}, "spec": spec}
	}
	selector := func(label string) document { return document{"matchLabels": document{"k8s-app": label}} }
	proxy := with(object("apps/v1", "DaemonSet", system, "kube-proxy"), document{"spec": document{
		"selector": selector("kube-proxy"), "template": template("kube-proxy", "registry.k8s.io/kube-proxy:"+version, true),
	}})
	dns := with(object("apps/v1", "Deployment", system, "coredns"), document{"spec": document{
		"replicas": int64(2), "selector": selector("kube-dns"), "template": template("kube-dns", "registry.k8s.io/coredns/coredns:v1.12.1", false),
	}})
	return []document{proxy, dns}
}

func tokenSecret(t Token) document {
	data := document{}
	for name, value := range map[string]string{
		"token-id": t.ID, "token-secret": t.Secret, "usage-bootstrap-authentication": "true",
		"auth-extra-groups": strings.Join(t.Groups, ","), "expiration": time.Now().Add(t.TTL).UTC().Format(time.RFC3339),
	} {
		data[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return with(object("v1", "Secret", system, "bootstrap-token-"+t.ID), document{"type": "bootstrap.kubernetes.io/token", "data": data})
}

// rights are Kubernetes' own roles that joiners and people need, and those that kubeadm makes.
func rights() []document {
	rule := func(verbs, groups, resources string, names ...any) document {
		return document{"verbs": words(verbs), "apiGroups": words(groups), "resources": words(resources), "resourceNames": names}
	}
	role := func(kind, namespace, name string, rules ...any) document {
		return with(object(rbac+"/v1", kind, namespace, name), document{"rules": rules})
	}
	bind := func(kind, namespace, name, roleKind, roleName string, subjects ...string) document {
		var all []any
		for _, name := range subjects {
			all = append(all, document{"kind": "Group", "apiGroup": rbac, "name": name})
		}
		return with(object(rbac+"/v1", kind, namespace, name), document{
			"roleRef": document{"apiGroup": rbac, "kind": roleKind, "name": roleName}, "subjects": all,
		})
	}
	all := []document{
		role("ClusterRole", "", "cluster-admin",
			rule("*", "*", "*"), document{"verbs": words("*"), "nonResourceURLs": words("*")}),
		role("ClusterRole", "", "system:node-bootstrapper",
			rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests")),
		role("ClusterRole", "", "kubeadm:get-nodes", document{"verbs": words("get"), "apiGroups": []any{""}, "resources": words("nodes")}),
		bind("ClusterRoleBinding", "", "cluster-admin", "ClusterRole", "cluster-admin", "system:masters"),
		bind("ClusterRoleBinding", "", "kubeadm:cluster-admins", "ClusterRole", "cluster-admin", "kubeadm:cluster-admins"),
		bind("ClusterRoleBinding", "", "kubeadm:get-nodes", "ClusterRole", "kubeadm:get-nodes", joiners),
		bind("ClusterRoleBinding", "", "kubeadm:kubelet-bootstrap", "ClusterRole", "system:node-bootstrapper", joiners),
	}
	for name, configuration := range map[string]string{"kubeadm:nodes-kubeadm-config": "kubeadm-config", "kubeadm:kubelet-config": "kubelet-config"} {
		all = append(all,
			role("Role", system, name, document{
				"verbs": words("get"), "apiGroups": []any{""}, "resources": words("configmaps"), "resourceNames": []any{configuration},
			}),
			bind("RoleBinding", system, name, "Role", name, kubeletsOf, joiners))
	}
	return all
}

func words(text string) []any {
	var all []any
	for _, word := range strings.Fields(text) {
		all = append(all, word)
	}
	return all
}

// nextSubnet gives each node its part of the pod network. The caller holds c.mu.
func (c *Cluster) nextSubnet() string {
	prefix, err := netip.ParsePrefix(strings.Split(c.Founding.PodSubnet, ",")[0])
	if err != nil || !prefix.Addr().Is4() {
		return ""
	}
	base := prefix.Masked().Addr().As4()
	n := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	n += uint32(c.subnets) << 8
	c.subnets++
	return fmt.Sprintf("%d.%d.%d.0/24", n>>24, n>>16&0xff, n>>8&0xff)
}
