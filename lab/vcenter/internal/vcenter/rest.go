package vcenter

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	restLogin  = "/rest/com/vmware/cis/session"
	apiSession = "/api/session"
	restToken  = "vmware-api-session-id"
)

// rest passes on what the simulator knows, which is /rest; sessions over /api are translated to it.
func (f *front) rest(w http.ResponseWriter, r *http.Request) {
	name := r.Method + " " + r.URL.Path
	f.server.Counters.called(name)
	if strings.HasPrefix(r.URL.Path, "/api/") && !f.server.speaks("7.0.0.0") {
		http.NotFound(w, r) // 6.7 has /rest only
		return
	}
	act := f.server.Faults.match(name)
	if act != nil {
		act.wait(r.Context())
		switch act.Action {
		case DieBefore:
			panic(http.ErrAbortHandler)
		case Fail:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	api := r.URL.Path == apiSession
	request := r.Clone(r.Context())
	if api {
		request.URL.Path = restLogin
	}
	login := request.URL.Path == restLogin && r.Method == http.MethodPost && r.URL.Query().Get("~action") == ""
	token := restTokenOf(r)
	if !login && !f.server.sessions.restLive(token) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}

	if login && f.server.sessions.full(true) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	if privilege := f.server.taggingDenied(request, f.server.sessions.restUser(token), sent); privilege != "" {
		unauthorized(w, privilege)
		return
	}
	request.Body = io.NopCloser(bytes.NewReader(sent))
	answer := &answer{header: http.Header{}, status: http.StatusOK}
	f.next.ServeHTTP(answer, request)
	if answer.status/100 == 2 {
		f.server.ledger.tagging(request, f.server.sessions.restUser(token), sent, answer.body.Bytes())
	}
	var value struct {
		Value string `json:"value"`
	}
	if request.URL.Path == restLogin && answer.status/100 == 2 {
		switch r.Method {
		case http.MethodPost:
			if login && json.Unmarshal(answer.body.Bytes(), &value) == nil {
				user, _, _ := r.BasicAuth()
				f.server.sessions.restOpened(value.Value, user)
				f.server.Counters.restLogin()
			}
		case http.MethodDelete:
			f.server.sessions.restClosed(token)
			f.server.Counters.restLogout()
		}
	}
	if api && answer.status/100 == 2 {
		switch r.Method {
		case http.MethodPost:
			answer.status = http.StatusCreated
			answer.body = *bytes.NewBufferString(`"` + value.Value + `"`)
		case http.MethodDelete:
			answer.status = http.StatusNoContent
			answer.body.Reset()
		}
	}
	if act != nil && act.Action == DropAnswer {
		panic(http.ErrAbortHandler)
	}
	for key, values := range answer.header {
		w.Header()[key] = values
	}
	w.Header().Del("Content-Length")
	if act != nil && act.Action == Truncate {
		truncated(w, answer.status, answer.body.Bytes())
	}
	w.WriteHeader(answer.status)
	_, _ = io.Copy(w, &answer.body)
}

func restTokenOf(r *http.Request) string {
	if token := r.Header.Get(restToken); token != "" {
		return token
	}
	if sent, err := r.Cookie(restToken); err == nil {
		return strings.Trim(sent.Value, `"`)
	}
	return ""
}

// restSession is one over REST.
type restSession struct {
	user string
	last time.Time
}

func (s *sessions) restOpened(token, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest[token] = &restSession{user: user, last: time.Now()}
	s.server.ledger.made("RestSession", token, "", user)
}

func (s *sessions) restUser(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.rest[token]; known != nil {
		return known.user
	}
	return ""
}

func (s *sessions) restClosed(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rest, token)
	s.server.ledger.gone("RestSession", token, "logout")
}

func (s *sessions) restLive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.rest[token]
	if known == nil {
		return false
	}
	if idle := s.idle(); idle > 0 && time.Since(known.last) >= idle {
		delete(s.rest, token)
		s.server.ledger.gone("RestSession", token, "expired")
		return false
	}
	known.last = time.Now()
	return true
}
