// Package guest is a virtual machine without a computer: it reads its guestinfo, behaves as a node that boots from
// it would, and says the same words.
package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lab-thin/internal/cluster"
	"lab-thin/internal/uplink"
)

// Document describes a machine: lab/README.md.
type Document struct {
	UUID         string            `json:"uuid"`
	InstanceUUID string            `json:"instanceUuid"`
	Moref        string            `json:"moref"`
	Name         string            `json:"name"`
	Image        string            `json:"image"`
	CPUs         int32             `json:"cpus"`
	MemoryMiB    int32             `json:"memoryMib"`
	DiskMiB      int64             `json:"diskMib"`
	NICs         []NIC             `json:"nics"`
	Guestinfo    map[string]string `json:"guestinfo"`
}

// NIC of a machine.
type NIC struct {
	MAC       string `json:"mac"`
	Network   string `json:"network"`
	Connected bool   `json:"connected"`
}

// Disk is what outlasts a power cycle.
type Disk struct {
	ID         string // of cloud-init's instance
	Hostname   string
	cards      []card // in the order of the NICs
	leased     string // by DHCP, on the first
	data       *bootData
	broken     string // why nothing runs on this node
	started    bool
	done       bool // kubeadm
	joined     bool
	failed     [2]string // phase and detail of what is never tried again
	log        []string
	kubeadmLog string
	counter    int64
	node       *cluster.Node
}

// Guest is one machine.
type Guest struct {
	host *Host
	turn sync.Mutex // one power operation at a time

	mu        sync.Mutex
	doc       Document
	guestinfo map[string]string
	on        bool
	hung      bool
	disk      *Disk
	phase     string
	detail    string
	vip       string // carried just now
	stop      context.CancelFunc
	stopped   chan struct{}
}

func (g *Guest) accept(doc Document) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.guestinfo = maps.Clone(doc.Guestinfo)
	if g.guestinfo == nil {
		g.guestinfo = map[string]string{}
	}
	doc.Guestinfo = nil
	g.doc = doc
}

// change is vCenter's news of guestinfo; a running helper answers requests at once.
func (g *Guest) change(changes map[string]*string) {
	g.mu.Lock()
	for name, value := range changes {
		if value == nil || *value == "" {
			delete(g.guestinfo, name)
		} else {
			g.guestinfo[name] = *value
		}
	}
	asked := changes[requestKey]
	reply := ""
	if asked != nil && g.on && !g.hung && g.disk.data != nil {
		reply = g.disk.answer(*asked)
	}
	g.mu.Unlock()
	if reply != "" {
		g.write(map[string]string{replyKey: reply})
	}
}

// write is `vmware-rpctool info-set`.
func (g *Guest) write(values map[string]string) {
	g.mu.Lock()
	maps.Copy(g.guestinfo, values)
	uuid := g.doc.UUID
	g.mu.Unlock()
	g.host.uplink.Guestinfo(uuid, values)
}

func (g *Guest) powerOn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.on {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	g.on, g.hung, g.stop, g.stopped = true, false, stop, make(chan struct{})
	go g.run(ctx, g.stopped)
}

// powerOff ends all that the machine does. It answers whether the machine was on.
func (g *Guest) powerOff() bool {
	g.mu.Lock()
	was, stop, stopped := g.on, g.stop, g.stopped
	g.on = false
	g.mu.Unlock()
	if !was {
		return false
	}
	stop()
	<-stopped
	g.leave()
	g.say("Off", "")
	return true
}

// leave is the end of the node's processes.
func (g *Guest) leave() {
	g.mu.Lock()
	node := g.disk.node
	g.vip = ""
	g.mu.Unlock()
	if node != nil {
		node.Cluster().Down(node)
	}
}

func (g *Guest) destroy() {
	g.powerOff()
	g.mu.Lock()
	node := g.disk.node
	leased := g.disk.leased
	g.mu.Unlock()
	if node != nil {
		node.Cluster().Destroy(node)
	}
	g.host.release(leased)
}

// hang stops all processes; vCenter still sees the machine powered on.
func (g *Guest) hang() {
	g.mu.Lock()
	on, stop, stopped := g.on, g.stop, g.stopped
	g.hung = true
	g.mu.Unlock()
	if !on {
		return
	}
	stop()
	<-stopped
	g.leave()
	g.say("Hung", "")
	g.host.uplink.State(g.doc.UUID, uplink.State{})
}

// say keeps what the machine is doing, for the lab.
func (g *Guest) say(phase, detail string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.phase, g.detail = phase, detail
}

