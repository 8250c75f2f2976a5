// Package vcenter makes govmomi's simulator behave like a real vCenter where the lab depends on it.
//
// The simulator keeps its own objects. Calls on virtual machines, the session manager and a few others
// are redirected, by Registry.Handler, to objects of this package that embed the simulator's.
package vcenter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	vapi "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
	"lab-vcenter/internal/collector"
	"lab-vcenter/internal/hypervisor"
	"lab-vcenter/internal/inventory"
)

type ref = types.ManagedObjectReference

// Options of a server.
type Options struct {
	Listen       string
	Certificate  tls.Certificate
	Inventory    *inventory.Spec
	Issue        func(newAuthority bool) (tls.Certificate, string, error) // another certificate, and its authority's file
	Datastores   string                                                   // folder for the simulator's datastore files
	Hypervisor   *hypervisor.Client
	SessionIdle  time.Duration // 0: sessions never expire
	SessionLimit int           // 0: any number
	TaskTime     time.Duration // least duration of a task that copies or moves something
}

// Server is one simulated vCenter.
type Server struct {
	options  Options
	service  *simulator.Service
	registry *simulator.Registry
	policy   *authz.Policy
	handler  http.Handler

	Counters *Counters
	Faults   *Faults
	events   *recorder
	ledger   *ledger
	limits   *limits
	sessions *sessions
	tasks    *tasks
	machines *machines
	uploads  uploads
	leases   *leases
	policies *policies
	reserved *reservations
	hub      *collector.Hub
	content  types.ServiceContent

	anonymous *collector.Collector // for what may be read before a login

	mu      sync.Mutex
	address string // fixed after the first listen, so that a restart has the same
	http    *http.Server
	closed  bool
}

// New builds the inventory and everything else, but does not listen yet.
func New(options Options) (*Server, error) {
	built, err := inventory.Build(options.Inventory, options.Datastores)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:  options,
		service:  built.Service,
		registry: built.Service.Context.Map,
		Counters: newCounters(),
		Faults:   newFaults(),
	}
	s.content = s.registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content
	s.limits = newLimits(options)
	s.policies = &policies{server: s, list: options.Inventory.StoragePolicies, of: map[ref]map[string]string{}}
	s.sessions = newSessions(s)
	if err := s.newPolicy(options.Inventory); err != nil {
		return nil, err
	}
	s.ledger = newLedger(s)
	s.tasks = newTasks(s)
	s.machines = newMachines(s, built.Images)
	s.reserved = newReservations(s)
	s.leases = newLeases(s)
	if s.events, err = newRecorder(s); err != nil {
		return nil, err
	}
	s.hub = collector.NewHub(s.registry, guard{s}, s.machines.nameClaimed)
	s.policy.OnChange(s.permissionsChanged)
	s.permissionsChanged()
	s.anonymous = collector.New(s.hub, s.content.PropertyCollector)
	s.registry.Cookie = cookie
	s.registry.Handler = s.dispatch
	return s, nil
}

// Start listens and serves until Close.
func (s *Server) Start() error {
	return s.listen(s.options.Listen)
}

// URL is where SOAP is served.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "https://" + s.address + vim25.Path
}

func (s *Server) listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(http.ErrServerClosed, listener.Close())
	}
	if s.handler == nil {
		s.address = listener.Addr().String()
		s.handler = s.routes()
	}
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.options.Certificate}, MinVersion: tls.VersionTLS12},
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1: one call at a time per connection
		ConnState:         s.Counters.connection,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // broken handshakes of clients are their own affair
	}
	s.http = server
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("serving %s ended: %v", address, err)
		}
	}()
	return nil
}

// routes registers SOAP and REST; it runs once, when the address is known.
func (s *Server) routes() http.Handler {
	at := &url.URL{
		Scheme: "https", Host: s.address, Path: vim25.Path,
		User: url.UserPassword("never", "used"), // not the simulator's default, which would let everyone in
	}
	s.service.Listen = at
	s.service.RegisterSDK(s.registry, vim25.Path+"/vimService")
	manager := s.registry.SessionManager()
	manager.ServiceHostName = s.address
	manager.ValidLogin = s.sessions.valid

	s.policies.register()
	mux := s.service.ServeMux
	mux.HandleFunc(vim25.Path+"/vimServiceVersions.xml", s.serviceVersions)
	mux.HandleFunc("/folder/", s.service.ServeDatastore)
	patterns, rest := vapi.New(at, s.registry)
	for _, pattern := range patterns {
		s.service.Handle(pattern, rest)
	}
	return &front{server: s, next: mux}
}

// Restart closes the port for a while: sessions, collectors, views and running tasks are lost,
// the inventory and powered-on machines are kept.
func (s *Server) Restart(pause time.Duration) error {
	s.mu.Lock()
	server, address := s.http, s.address
	s.http = nil
	s.mu.Unlock()
	if server == nil {
		return errors.New("the vCenter is restarting already")
	}
	if err := server.Close(); err != nil {
		return err
	}
	s.sessions.expireAll()
	s.tasks.forgetAll()
	go func() {
		time.Sleep(pause)
		for attempt := 0; ; attempt++ {
			err := s.listen(address)
			if err == nil || errors.Is(err, http.ErrServerClosed) {
				return
			}
			if attempt == 50 {
				log.Printf("restart: %v", err)
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	return nil
}

// Healthy says whether SOAP answers.
func (s *Server) Healthy(ctx context.Context) error {
	s.mu.Lock()
	up := s.http != nil
	s.mu.Unlock()
	if !up {
		return errors.New("the port is closed")
	}
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // asks itself
	conn, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// ExpireSessions ends every session now.
func (s *Server) ExpireSessions() int { return s.sessions.expireAll() }

// Close ends the server; running tasks are abandoned.
func (s *Server) Close() error {
	s.mu.Lock()
	server := s.http
	s.http, s.closed = nil, true
	s.mu.Unlock()
	s.leases.host.close()
	if server == nil {
		return nil
	}
	return server.Close()
}
