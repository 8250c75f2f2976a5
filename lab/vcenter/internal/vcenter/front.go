package vcenter

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
)

// call is one SOAP request on its way through.
type call struct {
	ctx     context.Context // ends when the client hangs up or the port closes
	method  string
	version string             // of the API that the client speaks
	fault   *rule              // to be raised by dispatch
	context *simulator.Context // the simulator's, once it has looked at the cookie
	text    string             // of the fault that dispatch raises
	this    ref                // the object called
	writes  bool               // it is of the inventory, so the call may have changed it
}

// callKey finds the call in a simulator context.
type callKey struct{}

// inFlight hands calls over to the simulator, which makes its contexts itself: the only door into them
// is the session cookie, so the call's number travels behind the session key.
var inFlight struct {
	sync.Mutex
	next  uint64
	calls map[string]*call
}

const cookieMark = "!"

func enter(c *call) string {
	inFlight.Lock()
	defer inFlight.Unlock()
	if inFlight.calls == nil {
		inFlight.calls = map[string]*call{}
	}
	inFlight.next++
	id := cookieMark + formatUint(inFlight.next)
	inFlight.calls[id] = c
	return id
}

func leave(id string) {
	inFlight.Lock()
	defer inFlight.Unlock()
	delete(inFlight.calls, id)
}

// cookie is the simulator's Registry.Cookie: it gives the session key and ties the call to the context.
func cookie(ctx *simulator.Context) string {
	value := simulator.HTTPCookie(ctx)
	at := strings.Index(value, cookieMark)
	if at < 0 {
		return value
	}
	inFlight.Lock()
	c := inFlight.calls[value[at:]]
	inFlight.Unlock()
	if c != nil {
		c.context = ctx
		ctx.Context = context.WithValue(c.ctx, callKey{}, c)
	}
	return value[:at]
}

// callOf gives the call that a simulator context serves; nil for calls from inside.
func callOf(ctx *simulator.Context) *call {
	if ctx.Context == nil {
		return nil
	}
	c, _ := ctx.Context.Value(callKey{}).(*call)
	return c
}

// front sees every request before the simulator does.
type front struct {
	server *Server
	next   http.Handler
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case (strings.HasPrefix(r.URL.Path, vim25.Path) || strings.HasPrefix(r.URL.Path, pbm.Path)) && r.Method == http.MethodPost:
		f.soap(w, r)
	case strings.HasPrefix(r.URL.Path, "/rest/"), strings.HasPrefix(r.URL.Path, "/api/"):
		f.rest(w, r)
	case strings.HasPrefix(r.URL.Path, nfcPath):
		f.server.leases.ServeHTTP(w, r)
	default:
		f.next.ServeHTTP(w, r)
	}
}

func (f *front) soap(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	c := &call{ctx: r.Context(), method: methodOf(body), version: clientVersion(r)}
	f.server.Counters.called(c.method)

	act := f.server.Faults.match(c.method)
	if act != nil {
		act.wait(r.Context())
		switch act.Action {
		case DieBefore:
			panic(http.ErrAbortHandler) // closes the connection without an answer
		case Fail:
			c.fault = act
		case Status:
			act.turnAway(w)
			return
		}
	}

	key := ""
	if sent, err := r.Cookie(soap.SessionCookieName); err == nil {
		key = strings.Trim(sent.Value, `"`)
	}
	if f.server.sessions.refuses(c.method, key) {
		turnedAway(w, http.StatusServiceUnavailable, "out of HTTP sessions")
		return
	}
	id := enter(c)
	defer leave(id)
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.Header.Set("Cookie", soap.SessionCookieName+"="+key+id)

	answer := &answer{header: w.Header(), status: http.StatusOK}
	f.next.ServeHTTP(answer, request)
	request.Body = http.NoBody // the simulator's history of tasks holds on to requests
	f.server.finished(c, answer)

	if act != nil && act.Action == DropAnswer || r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
	if act.spoils() {
		act.spoiled(w, r, answer.status, localized(answer, c.text))
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(localized(answer, c.text))
}

// answer keeps what the simulator writes until it is decided whether the client gets it.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header            { return a.header }
func (a *answer) WriteHeader(status int)         { a.status = status }
func (a *answer) Write(data []byte) (int, error) { return a.body.Write(data) }

// methodOf finds the name of the first element in the SOAP body.
func methodOf(body []byte) string {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	inBody := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return "?"
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case inBody:
			return start.Name.Local
		case start.Name.Local == "Body":
			inBody = true
		case start.Name.Local == "Header":
			if errors.Is(decoder.Skip(), io.EOF) {
				return "?"
			}
		}
	}
}

var (
	emptyString = []byte("<faultstring></faultstring>")
	faultDetail = []byte(` xsi:type="`)
)

// localized gives each fault the text that a real vCenter always sends along.
func localized(a *answer, said string) []byte {
	text := a.body.Bytes()
	if a.status != http.StatusInternalServerError || !bytes.Contains(text, emptyString) {
		return text
	}
	if said == "" {
		said = "fault"
		if _, after, ok := bytes.Cut(text, faultDetail); ok {
			if name, _, ok := bytes.Cut(after, []byte(`"`)); ok {
				said = message(string(name))
			}
		}
	}
	filled := bytes.NewBufferString("<faultstring>")
	_ = xml.EscapeText(filled, []byte(said))
	filled.WriteString("</faultstring>")
	return bytes.Replace(text, emptyString, filled.Bytes(), 1)
}

// finished books what a call did to the sessions and counters.
func (s *Server) finished(c *call, a *answer) {
	ok := a.status == http.StatusOK
	if c.context != nil && c.context.Session != nil {
		s.sessions.used(c.context.Session.Key) // a session that waits for updates is not idle
	}
	if c.writes {
		s.hub.Touch(c.this) // the simulator does not announce all that it changes
	}
	if c.this.Type == "ClusterComputeResource" && c.context != nil && c.context.Session != nil {
		s.ledger.clusters(c.context.Session.UserName)
	}
	switch c.method {
	case "Login", "LoginByToken", "LoginExtensionByCertificate", "CloneSession":
		if ok && c.context != nil && c.context.Session != nil {
			s.sessions.opened(c.context)
			s.Counters.login()
		}
	case "Logout":
		if ok && c.context != nil && c.context.Session != nil {
			s.sessions.closed(c.context.Session.Key)
			s.Counters.logout()
		}
	case "WaitForUpdatesEx", "WaitForUpdates":
		if ok {
			s.Counters.update()
		}
	}
}

// typeName of a fault or event, as in the API reference.
func typeName(v any) string {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}
