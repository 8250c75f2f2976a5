// Package cluster is what stands behind thin guests: control planes, etcd's membership, kubelets, the virtual
// address, and the few controllers without which a node would not look alive.
package cluster

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Settings are the times that things take, in seconds.
type Settings struct {
	Boot  float64 `json:"bootSeconds"`  // power on until cloud-init runs
	Init  float64 `json:"initSeconds"`  // kubeadm init
	Join  float64 `json:"joinSeconds"`  // kubeadm join
	Ready float64 `json:"readySeconds"` // CNI configured until the node is Ready
	Stop  float64 `json:"stopSeconds"`  // a pod's end
	Grace float64 `json:"graceSeconds"` // silence of a kubelet until its node counts as lost
	VIP   float64 `json:"vipSeconds"`   // loss of the virtual address until another holds it
	Retry float64 `json:"retrySeconds"` // until systemd starts the boot script again
}

// Defaults take no time, except for what a controller must be able to see.
func Defaults() Settings { return Settings{Grace: 40, VIP: 5, Retry: 20} }

// Seconds is a setting as a duration.
func Seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// Estate is every cluster of this process.
type Estate struct {
	mu       sync.Mutex
	clusters map[*Cluster]bool
	servers  map[string]*apiServer // who listens at host:port
	news     chan struct{}
	settings Settings
	requests map[string]int

	// Moved tells that a machine took or lost the virtual address.
	Moved func(uuid string, address string, holds bool)

	opened atomic.Int64
	open   atomic.Int64
}

// NewEstate has no cluster yet.
func NewEstate() *Estate {
	return &Estate{
		clusters: map[*Cluster]bool{}, servers: map[string]*apiServer{}, news: make(chan struct{}),
		settings: Defaults(), requests: map[string]int{},
	}
}

// Settings as they are now.
func (e *Estate) Settings() Settings {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.settings
}

// Set changes the times of what begins from now on.
func (e *Estate) Set(settings Settings) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settings = settings
}

// Counted are requests to API servers by verb and resource, and connections.
func (e *Estate) Counted(reset bool) map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := make(map[string]int, len(e.requests))
	for name, n := range e.requests {
		calls[name] = n
	}
	counted := map[string]any{
		"calls": calls, "clusters": len(e.clusters),
		"connections": map[string]int64{"open": e.open.Load(), "opened": e.opened.Load()},
	}
	if reset {
		e.requests = map[string]int{}
		e.opened.Store(0)
	}
	return counted
}

func (e *Estate) count(verb, resource string) {
	e.mu.Lock()
	e.requests[verb+" "+resource]++
	e.mu.Unlock()
}

// Changed is closed when an API server came or went.
func (e *Estate) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.news
}

func (e *Estate) changed() { // e.mu is held
	close(e.news)
	e.news = make(chan struct{})
}

// Answer of an API server to a machine that is not in its cluster yet.
type Answer struct {
	Code int
	Body []byte
	Why  string          // there is no answer: curl's reason, in the boot script's words
	Next <-chan struct{} // closed when another answer may be had
	At   *Cluster        // who answered
}

// Ask sends a request to the API server at a URL, with the authority that the machine trusts and its token.
func (e *Estate) Ask(server, authority, token, method, path string, body []byte) Answer {
	e.mu.Lock()
	next := e.news
	at, err := url.Parse(server)
	var s *apiServer
	if err == nil {
		s = e.servers[at.Host]
	}
	e.mu.Unlock()
	if s == nil {
		return Answer{Why: "no answer", Next: next}
	}
	c := s.node.cluster
	changed := c.Server.Store.Changed()
	trusted, err := ReadCertificate(authority)
	if err != nil || !bytes.Equal(trusted.RawSubjectPublicKeyInfo, c.authority.Certificate.RawSubjectPublicKeyInfo) {
		return Answer{Why: "its certificate is not of this cluster's authority", Next: next}
	}
	code, answer := c.Server.Ask(token, method, path, body)
	return Answer{Code: code, Body: answer, Next: changed, At: c}
}

// track counts connections.
func (e *Estate) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		e.opened.Add(1)
		e.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		e.open.Add(-1)
	}
}

// Clusters are those that have a control-plane machine.
func (e *Estate) Clusters() []*Cluster {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*Cluster
	for c := range e.clusters {
		all = append(all, c)
	}
	return all
}
