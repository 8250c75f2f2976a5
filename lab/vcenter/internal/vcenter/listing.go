package vcenter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Listing is a plain account of the inventory for witnesses, in an order that does not change.
type Listing struct {
	Folders         []Listed          `json:"folders"`
	Datacenters     []Listed          `json:"datacenters"`
	ComputeClusters []Listed          `json:"computeClusters"`
	Hosts           []Listed          `json:"hosts"`
	ResourcePools   []Listed          `json:"resourcePools"`
	Networks        []Listed          `json:"networks"`
	Datastores      []ListedDatastore `json:"datastores"`
	VMs             []ListedVM        `json:"vms"`
	Rules           []ListedRule      `json:"rules"`
}

// Listed is any object.
type Listed struct {
	Path  string `json:"path"`
	Moref string `json:"moref"`
}

// ListedDatastore has its space as well.
type ListedDatastore struct {
	Listed
	Capacity  int64 `json:"capacity"`
	FreeSpace int64 `json:"freeSpace"`
}

// ListedVM is a virtual machine or template.
type ListedVM struct {
	Listed
	Name         string            `json:"name"`
	UUID         string            `json:"uuid"`
	InstanceUUID string            `json:"instanceUuid"`
	Template     bool              `json:"template"`
	Power        string            `json:"power"`
	Host         string            `json:"host"`
	Datastore    string            `json:"datastore"`
	ResourcePool string            `json:"resourcePool"`
	Image        string            `json:"image"`
	CPUs         int32             `json:"cpus"`
	MemoryMiB    int32             `json:"memoryMib"`
	Snapshots    int               `json:"snapshots"`
	Disks        []ListedDisk      `json:"disks"`
	NICs         []ListedNIC       `json:"nics"`
	ExtraConfig  map[string]string `json:"extraConfig"`
	GuestIPs     []string          `json:"guestIps"`
	ToolsRunning bool              `json:"toolsRunning"`
	Policies     map[string]string `json:"policies,omitempty"` // of storage: home, disks by key, changes by number
}

// ListedRule is a rule between machines of a compute cluster.
type ListedRule struct {
	Path      string   `json:"path"` // of the compute cluster, and the name
	Name      string   `json:"name"`
	Mandatory bool     `json:"mandatory"`
	VMs       []string `json:"vms"` // morefs
}

// ListedDisk says whether the disk hangs on another one.
type ListedDisk struct {
	File   string `json:"file"`
	Parent string `json:"parent,omitempty"`
	MiB    int64  `json:"mib"`
	SHA256 string `json:"sha256,omitempty"` // of what was imported through an NFC lease
}

// ListedNIC is a network card.
type ListedNIC struct {
	MAC     string `json:"mac"`
	Network string `json:"network"`
}

// Inventory makes the listing.
func (s *Server) Inventory() Listing {
	out := Listing{
		Folders:         s.list("Folder"),
		Datacenters:     s.list("Datacenter"),
		ComputeClusters: append(s.list("ClusterComputeResource"), s.list("ComputeResource")...),
		Hosts:           s.list("HostSystem"),
		ResourcePools:   s.list("ResourcePool"),
		Networks:        append(s.list("Network"), s.list("DistributedVirtualPortgroup")...),
		Datastores:      []ListedDatastore{},
		VMs:             []ListedVM{},
		Rules:           []ListedRule{},
	}
	ctx := s.internal()
	for _, entity := range s.registry.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		ctx.WithLock(ds, func() {
			out.Datastores = append(out.Datastores, ListedDatastore{
				Listed: s.listed(ds), Capacity: ds.Summary.Capacity, FreeSpace: ds.Summary.FreeSpace,
			})
		})
	}
	for _, entity := range s.registry.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		ctx.WithLock(vm, func() { out.VMs = append(out.VMs, s.listedVM(vm)) })
	}
	for _, entity := range s.registry.All("ClusterComputeResource") {
		cluster := entity.(*simulator.ClusterComputeResource)
		ctx.WithLock(cluster, func() { out.Rules = append(out.Rules, s.listedRules(cluster)...) })
	}
	for _, list := range []*[]Listed{&out.Folders, &out.Datacenters, &out.ComputeClusters, &out.Hosts, &out.ResourcePools, &out.Networks} {
		slices.SortFunc(*list, compareListed)
	}
	slices.SortFunc(out.Datastores, func(a, b ListedDatastore) int { return compareListed(a.Listed, b.Listed) })
	slices.SortFunc(out.VMs, func(a, b ListedVM) int { return compareListed(a.Listed, b.Listed) })
	return out
}

