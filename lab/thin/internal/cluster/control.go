package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"lab-thin/internal/api"
)

const settle = 10 * time.Millisecond

// control is the part of the controller manager, scheduler and kubelets without which nodes would never be Ready
// and drained pods would never come up elsewhere. It looks when something changed or a machine came up, and at
// nothing else.
func (c *Cluster) control(ctx context.Context) {
	var from uint64
	cameUp := false
	for {
		changed, to, next := c.Server.News(from)
		from = to
		if cameUp || changed[""] || changed["/nodes"] || changed["/pods"] || changed["apps/daemonsets"] || changed["apps/deployments"] {
			c.sync()
		}
		cameUp = false
		select {
		case <-c.cameUp:
			// A kubelet that starts again changes nothing in the API by itself.
			cameUp = true
		case <-next:
			if !Pause(ctx, settle) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// view is one look at the cluster.
type view struct {
	nodes    []*api.Object
	kubelets map[string]*Node // those that run
	pods     []*api.Object
	byOwner  map[string][]*api.Object
	load     map[string]int
}

func (c *Cluster) look() *view {
	v := &view{
		nodes: c.Server.List("/nodes"), pods: c.Server.List("/pods"),
		kubelets: map[string]*Node{}, byOwner: map[string][]*api.Object{}, load: map[string]int{},
	}
	c.mu.Lock()
	for _, n := range c.nodes {
		if n.alive {
			v.kubelets[n.Name] = n
		}
	}
	c.mu.Unlock()
	for _, pod := range v.pods {
		v.load[nodeOf(pod)]++
		if owner := controllerOf(pod); owner != "" {
			v.byOwner[owner] = append(v.byOwner[owner], pod)
		}
	}
	return v
}

func controllerOf(pod *api.Object) string {
	for _, owner := range pod.GetOwnerReferences() {
		if owner.Controller != nil && *owner.Controller && owner.Kind != "Node" {
			return string(owner.UID)
		}
	}
	return ""
}

func (c *Cluster) sync() {
	if !c.hasQuorum() {
		return
	}
	v := c.look()
	owners := map[string]bool{}
	for _, set := range c.Server.List("apps/daemonsets") {
		owners[string(set.GetUID())] = true
		c.syncDaemonSet(v, set)
	}
	for _, deployment := range c.Server.List("apps/deployments") {
		owners[string(deployment.GetUID())] = true
		c.syncDeployment(v, deployment)
	}
	known := map[string]bool{}
	for _, node := range v.nodes {
		known[node.GetName()] = true
	}
	for _, pod := range v.pods {
		owner := controllerOf(pod)
		if at := nodeOf(pod); at != "" && !known[at] || owner != "" && !owners[owner] {
			c.Server.Drop("/pods", pod.GetNamespace(), pod.GetName()) // the pod garbage collector
			continue
		}
		c.runPod(v, pod)
	}
}

// runPod is the scheduler's and the kubelet's part for one pod.
func (c *Cluster) runPod(v *view, pod *api.Object) {
	spec, _ := pod.Object["spec"].(document)
	status, _ := pod.Object["status"].(document)
	at := nodeOf(pod)
	if at == "" {
		if node := v.place(spec); node != "" {
			v.load[node]++
			c.Server.Change("/pods", pod.GetNamespace(), pod.GetName(), func(pod document) {
				pod["spec"].(document)["nodeName"] = node
			})
		}
		return
	}
	n := v.kubelets[at]
	if n == nil {
		return
	}
	if pod.GetDeletionTimestamp() != nil {
		c.endPod(pod)
		return
	}
	if status["phase"] != "Running" && (spec["hostNetwork"] == true || v.isReady(at)) {
		c.Server.SetStatus("/pods", pod.GetNamespace(), pod.GetName(), podStatus(n, "True"))
	}
	if status["phase"] == "Running" && bringsNetwork(spec) && !v.isReady(at) {
		c.makeReady(n)
	}
}

// makeReady makes a node Ready after its time.
func (c *Cluster) makeReady(n *Node) {
	c.mu.Lock()
	runs := n.runs
	c.mu.Unlock()
	time.AfterFunc(Seconds(c.estate.Settings().Ready), func() {
		c.mu.Lock()
		same := n.alive && n.runs == runs
		c.mu.Unlock()
		if same {
			c.setReady(n)
		}
	})
}

// bringsNetwork says whether a pod writes the node's CNI configuration.
func bringsNetwork(spec document) bool {
	volumes, _ := spec["volumes"].([]any)
	return slices.ContainsFunc(volumes, func(item any) bool {
		volume, _ := item.(document)
		host, _ := volume["hostPath"].(document)
		return host["path"] == "/etc/cni/net.d"
	})
}

func (v *view) isReady(name string) bool {
	for _, node := range v.nodes {
		if node.GetName() == name {
			return nodeReady(node)
		}
	}
	return false
}

func nodeReady(node *api.Object) bool {
	status, _ := node.Object["status"].(document)
	conditions, _ := status["conditions"].([]any)
	return slices.ContainsFunc(conditions, func(item any) bool {
		condition, _ := item.(document)
		return condition["type"] == "Ready" && condition["status"] == "True"
	})
}

// place chooses the least loaded of the nodes that a pod may run on.
func (v *view) place(spec document) string {
	best := ""
	for _, node := range v.nodes {
		body, _ := node.Object["spec"].(document)
		if !nodeReady(node) || body["unschedulable"] == true || !tolerates(spec, body) {
			continue
		}
		if name := node.GetName(); best == "" || v.load[name] < v.load[best] {
			best = name
		}
	}
	return best
}

// tolerates looks at taints that keep new pods away.
func tolerates(pod, node document) bool {
	taints, _ := node["taints"].([]any)
	tolerations, _ := pod["tolerations"].([]any)
	for _, item := range taints {
		t, _ := item.(document)
		if t["effect"] == "PreferNoSchedule" {
			continue
		}
		fits := slices.ContainsFunc(tolerations, func(item any) bool {
			given, _ := item.(document)
			key, effect := given["key"], given["effect"]
			if effect != nil && effect != "" && effect != t["effect"] {
				return false
			}
			if given["operator"] == "Exists" {
				return key == nil || key == "" || key == t["key"]
			}
			return key == t["key"] && fmt.Sprint(given["value"]) == fmt.Sprint(t["value"])
		})
		if !fits {
			return false
		}
	}
	return true
}

func (c *Cluster) syncDaemonSet(v *view, set *api.Object) {
	has := map[string]bool{}
	for _, pod := range v.byOwner[string(set.GetUID())] {
		has[nodeOf(pod)] = true
	}
	_, spec := template(set)
	for _, node := range v.nodes {
		body, _ := node.Object["spec"].(document)
		if has[node.GetName()] || !tolerates(withDaemonTolerations(spec), body) {
			continue
		}
		n := v.kubelets[node.GetName()]
		if n == nil {
			continue
		}
		pod := newPod(set, n.Name)
		if spec["hostNetwork"] == true {
			pod["status"] = podStatus(n, "True")
		}
		c.Server.Add(pod)
	}
	wanted := int64(len(v.nodes))
	c.Server.SetStatus("apps/daemonsets", set.GetNamespace(), set.GetName(), document{
		"desiredNumberScheduled": wanted, "currentNumberScheduled": int64(len(has)), "numberReady": int64(len(has)),
		"numberAvailable": int64(len(has)), "numberMisscheduled": int64(0), "observedGeneration": set.GetGeneration(),
	})
}

// withDaemonTolerations adds those that the DaemonSet controller gives every pod.
func withDaemonTolerations(spec document) document {
	tolerations, _ := spec["tolerations"].([]any)
	tolerations = slices.Clone(tolerations)
	for _, key := range []string{notReady, unreachable, "node.kubernetes.io/unschedulable"} {
		tolerations = append(tolerations, document{"key": key, "operator": "Exists"})
	}
	return document{"tolerations": tolerations}
}

func (c *Cluster) syncDeployment(v *view, deployment *api.Object) {
	body, _ := deployment.Object["spec"].(document)
	wanted := 1
	switch n := body["replicas"].(type) {
	case int64:
		wanted = int(n)
	case float64:
		wanted = int(n)
	}
	var have []*api.Object
	ready := int64(0)
	for _, pod := range v.byOwner[string(deployment.GetUID())] {
		if pod.GetDeletionTimestamp() == nil {
			have = append(have, pod)
			if status, _ := pod.Object["status"].(document); status["phase"] == "Running" {
				ready++
			}
		}
	}
	for range max(0, wanted-len(have)) {
		c.Server.Add(newPod(deployment, ""))
	}
	for _, pod := range have[min(wanted, len(have)):] {
		c.Server.Drop("/pods", pod.GetNamespace(), pod.GetName())
	}
	c.Server.SetStatus("apps/deployments", deployment.GetNamespace(), deployment.GetName(), document{
		"replicas": int64(wanted), "updatedReplicas": int64(wanted), "readyReplicas": ready, "availableReplicas": ready,
		"observedGeneration": deployment.GetGeneration(),
	})
}

func template(owner *api.Object) (metadata, spec document) {
	body, _ := owner.Object["spec"].(document)
	t, _ := body["template"].(document)
	metadata, _ = t["metadata"].(document)
	spec, _ = t["spec"].(document)
	return metadata, spec
}

// newPod is made from its owner's template. Pods of a Deployment have no ReplicaSet between.
func newPod(owner *api.Object, node string) document {
	metadata, shape := template(owner)
	pod := object("v1", "Pod", owner.GetNamespace(), owner.GetName()+"-"+rand.String(5))
	kind := owner.GetKind()
	if kind == "Deployment" {
		kind = "ReplicaSet"
	}
	with(pod["metadata"].(document), document{
		"labels": metadata["labels"],
		"ownerReferences": []any{document{
			"apiVersion": "apps/v1", "kind": kind, "name": owner.GetName(), "uid": string(owner.GetUID()), "controller": true,
		}},
	})
	spec := document{}
	for name, value := range shape { // what lies deeper is shared: stored objects are never changed
		spec[name] = value
	}
	if node != "" {
		spec["nodeName"] = node
	}
	pod["spec"] = spec
	return pod
}
