package vcenter

import (
	"crypto/subtle"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
)

// sessions knows who is logged in, beside the simulator's own session manager, which has no door for it.
type sessions struct {
	server *Server
	mu     sync.Mutex
	users  map[string]string // passwords, by name in lower case
	open   map[string]*session
	rest   map[string]*restSession // by REST session id
}

type session struct {
	key     string
	user    string
	objects *simulator.Registry // collectors, filters and views
	last    time.Time
}

func newSessions(s *Server) *sessions {
	out := &sessions{server: s, users: map[string]string{}, open: map[string]*session{}, rest: map[string]*restSession{}}
	for _, user := range s.options.Inventory.Users {
		out.users[authz.Principal(user.Name)] = user.Password
	}
	return out
}

// valid is the simulator's hook for passwords, for SOAP and REST alike.
func (s *sessions) valid(login *types.Login) bool {
	s.mu.Lock()
	password, known := s.users[authz.Principal(login.UserName)]
	s.mu.Unlock()
	return subtle.ConstantTimeCompare([]byte(password), []byte(login.Password)) == 1 && known
}

func (s *sessions) opened(ctx *simulator.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := ctx.Session.Key
	s.server.ledger.made("Session", key, "", ctx.Session.UserName)
	s.open[key] = &session{key: key, user: ctx.Session.UserName, objects: ctx.Session.Registry, last: time.Now()}
}

func (s *sessions) closed(key string) {
	s.mu.Lock()
	ended := s.open[key]
	delete(s.open, key)
	s.mu.Unlock()
	s.server.ledger.gone("Session", key, "logout")
	if ended != nil {
		s.release(ended)
	}
}

// user says whose session is open.
func (s *sessions) user(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.open[key]; known != nil {
		return known.user, true
	}
	return "", false
}

func (s *sessions) count() (soap, rest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open), len(s.rest)
}

// live says whether the session of a call may still act, and notes that it did.
func (s *sessions) live(ctx *simulator.Context) bool {
	s.mu.Lock()
	known := s.open[ctx.Session.Key]
	idle := s.idle()
	if known != nil && (idle <= 0 || time.Since(known.last) < idle) {
		known.last = time.Now()
		s.mu.Unlock()
		return true
	}
	s.mu.Unlock()
	if known != nil {
		s.end(known)
	}
	return false
}

func (s *sessions) used(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.open[key]; known != nil {
		known.last = time.Now()
	}
}

func (s *sessions) expireAll() int {
	s.mu.Lock()
	ended := make([]*session, 0, len(s.open))
	for _, one := range s.open {
		ended = append(ended, one)
	}
	count := len(ended) + len(s.rest)
	for token := range s.rest {
		s.server.ledger.gone("RestSession", token, "expired")
	}
	clear(s.rest)
	s.mu.Unlock()
	for _, one := range ended {
		s.end(one)
	}
	return count
}

// end makes the simulator forget a session and everything that belonged to it.
func (s *sessions) end(one *session) {
	s.mu.Lock()
	delete(s.open, one.key)
	s.mu.Unlock()
	s.server.ledger.gone("Session", one.key, "expired")
	ctx := s.server.internal()
	manager := s.server.registry.SessionManager()
	manager.TerminateSession(ctx, &types.TerminateSession{This: manager.Self, SessionId: []string{one.key}})
	s.release(one)
}

func (s *sessions) release(one *session) {
	for _, object := range one.objects.AllReference("") {
		if waiting, ok := object.(interface{ Abandon() }); ok {
			waiting.Abandon()
		}
		if handler, ok := object.(simulator.RegisterObject); ok {
			s.server.registry.RemoveHandler(handler)
		}
	}
}

// internal gives a context for the lab's own doings, with a lock identity of its own.
func (s *Server) internal() *simulator.Context {
	ctx := *s.service.Context
	return &ctx
}

// onBehalf gives a context that outlives the call it is made from.
func (s *Server) onBehalf(ctx *simulator.Context) *simulator.Context {
	detached := *ctx
	detached.Context = s.service.Context.Context
	if ctx.Session != nil {
		session := *ctx.Session
		detached.Session = &session
	}
	return &detached
}
