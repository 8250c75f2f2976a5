package vcenter

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"

	"lab-vcenter/internal/hypervisor"
)

// machines keeps what the simulator's virtual machines have no field for.
type machines struct {
	server  *Server
	mu      sync.Mutex
	macs    uint32
	images  map[ref]string     // what the hypervisor boots, inherited by clones
	names   map[nameInUse]bool // taken by clones under way
	uuids   map[string]bool    // instance UUIDs taken by clones under way
	byUUID  map[string]ref     // BIOS UUID to machine, checked when used
	busy    map[ref]operating  // the operation under way on a machine
	coming  coming             // clones under way, by host
	placing placing            // of machines that are powered on
}

// coming are the machines that are being made on hosts: who places the next one counts them too.
type coming struct {
	mu     sync.Mutex
	number map[ref]int
}

func (c *coming) leave(host ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.number[host]--; c.number[host] == 0 {
		delete(c.number, host)
	}
}

type nameInUse struct {
	folder ref
	name   string
}

func newMachines(s *Server, images map[ref]string) *machines {
	m := &machines{
		server: s, images: images,
		names: map[nameInUse]bool{}, uuids: map[string]bool{}, byUUID: map[string]ref{}, busy: map[ref]operating{},
		coming: coming{number: map[ref]int{}}, placing: placing{starting: map[ref]bool{}},
	}
	for _, entity := range s.registry.All("VirtualMachine") {
		m.complete(entity.(*simulator.VirtualMachine))
	}
	return m
}

// complete gives a machine what a real one always has and the simulator leaves out or wrong.
func (m *machines) complete(vm *simulator.VirtualMachine) {
	vm.Runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
	vm.Summary.Runtime.FaultToleranceState = vm.Runtime.FaultToleranceState
	vm.Guest.Net = nil
	for _, nic := range nics(vm.Config.Hardware.Device) {
		card := nic.GetVirtualEthernetCard()
		if card.AddressType == string(types.VirtualEthernetCardMacTypeManual) && card.MacAddress != "" {
			continue
		}
		card.AddressType = string(types.VirtualEthernetCardMacTypeAssigned)
		card.MacAddress = m.newMAC()
	}
	sayStorage(vm)
}

// childSize is what a linked clone's disk takes at first.
const childSize = 16 << 20

// sayStorage says what a machine's disks take, as the datastores count them: the simulator's files are empty.
func sayStorage(vm *simulator.VirtualMachine) {
	var taken int64
	on := map[ref]int64{}
	for _, disk := range disksOf(vm) {
		size := disk.CapacityInBytes
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if ok && backing.Parent != nil {
			size = childSize
		}
		taken += size
		if ok && backing.Datastore != nil {
			on[*backing.Datastore] += size
		}
	}
	now := time.Now()
	vm.Summary.Storage = &types.VirtualMachineStorageSummary{Committed: taken, Unshared: taken, Timestamp: now}
	vm.Storage = &types.VirtualMachineStorageInfo{Timestamp: now}
	for store, size := range on {
		vm.Storage.PerDatastoreUsage = append(vm.Storage.PerDatastoreUsage, types.VirtualMachineUsageOnDatastore{
			Datastore: store, Committed: size, Unshared: size,
		})
	}
}

// newMAC gives the next address of the range that vCenter assigns from.
func (m *machines) newMAC() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.macs
	m.macs++
	return fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|(n>>16)&0x3f, n>>8&0xff, n&0xff)
}

// longestName: "The name can be up to 80 characters long" (vSphere Virtual Machine Administration).
const longestName = 80

// claimName takes a name in a folder until release is called.
func (m *machines) claimName(ctx *simulator.Context, folder *simulator.Folder, name string) (release func(), refused *refusal) {
	if utf8.RuneCountInString(name) > longestName {
		return nil, refuseText(&types.InvalidName{Name: name}, fmt.Sprintf("The name '%s' is invalid: it has more than %d characters.", name, longestName))
	}
	var taken types.BaseMethodFault
	ctx.WithLock(folder, func() {
		if other := m.server.registry.FindByName(name, folder.ChildEntity); other != nil {
			taken = &types.DuplicateName{Name: name, Object: other.Reference()}
		}
	})
	claim := nameInUse{folder.Self, name}
	m.mu.Lock()
	defer m.mu.Unlock()
	if taken == nil && m.names[claim] {
		taken = &types.DuplicateName{Name: name, Object: folder.Self}
	}
	if taken != nil {
		return nil, refuseText(taken, fmt.Sprintf("The name '%s' already exists.", name))
	}
	m.names[claim] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.names, claim)
	}, nil
}

// nameClaimed says whether a clone of that name is under way.
func (m *machines) nameClaimed(folder ref, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[nameInUse{folder, name}]
}

