// Package uplink carries what guests say to the vCenter's control socket: at once, or as soon as vCenter is back.
//
// Reports of one machine are merged while they wait: the last word on each key counts.
package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	atOnce                = 8
	firstPause, lastPause = 100 * time.Millisecond, 2 * time.Second
	patience              = 10 * time.Second
	statePath, valuesPath = "/state", "/guestinfo"
	powerPath             = "/power"
)

// State is the tools' report.
type State struct {
	HostName     string `json:"hostName"`
	ToolsRunning bool   `json:"toolsRunning"`
	NICs         []NIC  `json:"nics"`
}

// NIC is one adapter with its addresses.
type NIC struct {
	MAC string   `json:"mac"`
	IPs []string `json:"ips"`
}

type report struct {
	guestinfo map[string]string
	state     *State
	power     string
}

func (r *report) under(newer *report) *report {
	merged := &report{guestinfo: map[string]string{}, state: r.state, power: r.power}
	maps.Copy(merged.guestinfo, r.guestinfo)
	maps.Copy(merged.guestinfo, newer.guestinfo)
	if newer.state != nil {
		merged.state = newer.state
	}
	if newer.power != "" {
		merged.power = newer.power
	}
	return merged
}

// Uplink is the way to one vCenter.
type Uplink struct {
	http    *http.Client
	places  chan struct{}
	mu      sync.Mutex
	waiting map[string]*report
	sending map[string]bool
}

// New does not connect yet.
func New(socket string) *Uplink {
	dialer := new(net.Dialer)
	return &Uplink{
		http: &http.Client{Timeout: patience, Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
			MaxIdleConnsPerHost: atOnce,
		}},
		places: make(chan struct{}, atOnce), waiting: map[string]*report{}, sending: map[string]bool{},
	}
}

// Guestinfo that the guest wrote.
func (u *Uplink) Guestinfo(uuid string, values map[string]string) {
	u.add(uuid, &report{guestinfo: values})
}

// State of the guest's tools.
func (u *Uplink) State(uuid string, state State) { u.add(uuid, &report{state: &state}) }

// Power that the machine changed by itself.
func (u *Uplink) Power(uuid, power string) { u.add(uuid, &report{power: power}) }

// Forget a machine that is no more.
func (u *Uplink) Forget(uuid string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, uuid)
}

// ForgetRun drops what waits of an older run: vCenter itself has changed the machine's power.
func (u *Uplink) ForgetRun(uuid string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r := u.waiting[uuid]; r != nil {
		r.state, r.power = nil, ""
	}
}

func (u *Uplink) add(uuid string, r *report) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if old := u.waiting[uuid]; old != nil {
		r = old.under(r)
	}
	u.waiting[uuid] = r
	if !u.sending[uuid] {
		u.sending[uuid] = true
		go u.run(uuid)
	}
}

// run sends what waits of one machine, in order.
func (u *Uplink) run(uuid string) {
	wait := firstPause
	for {
		u.places <- struct{}{}
		u.mu.Lock()
		r := u.waiting[uuid]
		delete(u.waiting, uuid)
		if r == nil {
			delete(u.sending, uuid)
			u.mu.Unlock()
			<-u.places
			return
		}
		u.mu.Unlock()
		sent := u.send(uuid, r)
		<-u.places
		if sent {
			wait = firstPause
			continue
		}
		u.mu.Lock()
		if newer := u.waiting[uuid]; newer != nil {
			r = r.under(newer)
		}
		u.waiting[uuid] = r
		u.mu.Unlock()
		time.Sleep(wait)
		wait = min(2*wait, lastPause)
	}
}

func (u *Uplink) send(uuid string, r *report) bool {
	at := "/guest/" + uuid
	if len(r.guestinfo) > 0 && !u.put(at+valuesPath, r.guestinfo) {
		return false
	}
	if r.state != nil && !u.put(at+statePath, r.state) {
		return false
	}
	return r.power == "" || u.put(at+powerPath, map[string]string{"state": r.power})
}

// put sends one message. One that vCenter refuses for good is logged and dropped.
func (u *Uplink) put(path string, body any) bool {
	payload, err := json.Marshal(body)
	if err != nil {
		log.Printf("%s: %v", path, err)
		return true
	}
	request, err := http.NewRequest(http.MethodPut, "http://vcenter"+path, bytes.NewReader(payload))
	if err != nil {
		log.Printf("%s: %v", path, err)
		return true
	}
	answer, err := u.http.Do(request)
	if err != nil {
		log.Printf("vCenter is away, will send %s again: %v", path, err)
		return false
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<12)) // for the log only
	if answer.StatusCode >= http.StatusInternalServerError {
		log.Printf("vCenter answered %s to %s: %s", answer.Status, path, said)
		return false
	}
	if answer.StatusCode >= http.StatusBadRequest && answer.StatusCode != http.StatusNotFound {
		log.Printf("vCenter refused %s with %s: %s", path, answer.Status, said)
	}
	return true
}