// report is the boot script's: to the gateway through guestinfo, and to its log.
func (g *Guest) report(phase, detail string, failed bool) {
	detail = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r < 0x20:
			return -1
		}
		return r
	}, detail)
	if len(detail) > 900 {
		detail = detail[:900]
	}
	line, err := json.Marshal(map[string]any{
		"phase": phase, "at": time.Now().UTC().Format(time.RFC3339), "detail": detail, "failed": failed,
	})
	if err != nil {
		log.Printf("%s: %v", phase, err)
		return
	}
	g.say(phase, detail)
	g.mu.Lock()
	g.disk.log = append(g.disk.log, string(line))
	g.mu.Unlock()
	g.write(map[string]string{"guestinfo.moorage.progress": string(line)})
}

// tell is the tools' report of name and addresses.
func (g *Guest) tell() {
	g.mu.Lock()
	state := uplink.State{HostName: g.disk.Hostname, ToolsRunning: true, NICs: []uplink.NIC{}}
	for at, nic := range g.doc.NICs {
		ips := []string{}
		if nic.Connected {
			ips = append(ips, g.disk.addresses(at)...)
		}
		if at == 0 && g.vip != "" && len(ips) > 0 {
			ips = append(ips, g.vip)
		}
		state.NICs = append(state.NICs, uplink.NIC{MAC: nic.MAC, IPs: ips})
	}
	uuid, speaks := g.doc.UUID, g.on && !g.hung
	g.mu.Unlock()
	if speaks {
		g.host.uplink.State(uuid, state)
	}
}

// address is the main one, or empty.
func (d *Disk) address() string {
	if all := d.addresses(0); len(all) > 0 {
		return all[0]
	}
	return ""
}

// addresses are those of one NIC. There is one DHCP server, and it serves first NICs only.
func (d *Disk) addresses(nic int) []string {
	if nic < len(d.cards) && len(d.cards[nic].Addresses) > 0 {
		return d.cards[nic].Addresses
	}
	if nic == 0 && d.leased != "" {
		return []string{d.leased}
	}
	return nil
}

func (d *Disk) wantsLease() bool {
	return len(d.cards) > 0 && d.cards[0].DHCP && d.leased == ""
}

// localAddresses is what cloud-init tells of itself.
func (d *Disk) localAddresses() map[string]string {
	told := map[string]string{}
	for _, address := range d.addresses(0) {
		key := "guestinfo.local-ipv4"
		if strings.Contains(address, ":") {
			key = "guestinfo.local-ipv6"
		}
		if _, there := told[key]; !there {
			told[key] = address
		}
	}
	return told
}

// nodeAddresses are those that the boot script finds: all that it was told of, or one of each family by DHCP.
func (d *Disk) nodeAddresses(env map[string]string) ([]string, error) {
	have := d.addresses(0)
	if wanted := strings.Fields(env["NODE_IPS"]); len(wanted) > 0 {
		for _, one := range wanted {
			if !slices.Contains(have, one) {
				return nil, errors.New(env["NODE_IPS"])
			}
		}
		return wanted, nil
	}
	var found []string
	for _, family := range strings.Fields(env["FAMILIES"]) {
		at := slices.IndexFunc(have, func(one string) bool { return strings.Contains(one, ":") == (family == "6") })
		if at < 0 {
			return nil, errors.New("from DHCP")
		}
		found = append(found, have[at])
	}
	if len(found) == 0 {
		return nil, errors.New("of any family")
	}
	return found, nil
}

// carries is the network's news that the virtual address came or went.
func (g *Guest) carries(address string, holds bool) {
	g.mu.Lock()
	was := g.vip
	if holds {
		g.vip = address
	} else if g.vip == address {
		g.vip = ""
	}
	moved := was != g.vip && g.on
	g.mu.Unlock()
	if moved {
		g.tell()
	}
}

// Listing is a machine for those who watch the lab.
type Listing struct {
	UUID    string `json:"uuid"`
	Name    string `json:"name"`
	On      bool   `json:"on"`
	Hung    bool   `json:"hung"`
	Phase   string `json:"phase"`
	Detail  string `json:"detail"`
	Address string `json:"address"`
	Node    string `json:"node"`
}

func (g *Guest) listing() Listing {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := Listing{
		UUID: g.doc.UUID, Name: g.doc.Name, On: g.on, Hung: g.hung, Phase: g.phase, Detail: g.detail, Address: g.disk.address(),
	}
	if g.disk.node != nil && g.disk.joined {
		l.Node = g.disk.node.Name
	}
	return l
}

func (g *Guest) String() string { return fmt.Sprintf("%s (%s)", g.doc.Name, g.doc.UUID) }