// claimInstanceUUID takes the wanted instance UUID, or a new one if a machine other than self has it.
func (m *machines) claimInstanceUUID(wanted string, self ref) (got string, release func()) {
	wanted = strings.ToLower(wanted)
	taken := map[string]bool{}
	if wanted != "" {
		for _, entity := range m.server.registry.All("VirtualMachine") {
			vm := entity.(*simulator.VirtualMachine)
			if vm.Self == self {
				continue
			}
			ctx := m.server.internal()
			ctx.WithLock(vm, func() { taken[strings.ToLower(vm.Config.InstanceUuid)] = true })
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if got = wanted; wanted == "" || taken[wanted] || m.uuids[wanted] {
		got = "50" + uuid.NewString()[2:]
	}
	m.uuids[got] = true
	return got, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.uuids, got)
	}
}

// operating says what is being done with a machine, and by which task.
type operating struct {
	what string
	task ref
}

// begin marks a machine as busy, or says with what it already is.
func (m *machines) begin(vm ref, what string, task *running) (end func(), refused *refusal) {
	if machine, ok := m.server.registry.Get(vm).(*simulator.VirtualMachine); ok {
		if refused := m.server.unreachable(machine.Runtime.Host); refused != nil {
			return nil, refused
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now, is := m.busy[vm]; is {
		fault := &types.TaskInProgress{Task: now.task}
		return nil, refuseText(fault, message("TaskInProgress")+" ("+now.what+")")
	}
	m.busy[vm] = operating{what, task.Self}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.busy, vm)
	}, nil
}

func (m *machines) image(vm ref) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.images[vm]
}

func (m *machines) setImage(vm ref, image string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.images[vm] = image
}

func (m *machines) forget(vm ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.images, vm)
}

// find gives the machine with a BIOS UUID, or nil.
func (m *machines) find(ctx *simulator.Context, bios string) *simulator.VirtualMachine {
	bios = strings.ToLower(bios)
	is := func(vm *simulator.VirtualMachine) (same bool) {
		ctx.WithLock(vm, func() { same = strings.EqualFold(vm.Config.Uuid, bios) })
		return same
	}
	m.mu.Lock()
	guess, known := m.byUUID[bios]
	m.mu.Unlock()
	if known {
		if vm, ok := m.server.registry.Get(guess).(*simulator.VirtualMachine); ok && is(vm) {
			return vm
		}
	}
	for _, entity := range m.server.registry.All("VirtualMachine") {
		if vm := entity.(*simulator.VirtualMachine); is(vm) {
			m.mu.Lock()
			m.byUUID[bios] = vm.Self
			m.mu.Unlock()
			return vm
		}
	}
	m.mu.Lock()
	delete(m.byUUID, bios)
	m.mu.Unlock()
	return nil
}

// document describes a machine to the hypervisor. The caller holds the machine's lock.
func (m *machines) document(vm *simulator.VirtualMachine) *hypervisor.Document {
	doc := &hypervisor.Document{
		UUID:         strings.ToLower(vm.Config.Uuid),
		InstanceUUID: strings.ToLower(vm.Config.InstanceUuid),
		Moref:        vm.Self.Value,
		Name:         vm.Name,
		Image:        m.image(vm.Self),
		CPUs:         vm.Config.Hardware.NumCPU,
		MemoryMiB:    vm.Config.Hardware.MemoryMB,
		NICs:         []hypervisor.NIC{},
		Guestinfo:    guestinfo(vm.Config.ExtraConfig),
	}
	if disks := disksOf(vm); len(disks) > 0 {
		doc.DiskMiB = disks[0].CapacityInKB >> 10
	}
	for _, nic := range nics(vm.Config.Hardware.Device) {
		card := nic.GetVirtualEthernetCard()
		connected := card.Connectable == nil || card.Connectable.StartConnected
		doc.NICs = append(doc.NICs, hypervisor.NIC{
			MAC: strings.ToLower(card.MacAddress), Network: m.networkName(card.Backing), Connected: connected,
		})
	}
	return doc
}

func (m *machines) networkName(backing types.BaseVirtualDeviceBackingInfo) string {
	switch b := backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		return b.DeviceName
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		key := ref{Type: "DistributedVirtualPortgroup", Value: b.Port.PortgroupKey}
		if group, ok := m.server.registry.Get(key).(*simulator.DistributedVirtualPortgroup); ok {
			return group.Name
		}
	}
	return ""
}

func disksOf(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	var found []*types.VirtualDisk
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			found = append(found, disk)
		}
	}
	return found
}

func nics(devices []types.BaseVirtualDevice) []types.BaseVirtualEthernetCard {
	var found []types.BaseVirtualEthernetCard
	for _, device := range devices {
		if nic, ok := device.(types.BaseVirtualEthernetCard); ok {
			found = append(found, nic)
		}
	}
	return found
}

// copyOf makes a copy that shares nothing with the original.
func copyOf[T any](original *T) *T {
	text, err := xml.Marshal(original)
	if err != nil {
		panic(err) // the API's types can all be encoded
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.TypeFunc = types.TypeFunc()
	fresh := new(T)
	if err := decoder.Decode(fresh); err != nil {
		panic(err)
	}
	return fresh
}
