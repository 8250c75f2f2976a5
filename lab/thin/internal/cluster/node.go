package cluster

import (
	"fmt"
	"slices"
	"time"

	"lab-thin/internal/api"
)

func now() string { return time.Now().UTC().Format(time.RFC3339) }

const (
	controlPlaneRole = "node-role.kubernetes.io/control-plane"
	notReady         = "node.kubernetes.io/not-ready"
	unreachable      = "node.kubernetes.io/unreachable"
	uninitialized    = "node.cloudprovider.kubernetes.io/uninitialized"
)

func taint(key, effect string) document { return document{"key": key, "effect": effect} }

// register is a kubelet's first word: its Node, which is not ready while there is no pod network.
func (c *Cluster) register(n *Node) {
	c.mu.Lock()
	if n.podCIDR == "" {
		n.podCIDR = c.nextSubnet()
	}
	c.mu.Unlock()
	labels := document{
		"beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
		"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": n.Name,
	}
	for name, value := range n.Labels {
		labels[name] = value
	}
	taints := slices.Clone(n.Taints)
	if n.ControlPlane {
		labels[controlPlaneRole] = ""
		labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
	}
	if n.External {
		taints = append(taints, with(taint(uninitialized, "NoSchedule"), document{"value": "true"}))
	}
	spec := document{"providerID": n.ProviderID, "taints": append(taints, taint(notReady, "NoSchedule"))}
	if n.podCIDR != "" {
		spec["podCIDR"], spec["podCIDRs"] = n.podCIDR, []any{n.podCIDR}
	}
	node := object("v1", "Node", "", n.Name)
	node["metadata"].(document)["labels"] = labels
	node["metadata"].(document)["annotations"] = document{"node.alpha.kubernetes.io/ttl": "0"}
	node["spec"] = spec
	node["status"] = n.status(false)
	c.Server.Add(node)
	lease := object("coordination.k8s.io/v1", "Lease", "kube-node-lease", n.Name)
	lease["spec"] = document{"holderIdentity": n.Name, "leaseDurationSeconds": int64(40), "renewTime": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")}
	c.Server.Add(lease)
	for _, pod := range n.staticPods() {
		c.Server.Add(pod)
	}
}

func (n *Node) status(ready bool) document {
	at := now()
	condition := func(kind, status, reason, message string) any {
		return document{
			"type": kind, "status": status, "reason": reason, "message": message,
			"lastHeartbeatTime": at, "lastTransitionTime": at,
		}
	}
	last := condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")
	if !ready {
		last = condition("Ready", "False", "KubeletNotReady",
			"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
	}
	size := func() document {
		return document{
			"cpu": fmt.Sprint(n.CPUs), "memory": fmt.Sprintf("%dMi", n.MemoryMiB),
			"ephemeral-storage": fmt.Sprintf("%dMi", n.DiskMiB), "pods": "110",
		}
	}
	addresses := []any{}
	for _, address := range n.Addresses {
		addresses = append(addresses, document{"type": "InternalIP", "address": address})
	}
	return document{
		"addresses": append(addresses, document{"type": "Hostname", "address": n.Name}),
		"capacity":  size(), "allocatable": size(),
		"conditions": []any{
			condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
			condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
			condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
			last,
		},
		"nodeInfo": document{
			"architecture": "amd64", "operatingSystem": "linux", "osImage": "Thin guest", "kernelVersion": "6.0.0-thin",
			"kubeletVersion": n.Version, "kubeProxyVersion": n.Version, "containerRuntimeVersion": "containerd://thin",
			"machineID": n.UUID, "systemUUID": n.UUID, "bootID": n.UUID,
		},
	}
}

// setReady says what the kubelet says, and lets the node's taints follow.
func (c *Cluster) setReady(n *Node) {
	c.Server.Change("/nodes", "", n.Name, func(node document) {
		node["status"] = n.status(true)
		dropTaints(node, notReady, unreachable)
	})
}

// lost is what the node controller says of a kubelet that is silent.
func (c *Cluster) lost(n *Node) {
	at := now()
	c.Server.Change("/nodes", "", n.Name, func(node document) {
		status, _ := node["status"].(document)
		conditions, _ := status["conditions"].([]any)
		for _, item := range conditions {
			condition := item.(document)
			condition["status"], condition["reason"] = "Unknown", "NodeStatusUnknown"
			condition["message"], condition["lastTransitionTime"] = "Kubelet stopped posting node status.", at
		}
		dropTaints(node, notReady, unreachable)
		spec := node["spec"].(document)
		taints, _ := spec["taints"].([]any)
		spec["taints"] = append(taints, taint(unreachable, "NoSchedule"), taint(unreachable, "NoExecute"))
	})
	for _, pod := range c.Server.List("/pods") {
		if nodeOf(pod) == n.Name {
			c.Server.SetStatus("/pods", pod.GetNamespace(), pod.GetName(), podStatus(n, "False"))
		}
	}
}

func dropTaints(node document, keys ...string) {
	spec, _ := node["spec"].(document)
	taints, _ := spec["taints"].([]any)
	var left []any
	for _, item := range taints {
		if one, ok := item.(document); !ok || !slices.Contains(keys, fmt.Sprint(one["key"])) {
			left = append(left, item)
		}
	}
	if spec == nil {
		return
	}
	delete(spec, "taints")
	if len(left) > 0 {
		spec["taints"] = left
	}
}

// staticPods are the mirror pods of a control plane.
func (n *Node) staticPods() []document {
	if !n.ControlPlane {
		return nil
	}
	names := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
	if n.VIP != "" {
		names = append(names, "kube-vip")
	}
	var all []document
	for _, name := range names {
		pod := object("v1", "Pod", system, name+"-"+n.Name)
		with(pod["metadata"].(document), document{
			"labels":      document{"component": name, "tier": "control-plane"},
			"annotations": document{"kubernetes.io/config.mirror": "thin", "kubernetes.io/config.source": "file"},
			"ownerReferences": []any{document{
				"apiVersion": "v1", "kind": "Node", "name": n.Name, "uid": n.UUID, "controller": true,
			}},
		})
		pod["spec"] = document{
			"nodeName": n.Name, "hostNetwork": true, "priorityClassName": "system-node-critical",
			"containers":  []any{document{"name": name, "image": "registry.k8s.io/" + name + ":" + n.Version}},
			"tolerations": []any{document{"operator": "Exists", "effect": "NoExecute"}},
		}
		pod["status"] = podStatus(n, "True")
		all = append(all, pod)
	}
	return all
}

func podStatus(n *Node, ready string) document {
	condition := func(kind string) any { return document{"type": kind, "status": ready} }
	return document{
		"phase": "Running", "hostIP": n.Address, "podIP": n.Address, "startTime": now(),
		"conditions": []any{condition("Ready"), condition("ContainersReady"), document{"type": "PodScheduled", "status": "True"}},
	}
}

func nodeOf(pod *api.Object) string {
	spec, _ := pod.Object["spec"].(document)
	name, _ := spec["nodeName"].(string)
	return name
}

// endPod lets a pod go once it has had its time. On a dead node nobody does.
func (c *Cluster) endPod(pod *api.Object) {
	n := c.nodeNamed(nodeOf(pod))
	if n == nil {
		return
	}
	uid, settings := pod.GetUID(), c.estate.Settings()
	time.AfterFunc(Seconds(settings.Stop), func() {
		if c.nodeNamed(n.Name) != n {
			return
		}
		if now := c.Server.Get("/pods", pod.GetNamespace(), pod.GetName()); now != nil && now.GetUID() == uid {
			c.Server.Drop("/pods", pod.GetNamespace(), pod.GetName())
		}
	})
}

// nodeNamed answers a node whose kubelet runs.
func (c *Cluster) nodeNamed(name string) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.Name == name && n.alive {
			return n
		}
	}
	return nil
}