func compareListed(a, b Listed) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Moref, b.Moref))
}

func (s *Server) list(kind string) []Listed {
	found := []Listed{}
	for _, entity := range s.registry.All(kind) {
		found = append(found, s.listed(entity))
	}
	return found
}

func (s *Server) listed(entity mo.Entity) Listed {
	return Listed{Path: s.path(entity), Moref: entity.Reference().Value}
}

// path is the inventory path, as in govc.
func (s *Server) path(entity mo.Entity) string {
	var names []string
	for at := entity; at != nil; {
		me := at.Entity()
		if me.Parent == nil {
			break // the root folder
		}
		names = append(names, nameOf(at))
		above, ok := s.registry.Get(*me.Parent).(mo.Entity)
		if !ok {
			break
		}
		at = above
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// entityAt finds an object by its inventory path, or by its moref.
func (s *Server) entityAt(at string) (mo.Entity, error) {
	for _, kind := range []string{
		"Folder", "Datacenter", "ClusterComputeResource", "ComputeResource", "HostSystem", "ResourcePool",
		"Network", "DistributedVirtualPortgroup", "DistributedVirtualSwitch", "VmwareDistributedVirtualSwitch",
		"Datastore", "StoragePod", "VirtualMachine",
	} {
		for _, entity := range s.registry.All(kind) {
			if self := entity.Reference(); self.Type == kind && (s.path(entity) == at || self.Value == at) {
				return entity, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: the inventory has nothing with that path or moref", at)
}

// nameOf copes with the types that have a name of their own beside that of every entity.
func nameOf(entity mo.Entity) string {
	switch e := entity.(type) {
	case *mo.Network:
		return e.Name
	case *simulator.DistributedVirtualPortgroup:
		return e.Name
	case *simulator.DistributedVirtualSwitch:
		return e.Name
	}
	return entity.Entity().Name
}

func (s *Server) nameOfRef(r *ref) string {
	if r == nil {
		return ""
	}
	if entity, ok := s.registry.Get(*r).(mo.Entity); ok {
		return nameOf(entity)
	}
	return r.Value
}

func (s *Server) listedVM(vm *simulator.VirtualMachine) ListedVM {
	var at object.DatastorePath
	at.FromString(vm.Config.Files.VmPathName)
	out := ListedVM{
		Listed: s.listed(vm), Name: vm.Name,
		UUID: strings.ToLower(vm.Config.Uuid), InstanceUUID: strings.ToLower(vm.Config.InstanceUuid),
		Template: vm.Config.Template, Power: string(vm.Runtime.PowerState),
		Host: s.nameOfRef(vm.Runtime.Host), Datastore: at.Datastore, ResourcePool: s.nameOfRef(vm.ResourcePool),
		Image: s.machines.image(vm.Self), Policies: s.policies.noted(vm.Self),
		CPUs: vm.Config.Hardware.NumCPU, MemoryMiB: vm.Config.Hardware.MemoryMB,
		Disks: []ListedDisk{}, NICs: []ListedNIC{}, ExtraConfig: map[string]string{}, GuestIPs: []string{},
		ToolsRunning: vm.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning),
	}
	if vm.Snapshot != nil {
		out.Snapshots = len(snapshots(vm.Snapshot.RootSnapshotList))
	}
	for _, device := range vm.Config.Hardware.Device {
		switch d := device.(type) {
		case *types.VirtualDisk:
			disk := ListedDisk{MiB: d.CapacityInKB >> 10}
			if b, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
				disk.File = b.FileName
				disk.SHA256 = s.leases.content(vm.Self, b.FileName)
				if b.Parent != nil {
					disk.Parent = b.Parent.FileName
				}
			}
			out.Disks = append(out.Disks, disk)
		case types.BaseVirtualEthernetCard:
			card := d.GetVirtualEthernetCard()
			out.NICs = append(out.NICs, ListedNIC{MAC: strings.ToLower(card.MacAddress), Network: s.machines.networkName(card.Backing)})
		}
	}
	for _, o := range vm.Config.ExtraConfig {
		option := o.GetOptionValue()
		out.ExtraConfig[option.Key] = optionText(option)
	}
	for _, nic := range vm.Guest.Net {
		out.GuestIPs = append(out.GuestIPs, nic.IpAddress...)
	}
	return out
}
