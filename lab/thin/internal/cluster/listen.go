package cluster

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// apiServer is one address at which a cluster's API is served.
type apiServer struct {
	node        *Node
	address     string
	certificate tls.Certificate
	http        *http.Server
}

var quiet = log.New(io.Discard, "", 0) // clients that do not trust us are no news

func (c *Cluster) listen(n *Node, address string, certificate tls.Certificate) (*apiServer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &apiServer{node: n, address: address, certificate: certificate}
	s.http = &http.Server{
		Handler:           c.Server,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       3 * time.Minute,
		ErrorLog:          quiet,
		ConnState:         c.estate.track,
		// As a real API server: it asks for a certificate and answers 401 to a wrong one.
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert,
			NextProtos: []string{"h2", "http/1.1"},
		},
	}
	go func() {
		if err := s.http.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("%s: API server at %s: %v", n.Name, address, err)
		}
	}()
	e := c.estate
	e.mu.Lock()
	e.servers[address] = s
	e.changed()
	e.mu.Unlock()
	return s, nil
}

// close cuts all connections, as the end of the process would.
func (s *apiServer) close() {
	e := s.node.cluster.estate
	e.mu.Lock()
	if e.servers[s.address] == s {
		delete(e.servers, s.address)
		e.changed()
	}
	e.mu.Unlock()
	_ = s.http.Close() // the listener is gone whatever it says
}

// virtual is the address that kube-vip moves between control planes.
type virtual struct {
	address string
	holder  *Node
	server  *apiServer
	moving  bool
}

const vipRetry = time.Second

// takeVIP gives the address to a node. The caller holds c.mu.
func (c *Cluster) takeVIP(n *Node) {
	c.vip.address = n.VIP
	server, err := c.listen(n, n.VIP, n.server.certificate)
	if err != nil {
		log.Printf("%s: virtual address %s: %v", n.Name, n.VIP, err)
		c.elect(vipRetry)
		return
	}
	c.vip.server, c.vip.holder = server, n
	c.tellMoved(n, true)
}

// loseVIP ends the holder's hold. The caller holds c.mu.
func (c *Cluster) loseVIP() {
	holder := c.vip.holder
	c.vip.server.close()
	c.vip.server, c.vip.holder = nil, nil
	c.tellMoved(holder, false)
	c.elect(Seconds(c.estate.Settings().VIP))
}

// elect makes another control plane take the address after a time. The caller holds c.mu.
func (c *Cluster) elect(after time.Duration) {
	c.vip.moving = true
	time.AfterFunc(after, func() {
		quorum := c.hasQuorum() // the lease lies in etcd
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.vip.server != nil {
			c.vip.moving = false
			return
		}
		waiting := false
		for _, n := range c.nodes {
			if n.VIP == "" || !n.alive || n.server == nil {
				continue
			}
			if quorum {
				c.vip.moving = false
				c.takeVIP(n)
				return
			}
			waiting = true
		}
		c.vip.moving = false
		if waiting {
			c.elect(vipRetry)
		}
	})
}

func (c *Cluster) tellMoved(n *Node, holds bool) {
	if c.estate.Moved == nil {
		return
	}
	host, _, err := net.SplitHostPort(c.vip.address)
	if err == nil {
		go c.estate.Moved(n.UUID, host, holds)
	}
}
