package vcenter

import (
	"context"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// What a fault rule does to a call.
const (
	DropAnswer = "dropAnswer" // the call runs, the connection is closed without an answer
	DieBefore  = "dieBefore"  // the connection is closed, the call does not run
	Fail       = "fail"       // the call, or with Late its task, fails with a named fault
	Delay      = "delay"      // the call runs after some seconds
	Truncate   = "truncate"   // the call runs, half of the answer is sent before the connection is closed
	Stall      = "stall"      // the call runs, half of the answer is sent, and nothing more until the client hangs up
	Status     = "status"     // the call does not run: the proxy in front answers with a status and a page of HTML
)

// Rule is one injected fault, as POST /faults takes it.
type Rule struct {
	Method  string  `json:"method,omitempty"` // empty or "*": any
	At      string  `json:"at,omitempty"`     // "call": the N-th call from now, of any method
	N       int     `json:"n,omitempty"`
	Action  string  `json:"action"`
	Fault   string  `json:"fault,omitempty"`
	Message string  `json:"message,omitempty"`
	Count   int     `json:"count,omitempty"` // how often; default once, negative: always
	After   int     `json:"after,omitempty"` // matching calls to let pass first
	Seconds float64 `json:"seconds,omitempty"`
	Late    bool    `json:"late,omitempty"` // fail the task instead of the call

	Status     int `json:"status,omitempty"`     // of HTTP; 503 by default
	RetryAfter int `json:"retryAfter,omitempty"` // seconds that the proxy asks for; 0: it does not say

	Probability float64 `json:"probability,omitempty"` // of acting on a call that is due; 0: always
	Seed        uint64  `json:"seed,omitempty"`        // of the chances; the same seed acts on the same calls
}

type rule struct {
	Rule
	passed, done int
	chance       *rand.Rand
}

// Faults are the rules in force.
type Faults struct {
	mu    sync.Mutex
	rules []*rule
	hits  int
}

func newFaults() *Faults { return new(Faults) }

// Add puts a rule into force.
func (f *Faults) Add(r Rule) error {
	if !slices.Contains([]string{DropAnswer, DieBefore, Fail, Delay, Truncate, Stall, Status}, r.Action) {
		return fmt.Errorf("action %q: it is dropAnswer, dieBefore, fail, delay, truncate, stall or status", r.Action)
	}
	if r.Status == 0 {
		r.Status = http.StatusServiceUnavailable
	}
	if r.Action == Status && r.Message == "" {
		r.Message = "No service answers behind this proxy: are they starting?"
	}
	if r.Status < 400 || r.Status > 599 || r.RetryAfter < 0 {
		return fmt.Errorf("status %d, retryAfter %d: an error's status, and seconds", r.Status, r.RetryAfter)
	}
	switch {
	case r.At == "call" && r.N >= 1:
		r.After, r.Method, r.Count = r.N-1, "*", 1
	case r.At != "":
		return fmt.Errorf(`at %q, n %d: only "call" with n from 1 on is known`, r.At, r.N)
	case r.Method == "":
		r.Method = "*"
	}
	if r.Probability < 0 || r.Probability > 1 {
		return fmt.Errorf("probability %v: it is from 0 to 1", r.Probability)
	}
	switch {
	case r.Count != 0:
	case r.Probability > 0:
		r.Count = -1 // chances are for as long as they are not cleared
	default:
		r.Count = 1
	}
	if r.Action == Fail {
		if _, err := newFault(r.Fault); err != nil {
			return err
		}
	}
	if r.Action == Delay && r.Seconds <= 0 {
		return fmt.Errorf("seconds %v: a delay needs some", r.Seconds)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{Rule: r, chance: rand.New(rand.NewPCG(r.Seed, 0))}) //nolint:gosec // to be played again
	return nil
}

// Clear takes all rules out of force.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Listed gives the rules in force and how often one has acted since the start.
func (f *Faults) Listed() ([]Rule, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []Rule{}
	for _, r := range f.rules {
		if r.Count < 0 || r.done < r.Count {
			out = append(out, r.Rule)
		}
	}
	return out, f.hits
}

// match finds the rule for a call. Every rule counts the calls that match it; the first one due acts.
func (f *Faults) match(method string) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	var due *rule
	for _, r := range f.rules {
		if r.Method != "*" && r.Method != method || r.Count >= 0 && r.done >= r.Count {
			continue
		}
		r.passed++
		// Each rule draws for each of its calls, so that what others do does not change its chances.
		lucky := r.Probability == 0 || r.chance.Float64() < r.Probability
		if due == nil && r.passed > r.After && lucky {
			r.done++
			f.hits++
			due = r
		}
	}
	return due
}

func (r *rule) wait(ctx context.Context) {
	if r.Seconds <= 0 {
		return
	}
	timer := time.NewTimer(time.Duration(r.Seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// turnAway answers as the proxy in front of vCenter's services does while they start.
func (r *rule) turnAway(w http.ResponseWriter) {
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.RetryAfter))
	}
	turnedAway(w, r.Status, r.text())
}

func turnedAway(w http.ResponseWriter, status int, said string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	_, _ = fmt.Fprintf(w, "<html><head><title>%s</title></head><body><h1>%s</h1><p>%s</p></body></html>\n", title, title, html.EscapeString(said))
}

// spoiled sends half of an answer that was announced whole; then it hangs up, or leaves that to the client.
func (r *rule) spoiled(w http.ResponseWriter, request *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	if r.Action == Stall {
		<-request.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

// spoils is true for what is done to an answer.
func (r *rule) spoils() bool { return r != nil && (r.Action == Truncate || r.Action == Stall) }

func (r *rule) text() string {
	if r.Message != "" {
		return r.Message
	}
	return "injected by the lab: " + message(r.Fault)
}

// newFault makes a fault by its name in the API reference.
func newFault(name string) (types.BaseMethodFault, error) {
	if kind, ok := types.TypeFunc()(name); ok {
		if fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault); ok {
			return fault, nil
		}
	}
	return nil, fmt.Errorf("fault %q: the vSphere API has none of that name", name)
}
