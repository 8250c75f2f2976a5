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
	restSession = "/rest/com/vmware/cis/session"
	apiSession  = "/api/session"
	restToken   = "vmware-api-session-id"
)

// rest passes on what the simulator knows, which is /rest; sessions over /api are translated to it.
func (f *front) rest(w http.ResponseWriter, r *http.Request) {
	name := r.Method + " " + r.URL.Path
	f.server.Counters.called(name)
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
		request.URL.Path = restSession
	}
	login := request.URL.Path == restSession && r.Method == http.MethodPost && r.URL.Query().Get("~action") == ""
	token := restTokenOf(r)
	if !login && !f.server.sessions.restLive(token) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}

	answer := &answer{header: http.Header{}, status: http.StatusOK}
	f.next.ServeHTTP(answer, request)
	var value struct {
		Value string `json:"value"`
	}
	if request.URL.Path == restSession && answer.status/100 == 2 {
		switch r.Method {
		case http.MethodPost:
			if login && json.Unmarshal(answer.body.Bytes(), &value) == nil {
				f.server.sessions.restOpened(value.Value)
			}
		case http.MethodDelete:
			f.server.sessions.restClosed(token)
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

func (s *sessions) restOpened(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest[token] = time.Now()
}

func (s *sessions) restClosed(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rest, token)
}

func (s *sessions) restLive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.rest[token]
	if idle := s.server.options.SessionIdle; known && idle > 0 && time.Since(last) >= idle {
		delete(s.rest, token)
		return false
	}
	if known {
		s.rest[token] = time.Now()
	}
	return known
}
