package vcenter

import (
	"maps"
	"net"
	"net/http"
	"sync"
)

// Counters count what clients do, until reset.
type Counters struct {
	mu      sync.Mutex
	calls   map[string]int
	logins  int
	logouts int
	rest    struct{ logins, logouts int }
	returns int
	opened  int
	conns   map[net.Conn]bool
}

// Counted is what GET /counters answers.
type Counted struct {
	Calls    map[string]int `json:"calls"`
	Sessions struct {
		Open    int `json:"open"`
		Logins  int `json:"logins"`
		Logouts int `json:"logouts"`
	} `json:"sessions"`
	RestSessions struct {
		Open    int `json:"open"`
		Logins  int `json:"logins"`
		Logouts int `json:"logouts"`
	} `json:"restSessions"`
	Connections struct {
		Open   int `json:"open"`
		Opened int `json:"opened"`
	} `json:"connections"`
	Updates struct {
		Returns int `json:"returns"`
	} `json:"updates"`
}

func newCounters() *Counters {
	return &Counters{calls: map[string]int{}, conns: map[net.Conn]bool{}}
}

func (c *Counters) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *Counters) called(method string) { c.with(func() { c.calls[method]++ }) }
func (c *Counters) login()               { c.with(func() { c.logins++ }) }
func (c *Counters) logout()              { c.with(func() { c.logouts++ }) }
func (c *Counters) restLogin()           { c.with(func() { c.rest.logins++ }) }
func (c *Counters) restLogout()          { c.with(func() { c.rest.logouts++ }) }
func (c *Counters) update()              { c.with(func() { c.returns++ }) }

// connection is the HTTP server's ConnState hook.
func (c *Counters) connection(conn net.Conn, state http.ConnState) {
	c.with(func() {
		switch state {
		case http.StateNew:
			c.opened++
			c.conns[conn] = true
		case http.StateClosed, http.StateHijacked:
			delete(c.conns, conn)
		}
	})
}

// Reset sets every count to zero; what is open stays open.
func (c *Counters) Reset() {
	c.with(func() {
		clear(c.calls)
		c.logins, c.logouts, c.returns, c.opened = 0, 0, 0, 0
		c.rest.logins, c.rest.logouts = 0, 0
	})
}

// Counted gives the counts.
func (s *Server) Counted() Counted {
	var out Counted
	c := s.Counters
	c.with(func() {
		out.Calls = maps.Clone(c.calls)
		out.Sessions.Logins, out.Sessions.Logouts = c.logins, c.logouts
		out.RestSessions.Logins, out.RestSessions.Logouts = c.rest.logins, c.rest.logouts
		out.Connections.Open, out.Connections.Opened = len(c.conns), c.opened
		out.Updates.Returns = c.returns
	})
	out.Sessions.Open, out.RestSessions.Open = s.sessions.count()
	return out
}
