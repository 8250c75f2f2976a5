package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"lab-thin/internal/api"
)

// Founding is what `kubeadm init` is given.
type Founding struct {
	Name          string
	Version       string
	Endpoint      string // host:port
	Names         []string
	PodSubnet     string
	ServiceSubnet string
	DNSDomain     string
	Configuration map[string]string // documents for ConfigMaps: kubeadm, kubelet, kubeProxy
	Authority     *Authority
	Tokens        []Token
	External      bool // nodes wait for a cloud provider
}

// Token is a bootstrap token that kubeadm makes itself.
type Token struct {
	ID, Secret string
	Groups     []string
	TTL        time.Duration
}

// Machine is one node's part of the bootstrap data.
type Machine struct {
	UUID         string
	Name         string
	Address      string   // of the API server and etcd
	Addresses    []string // of the node, one of each family
	Version      string
	ControlPlane bool
	Port         int
	VIP          string // host:port that its kube-vip carries
	Labels       map[string]string
	Taints       []any
	ProviderID   string
	External     bool
	CPUs         int
	MemoryMiB    int
	DiskMiB      int64
}

// Cluster is one Kubernetes cluster.
type Cluster struct {
	Server    *api.Server
	Founding  Founding
	estate    *Estate
	authority *Authority
	etcdTurn  chan struct{} // one joiner at a time
	cameUp    chan struct{} // a machine runs (again)
	end       context.CancelFunc

	mu      sync.Mutex
	nodes   map[string]*Node // by BIOS UUID
	members []*member
	leader  uint64 // that leadership was handed to; 0: nobody
	vip     virtual
	subnets int
}

// Node is a machine that kubeadm has made part of a cluster. It lives on the machine's disk.
type Node struct {
	Machine
	cluster  *Cluster
	alive    bool
	expelled bool // from etcd, for ever: it runs no control plane and no kubelet any more
	runs     int  // counts power cycles: a timer of an older one is void
	server   *apiServer
	podCIDR  string
}

// Found makes a cluster with its first control plane: `kubeadm init`.
func (e *Estate) Found(ctx context.Context, f Founding, m Machine) (*Node, error) {
	clients := x509.NewCertPool()
	clients.AddCert(f.Authority.Certificate)
	c := &Cluster{
		Founding: f, estate: e, authority: f.Authority, etcdTurn: make(chan struct{}, 1),
		cameUp: make(chan struct{}, 1), nodes: map[string]*Node{},
	}
	c.Server = &api.Server{
		Store: api.NewStore(), Clients: clients, Version: f.Version,
		Quorum: c.hasQuorum, Exec: c.exec, Ending: c.endPod, Count: e.count,
	}
	settings := e.Settings()
	if !Pause(ctx, Seconds(settings.Init)*6/10) {
		return nil, ctx.Err()
	}
	n := &Node{Machine: m, cluster: c}
	c.nodes[m.UUID] = n
	c.addMember(n)
	if err := c.Up(n); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.clusters[c] = true
	e.mu.Unlock()
	if !Pause(ctx, Seconds(settings.Init)*4/10) {
		return n, ctx.Err()
	}
	if err := c.furnish(); err != nil {
		return n, err
	}
	c.register(n)
	running, end := context.WithCancel(context.Background())
	c.end = end
	go c.control(running)
	return n, nil
}

// Join makes a machine part of the cluster: `kubeadm join`, after discovery.
func (c *Cluster) Join(ctx context.Context, m Machine) (*Node, error) {
	settings := c.estate.Settings()
	n := &Node{Machine: m, cluster: c}
	if other := c.named(m.Name, m.UUID); other {
		return nil, fmt.Errorf("a Node with name %q and status \"Ready\" already exists in the cluster. You must delete the existing Node or change the name of this new joining Node", m.Name)
	}
	if m.ControlPlane {
		select {
		case c.etcdTurn <- struct{}{}:
			defer func() { <-c.etcdTurn }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// kubeadm asks all members of that moment, again and again: it does not notice that one is removed.
		for m := c.ill(); m != nil && !c.lives(m.node); {
			if !Pause(ctx, vipRetry/5) {
				return nil, ctx.Err()
			}
		}
		if !c.hasQuorum() {
			return nil, errors.New("error adding etcd member: etcdserver: request timed out")
		}
	}
	if !Pause(ctx, Seconds(settings.Join)) {
		return nil, ctx.Err()
	}
	c.mu.Lock()
	c.nodes[m.UUID] = n
	if m.ControlPlane {
		c.addMember(n)
	}
	c.mu.Unlock()
	if err := c.Up(n); err != nil {
		return n, err
	}
	c.register(n)
	return n, nil
}

func (c *Cluster) named(name, uuid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.Name == name && n.UUID != uuid && n.alive {
			return true
		}
	}
	return false
}

// Cluster that the node is part of.
func (n *Node) Cluster() *Cluster { return n.cluster }

// Up starts the node's kubelet and, on a control plane, its API server.
func (c *Cluster) Up(n *Node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.expelled {
		return errors.New("etcdserver: the member has been permanently removed from the cluster")
	}
	n.alive = true
	n.runs++
	defer func() {
		select {
		case c.cameUp <- struct{}{}:
		default: // it is told already
		}
	}()
	if !n.ControlPlane {
		return nil
	}
	certificate, err := c.authority.serve(c.servingNames(n))
	if err != nil {
		return err
	}
	address := net.JoinHostPort(n.Address, fmt.Sprint(n.Port))
	if n.server, err = c.listen(n, address, certificate); err != nil {
		n.alive = false
		return err
	}
	if n.VIP != "" && c.vip.server == nil && !c.vip.moving {
		c.takeVIP(n)
	}
	return nil
}

// Readdress is the network's news that a node has another address than it began with. Alone in its etcd it does not
// notice; for other members it is gone.
func (c *Cluster) Readdress(n *Node) {
	c.mu.Lock()
	others := len(c.members) > 1
	c.mu.Unlock()
	if n.ControlPlane && others {
		c.expel(n)
	}
}

// Down is the end of the machine's processes, whatever the reason.
func (c *Cluster) Down(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !n.alive {
		return
	}
	n.alive = false
	n.runs++
	runs := n.runs
	if n.server != nil {
		n.server.close()
		n.server = nil
	}
	if c.vip.holder == n {
		c.loseVIP()
	}
	settings := c.estate.Settings()
	time.AfterFunc(Seconds(settings.Grace), func() {
		c.mu.Lock()
		lost := !n.alive && n.runs == runs && c.nodes[n.UUID] == n
		c.mu.Unlock()
		if lost && c.hasQuorum() {
			c.lost(n)
		}
	})
}

// Destroy is the end of the machine's disk. A cluster without any control-plane machine is no more.
func (c *Cluster) Destroy(n *Node) {
	c.Down(n)
	c.mu.Lock()
	delete(c.nodes, n.UUID)
	left := false
	for _, other := range c.nodes {
		left = left || other.ControlPlane
	}
	c.mu.Unlock()
	if left {
		return
	}
	if c.end != nil {
		c.end()
	}
	c.estate.mu.Lock()
	delete(c.estate.clusters, c)
	c.estate.mu.Unlock()
}

func (c *Cluster) servingNames(n *Node) []string {
	host, _, err := net.SplitHostPort(c.Founding.Endpoint)
	if err != nil {
		host = c.Founding.Endpoint
	}
	names := []string{
		n.Name, n.Address, host, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + c.Founding.DNSDomain,
	}
	for _, name := range c.Founding.Names {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Pause waits; it tells whether the time passed before the context ended.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
