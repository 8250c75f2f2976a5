package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"lab-thin/internal/cluster"
)

// runKubeadm is `kubeadm init` or `kubeadm join`.
func (g *Guest) runKubeadm(ctx context.Context, version string) error {
	d := g.disk
	mode := d.data.env["MODE"]
	g.mu.Lock()
	d.started = true
	g.mu.Unlock()
	g.report("RunningKubeadm", "kubeadm "+mode, false)
	err := g.kubeadm(ctx, mode, version)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		g.mu.Lock()
		d.done = true
		g.mu.Unlock()
		return nil
	}
	d.kubeadmLog = "error: " + err.Error() + "\n"
	detail := fmt.Sprintf("kubeadm %s ended with 1: error: %v", mode, err)
	if d.data.env["ROLE"] == "worker" {
		return fail("KubeadmFailed", "%s", detail)
	}
	g.mu.Lock()
	d.failed = [2]string{"KubeadmFailed", detail}
	g.mu.Unlock()
	return giveUp("KubeadmFailed", "%s", detail)
}

func (g *Guest) kubeadm(ctx context.Context, mode, version string) error {
	if fault := g.host.trip(g, "kubeadm"); fault != nil {
		if fault.Action == "hang" {
			<-ctx.Done()
			return ctx.Err()
		}
		return fmt.Errorf("%s", fault.Detail)
	}
	d := g.disk
	addresses, err := d.nodeAddresses(d.data.env)
	if err != nil {
		return err
	}
	if err := d.data.render(addresses, g.doc.UUID); err != nil {
		return err
	}
	machine, err := d.data.machine(&g.doc, addresses, version)
	if err != nil {
		return err
	}
	var node *cluster.Node
	if mode == "init" {
		founding, err := d.data.founding()
		if err != nil {
			return err
		}
		if founding.Version != version {
			return fmt.Errorf("this version of kubeadm only supports deploying clusters of version %s, not %s", version, founding.Version)
		}
		node, err = g.host.estate.Found(ctx, founding, machine)
		g.keep(node)
		return err
	}
	c, err := g.discover()
	if err != nil {
		return err
	}
	node, err = c.Join(ctx, machine)
	g.keep(node)
	return err
}

// keep puts the node on the disk, so that it goes with it.
func (g *Guest) keep(node *cluster.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if node != nil {
		g.disk.node = node
	}
}

// discover is kubeadm's own look at the cluster, by its discovery file.
func (g *Guest) discover() (*cluster.Cluster, error) {
	d := g.disk.data
	if err := d.readDiscovery(); err != nil {
		return nil, err
	}
	ask := func(path string) cluster.Answer {
		return g.host.estate.Ask(d.discovery.server, d.discovery.authority, d.discovery.token, http.MethodGet, path, nil)
	}
	const space = "/api/v1/namespaces/kube-system"
	answer := ask(space + "/configmaps/kubelet-config")
	if answer.Code != http.StatusOK {
		return nil, fmt.Errorf("execution phase kubelet-start: %s: %s", d.discovery.server, explain(answer))
	}
	c := answer.At
	if d.env["ROLE"] != "control-plane" {
		return c, nil
	}
	answer = ask(space + "/secrets/kubeadm-certs")
	var secret map[string]any
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body, &secret) != nil {
		return nil, fmt.Errorf("execution phase control-plane-prepare/download-certs: error downloading certs: %s", explain(answer))
	}
	if err := d.openCertificates(asMap(secret["data"])); err != nil {
		return nil, fmt.Errorf("execution phase control-plane-prepare/download-certs: error downloading certs: %w", err)
	}
	return c, nil
}
