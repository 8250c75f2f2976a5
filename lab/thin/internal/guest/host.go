package guest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"lab-thin/internal/cluster"
	"lab-thin/internal/uplink"
)

// ErrUnknown is the answer to operations on a machine that was never put.
var ErrUnknown = errors.New("there is no such VM: PUT /vms/{uuid} comes first")

// ErrOff is the answer to operations that need a running machine.
var ErrOff = errors.New("the VM is not powered on")

// Fault makes machines fail whose names match, at one moment of their boot.
type Fault struct {
	Match  string `json:"match"`  // glob over VM names
	At     string `json:"at"`     // boot, cloud-init, redacted, address or kubeadm
	Action string `json:"action"` // fail or hang
	Detail string `json:"detail"`
	Count  int    `json:"count"` // how many boots it meets; -1: all
}

var moments = map[string]bool{"boot": true, "cloud-init": true, "redacted": true, "address": true, "kubeadm": true}

// Host holds every machine.
type Host struct {
	estate  *cluster.Estate
	uplink  *uplink.Uplink
	waiting atomic.Int64

	mu     sync.Mutex
	guests map[string]*Guest
	leases map[netip.Addr]bool
	dhcp   netip.Prefix

	faultsMu sync.Mutex
	faults   []*Fault
}

// NewHost has no machine yet; dhcp is the network whose upper half is given to those without an address.
func NewHost(estate *cluster.Estate, link *uplink.Uplink, dhcp netip.Prefix) *Host {
	h := &Host{estate: estate, uplink: link, guests: map[string]*Guest{}, leases: map[netip.Addr]bool{}, dhcp: dhcp}
	estate.Moved = func(uuid, address string, holds bool) {
		if g := h.find(uuid); g != nil {
			g.carries(address, holds)
		}
	}
	return h
}

func (h *Host) find(uuid string) *Guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.guests[uuid]
}

func (h *Host) put(doc Document) {
	h.mu.Lock()
	g := h.guests[doc.UUID]
	if g == nil {
		g = &Guest{host: h, disk: &Disk{}, phase: "Off"}
		h.guests[doc.UUID] = g
	}
	h.mu.Unlock()
	g.accept(doc)
}

// act does one power operation; a machine has one at a time.
func (h *Host) act(uuid, verb string) error {
	g := h.find(uuid)
	if g == nil {
		if verb == "power-off" {
			return nil
		}
		return ErrUnknown
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	switch verb {
	case "power-on":
		h.uplink.ForgetRun(uuid)
		g.powerOn()
	case "power-off":
		h.uplink.ForgetRun(uuid)
		g.powerOff()
	case "reset":
		h.uplink.ForgetRun(uuid)
		if !g.powerOff() {
			return ErrOff
		}
		g.powerOn()
	case "shutdown", "die":
		if !g.powerOff() {
			return ErrOff
		}
		h.uplink.State(uuid, uplink.State{})
		h.uplink.Power(uuid, "poweredOff")
	case "reboot":
		if !g.powerOff() {
			return ErrOff
		}
		h.uplink.State(uuid, uplink.State{})
		g.powerOn()
	case "hang":
		g.hang()
	default:
		return fmt.Errorf("there is no verb %s", verb)
	}
	return nil
}

func (h *Host) remove(uuid string) {
	g := h.find(uuid)
	if g == nil {
		return
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	g.destroy()
	h.uplink.Forget(uuid)
	h.mu.Lock()
	delete(h.guests, uuid)
	h.mu.Unlock()
}

func (h *Host) list() []Listing {
	h.mu.Lock()
	guests := make([]*Guest, 0, len(h.guests))
	for _, g := range h.guests {
		guests = append(guests, g)
	}
	h.mu.Unlock()
	all := make([]Listing, 0, len(guests))
	for _, g := range guests {
		all = append(all, g.listing())
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func (h *Host) addFault(f Fault) error {
	if !moments[f.At] {
		return fmt.Errorf("at: %q: it is boot, cloud-init, redacted, address or kubeadm", f.At)
	}
	if f.Action != "fail" && f.Action != "hang" {
		return fmt.Errorf("action: %q: it is fail or hang", f.Action)
	}
	if _, err := path.Match(f.Match, ""); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Detail == "" {
		f.Detail = "the lab lets it fail"
	}
	h.faultsMu.Lock()
	defer h.faultsMu.Unlock()
	h.faults = append(h.faults, &f)
	return nil
}

func (h *Host) clearFaults() {
	h.faultsMu.Lock()
	defer h.faultsMu.Unlock()
	h.faults = nil
}

func (h *Host) trip(g *Guest, at string) *Fault {
	g.mu.Lock()
	name := g.doc.Name
	g.mu.Unlock()
	return h.tripLocked(name, at)
}

func (h *Host) tripLocked(name, at string) *Fault {
	h.faultsMu.Lock()
	defer h.faultsMu.Unlock()
	for _, f := range h.faults {
		if ok, _ := path.Match(f.Match, name); ok && f.At == at && f.Count != 0 {
			f.Count--
			return f
		}
	}
	return nil
}

// lease gives an address of the network's upper half.
func (h *Host) lease() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dhcp.IsValid() {
		return "", errors.New("no DHCP server answers: start with --network")
	}
	raw := h.dhcp.Masked().Addr().As4()
	raw[2] |= 0x80
	for at := netip.AddrFrom4(raw).Next(); h.dhcp.Contains(at); at = at.Next() {
		if !h.leases[at] {
			h.leases[at] = true
			return at.String(), nil
		}
	}
	return "", errors.New("the DHCP server has no address left")
}

// leaseAnother lets the DHCP server forget a machine's lease and give it another address.
func (h *Host) leaseAnother(uuid string) error {
	g := h.find(uuid)
	if g == nil {
		return ErrUnknown
	}
	address, err := h.lease()
	if err != nil {
		return err
	}
	g.mu.Lock()
	before := g.disk.leased
	g.disk.leased = address
	node := g.disk.node
	g.mu.Unlock()
	h.release(before)
	if node != nil {
		node.Cluster().Readdress(node)
	}
	g.tell()
	return nil
}

func (h *Host) release(address string) {
	at, err := netip.ParseAddr(address)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.leases, at)
}

// waits counts joiners that wait, so that many ask less often.
func (h *Host) waits() (done func()) {
	h.waiting.Add(1)
	return func() { h.waiting.Add(-1) }
}

func (h *Host) patience() time.Duration {
	return max(10*time.Millisecond, time.Duration(h.waiting.Load())*200*time.Microsecond)
}

// FreeNetwork is a /16 of the loopback that no other process of this kind uses; close frees it.
func FreeNetwork() (netip.Prefix, net.Listener, error) {
	for second := 64; second < 255; second++ {
		first := netip.AddrFrom4([4]byte{127, byte(second), 0, 1})
		if lock, err := net.Listen("tcp", netip.AddrPortFrom(first, 6443).String()); err == nil {
			prefix, err := first.Prefix(16)
			return prefix, lock, err
		}
	}
	return netip.Prefix{}, nil, errors.New("every network of 127.64.0.0 to 127.254.0.0 is in use")
}
