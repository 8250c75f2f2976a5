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

// rest passes on what the simulator knows, which is /rest; sessions and tagging over /api are translated to it.
func (f *front) rest(w http.ResponseWriter, r *http.Request) {
	name := callName(r)
	f.server.Counters.called(name)
	if strings.HasPrefix(r.URL.Path, "/api/") && !f.server.speaks("7.0.2.0") {
		http.NotFound(w, r) // before 7.0 Update 2 there was /rest only
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
		case Status:
			act.turnAway(w)
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
		refused(w, http.StatusServiceUnavailable, "service_unavailable", nil, f.server.sessions.limitText())
		return
	}
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	apiTagging := strings.HasPrefix(r.URL.Path, apiTaggingPath)
	if apiTagging {
		sent = fromAPI(request, sent)
	}
	user := f.server.sessions.restUser(token)
	answer := &answer{header: http.Header{}, status: http.StatusOK}
	f.answerREST(answer, request, sent, user)
	if apiTagging {
		answer.toAPI(r.Method, r.URL.Query().Get("action"))
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
	if act.spoils() {
		act.spoiled(w, r, answer.status, answer.body.Bytes())
	}
	w.WriteHeader(answer.status)
	_, _ = io.Copy(w, &answer.body)
}

// answerREST lets the simulator answer what it may and should; request and answer are as under /rest.
func (f *front) answerREST(w *answer, request *http.Request, sent []byte, user string) {
	tagging := tagRequestOf(request, sent)
	if tagging != nil {
		if privilege := f.server.taggingDenied(tagging, user); privilege != "" {
			refused(w, http.StatusForbidden, "unauthorized", []string{privilege}, "Unable to authorize user: it lacks "+privilege+".")
			return
		}
		if why := f.misfit(tagging); why != "" {
			refused(w, http.StatusBadRequest, "invalid_argument", nil, why)
			return
		}
	}
	content := contentRequestOf(request, sent)
	if content != nil {
		if privilege := f.server.contentDenied(content, user); privilege != "" {
			refused(w, http.StatusForbidden, "unauthorized", []string{privilege}, "Unable to authorize user: it lacks "+privilege+".")
			return
		}
		if why := f.contentMisfit(content); why != "" {
			refused(w, http.StatusBadRequest, "invalid_argument", nil, why)
			return
		}
	}
	if strings.HasPrefix(request.URL.Path, ovfPath) {
		f.ovf(w, request, sent, user)
		return
	}
	request.Body = io.NopCloser(bytes.NewReader(sent))
	request.ContentLength = int64(len(sent))
	f.next.ServeHTTP(w, request)
	if w.status/100 == 2 && content != nil {
		f.server.ledger.content(content, user, w.body.Bytes())
	}
	if w.status/100 == 2 && strings.HasPrefix(request.URL.Path, uploadPath) {
		f.server.uploads.took(request, len(sent))
	}
	if w.status/100 == 2 && tagging != nil {
		f.server.ledger.tagging(request, user, sent, w.body.Bytes())
		hidden := f.server.hidden(tagging, user, w.body.Bytes())
		w.body = *bytes.NewBuffer(hidden)
	}
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
