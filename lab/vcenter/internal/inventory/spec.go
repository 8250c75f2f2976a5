// Package inventory reads the lab's inventory file and builds the simulator's objects from it.
package inventory

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Spec is the whole inventory file.
type Spec struct {
	About           About           `yaml:"about"`
	Users           []User          `yaml:"users"`
	Groups          []Group         `yaml:"groups"`
	Roles           []Role          `yaml:"roles"`
	Datacenters     []Datacenter    `yaml:"datacenters"`
	StoragePolicies []StoragePolicy `yaml:"storagePolicies"`
}

// About is what the vCenter says of itself.
type About struct {
	APIVersion string `yaml:"apiVersion"`
	Version    string `yaml:"version"`
	Build      string `yaml:"build"`
}

// User may log in over SOAP and REST. One without groups and without a list of permissions, even an empty
// one, is an administrator of everything.
type User struct {
	Name        string       `yaml:"name"`
	Password    string       `yaml:"password"`
	Groups      []string     `yaml:"groups"`
	Permissions []Permission `yaml:"permissions"`
}

// Group of users.
type Group struct {
	Name        string       `yaml:"name"`
	Permissions []Permission `yaml:"permissions"`
}

// Permission gives a role on an object: a path of the inventory, "/" for the root.
type Permission struct {
	On        string `yaml:"on"`
	Role      string `yaml:"role"` // Administrator, ReadOnly, NoAccess or one of the file's
	Propagate *bool  `yaml:"propagate"`
}

// Role is a set of privileges; the three of System are always in it.
type Role struct {
	Name       string   `yaml:"name"`
	Privileges []string `yaml:"privileges"`
}

// Datacenter and everything in it.
type Datacenter struct {
	Name            string           `yaml:"name"`
	ComputeClusters []ComputeCluster `yaml:"computeClusters"`
	Hosts           []Host           `yaml:"hosts"` // standalone ones
	Datastores      []Datastore      `yaml:"datastores"`
	Networks        []string         `yaml:"networks"` // standard ones
	Switches        []Switch         `yaml:"switches"`
	Folders         []Folder         `yaml:"folders"` // of virtual machines
	Templates       []Template       `yaml:"templates"`
	Pods            []Pod            `yaml:"datastoreClusters"`
	Arrange         []Arrangement    `yaml:"arrange"`
}

// ComputeCluster has either named hosts or a count of them.
type ComputeCluster struct {
	Name          string         `yaml:"name"`
	DRS           bool           `yaml:"drs"`
	HostCount     int            `yaml:"hostCount"`
	Hosts         []Host         `yaml:"hosts"`
	CPUs          int            `yaml:"cpus"`      // of each host that does not say
	MemoryGiB     int            `yaml:"memoryGib"` // likewise
	ResourcePools []ResourcePool `yaml:"resourcePools"`
}

// Host is one ESXi host.
type Host struct {
	Name          string         `yaml:"name"`
	CPUs          int            `yaml:"cpus"`
	MemoryGiB     int            `yaml:"memoryGib"`
	ResourcePools []ResourcePool `yaml:"resourcePools"` // standalone hosts only
}

// ResourcePool below the root pool of a compute cluster or standalone host.
type ResourcePool struct {
	Name                 string         `yaml:"name"`
	MemoryLimitMiB       int64          `yaml:"memoryLimitMib"` // default: none
	Children             []ResourcePool `yaml:"children"`
	MemoryReservationMiB int64          `yaml:"memoryReservationMib"`
	Expandable           *bool          `yaml:"expandable"` // what is reserved in it may come from above; the default
}

// Datastore is mounted by the hosts named, or by all of the datacenter.
type Datastore struct {
	Name        string   `yaml:"name"`
	CapacityGiB int64    `yaml:"capacityGib"`
	Hosts       []string `yaml:"hosts"`
	Type        string   `yaml:"type"` // default: VMFS
}

// Switch is a distributed switch; every host is a member.
type Switch struct {
	Name       string      `yaml:"name"`
	PortGroups []PortGroup `yaml:"portGroups"`
}

// PortGroup of a distributed switch.
type PortGroup struct {
	Name string `yaml:"name"`
	VLAN int32  `yaml:"vlan"`
}

// Folder of virtual machines.
type Folder struct {
	Name     string   `yaml:"name"`
	Children []Folder `yaml:"children"`
}

// Template is a virtual machine marked as template.
type Template struct {
	Name              string            `yaml:"name"`
	Folder            string            `yaml:"folder"` // path below the datacenter's vm folder
	Datastore         string            `yaml:"datastore"`
	Host              string            `yaml:"host"` // default: the first host
	Network           string            `yaml:"network"`
	Image             string            `yaml:"image"` // what the hypervisor boots for a clone of it
	Snapshot          bool              `yaml:"snapshot"`
	CPUs              int32             `yaml:"cpus"`
	MemoryMiB         int64             `yaml:"memoryMib"`
	DiskGiB           int64             `yaml:"diskGib"`
	HardwareVersion   int               `yaml:"hardwareVersion"`
	GuestID           string            `yaml:"guestId"`
	Firmware          string            `yaml:"firmware"`
	Encrypted         bool              `yaml:"encrypted"`
	TPM               bool              `yaml:"tpm"`
	Annotation        string            `yaml:"annotation"`
	KubernetesVersion string            `yaml:"kubernetesVersion"` // becomes an OVA product and property
	ExtraConfig       map[string]string `yaml:"extraConfig"`
}

// Load reads, completes and checks an inventory file.
func Load(file string) (*Spec, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	defer f.Close()
	spec := new(Spec)
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(spec); err != nil {
		return nil, fmt.Errorf("read the inventory %s: %w", file, err)
	}
	spec.complete()
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("inventory %s: %w", file, err)
	}
	return spec, nil
}

func (s *Spec) complete() {
	s.completePolicies()
	s.About.complete()
	for d := range s.Datacenters {
		dc := &s.Datacenters[d]
		for c := range dc.ComputeClusters {
			cc := &dc.ComputeClusters[c]
			setDefault(&cc.CPUs, 16)
			setDefault(&cc.MemoryGiB, 128)
			for n := len(cc.Hosts); n < cc.HostCount; n++ {
				cc.Hosts = append(cc.Hosts, Host{Name: fmt.Sprintf("%s-esx%d.lab", cc.Name, n+1)})
			}
			for h := range cc.Hosts {
				setDefault(&cc.Hosts[h].CPUs, cc.CPUs)
				setDefault(&cc.Hosts[h].MemoryGiB, cc.MemoryGiB)
			}
		}
		for h := range dc.Hosts {
			setDefault(&dc.Hosts[h].CPUs, 16)
			setDefault(&dc.Hosts[h].MemoryGiB, 128)
		}
		for i := range dc.Datastores {
			setDefault(&dc.Datastores[i].CapacityGiB, 2048)
			setDefault(&dc.Datastores[i].Type, "VMFS")
		}
		for i := range dc.Pods {
			setDefault(&dc.Pods[i].StorageDRS, "off")
		}
		for t := range dc.Templates {
			tpl := &dc.Templates[t]
			setDefault(&tpl.CPUs, 2)
			setDefault(&tpl.MemoryMiB, 2048)
			setDefault(&tpl.DiskGiB, 20)
			setDefault(&tpl.HardwareVersion, 15) // runs at each release, as the images of Cluster API do
			setDefault(&tpl.GuestID, "ubuntu64Guest")
			setDefault(&tpl.Firmware, "efi")
			if tpl.Datastore == "" && len(dc.Datastores) > 0 {
				tpl.Datastore = dc.Datastores[0].Name
			}
			if tpl.Network == "" && len(dc.Networks) > 0 {
				tpl.Network = dc.Networks[0]
			}
			if hosts := dc.hosts(); tpl.Host == "" && len(hosts) > 0 {
				tpl.Host = hosts[0].Name
			}
		}
	}
}

// SetAPIVersion makes the vCenter one of another release.
func (s *Spec) SetAPIVersion(version string) error {
	if _, known := releases[version]; !known {
		return fmt.Errorf("API version %q: the lab knows %s", version, strings.Join(slices.Sorted(maps.Keys(releases)), ", "))
	}
	s.About = About{APIVersion: version}
	s.About.complete()
	return nil
}

// releases are products by the short name of their API, with what they call it.
var releases = map[string]About{
	"6.7.3": {APIVersion: "6.7.3", Version: "6.7.0", Build: "20504362"},
	"7.0.3": {APIVersion: "7.0.3.0", Version: "7.0.3", Build: "20150588"},
	"8.0.3": {APIVersion: "8.0.3.0", Version: "8.0.3", Build: "24322831"},
}

func (a *About) complete() {
	setDefault(&a.APIVersion, "8.0.3")
	release, known := releases[a.APIVersion]
	if known {
		a.APIVersion = release.APIVersion
	} else {
		release = releases["8.0.3"]
	}
	setDefault(&a.Version, release.Version)
	setDefault(&a.Build, release.Build)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (dc *Datacenter) hosts() []Host {
	var hosts []Host
	for _, cc := range dc.ComputeClusters {
		hosts = append(hosts, cc.Hosts...)
	}
	return append(hosts, dc.Hosts...)
}

// check names every mistake at once.
func (s *Spec) check() error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(s.Users) == 0 {
		fail("users: at least one is needed")
	}
	for i, u := range s.Users {
		if u.Name == "" || u.Password == "" {
			fail("users[%d]: name and password are needed", i)
		}
	}
	groups := map[string]bool{}
	for i, g := range s.Groups {
		if g.Name == "" || groups[g.Name] {
			fail("groups[%d]: a name is needed, once", i)
		}
		groups[g.Name] = true
	}
	for _, u := range s.Users {
		for _, g := range u.Groups {
			if !groups[g] {
				fail("user %q: there is no group %q", u.Name, g)
			}
		}
	}
	for i, r := range s.Roles {
		if r.Name == "" {
			fail("roles[%d]: a name is needed", i)
		}
	}
	s.checkPolicies(fail)
	if len(s.Datacenters) == 0 {
		fail("datacenters: at least one is needed")
	}
	for _, dc := range s.Datacenters {
		dc.check(func(format string, args ...any) {
			fail("datacenter %q: "+format, append([]any{dc.Name}, args...)...)
		})
	}
	return errors.Join(faults...)
}

func (dc *Datacenter) check(fail func(string, ...any)) {
	hosts, stores, networks := map[string]bool{}, map[string]bool{}, map[string]bool{}
	once := func(kind string, seen map[string]bool, name string) {
		switch {
		case name == "" || strings.Contains(name, "/"):
			fail("%s %q: a name is needed, without a slash", kind, name)
		case seen[name]:
			fail("%s %q is there twice", kind, name)
		}
		seen[name] = true
	}
	if dc.Name == "" {
		fail("a name is needed")
	}
	for _, h := range dc.hosts() {
		once("host", hosts, h.Name)
	}
	if len(hosts) == 0 {
		fail("at least one host is needed")
	}
	for _, ds := range dc.Datastores {
		once("datastore", stores, ds.Name)
		for _, h := range ds.Hosts {
			if !hosts[h] {
				fail("datastore %q: there is no host %q", ds.Name, h)
			}
		}
	}
	if len(stores) == 0 {
		fail("at least one datastore is needed")
	}
	in := map[string]bool{}
	for _, pod := range dc.Pods {
		once("datastore cluster", stores, pod.Name)
		if !slices.Contains([]string{"off", "manual", "automated"}, pod.StorageDRS) {
			fail("datastore cluster %q: storageDrs is off, manual or automated", pod.Name)
		}
		for _, name := range pod.Datastores {
			if !slices.ContainsFunc(dc.Datastores, func(ds Datastore) bool { return ds.Name == name }) || in[name] {
				fail("datastore cluster %q: there is no datastore %q that is free", pod.Name, name)
			}
			in[name] = true
		}
	}
	for _, n := range dc.Networks {
		once("network", networks, n)
	}
	for _, sw := range dc.Switches {
		once("switch", networks, sw.Name)
		for _, pg := range sw.PortGroups {
			once("port group", networks, pg.Name)
		}
	}
	for _, a := range dc.Arrange {
		for _, h := range a.Hosts {
			if !hosts[h] {
				fail("arrange %q: there is no host %q", a.Object, h)
			}
		}
	}
	folders := map[string]bool{"": true}
	dc.walkFolders(dc.Folders, "", func(path, name string) {
		if name == "" || strings.Contains(name, "/") || folders[path] {
			fail("folder %q: a name is needed, without a slash, and once in its place", name)
		}
		folders[path] = true
	})
	names := map[string]bool{}
	for _, t := range dc.Templates {
		if names[t.Folder+"/"+t.Name] || t.Name == "" {
			fail("template %q is there twice in its folder, or has no name", t.Name)
		}
		names[t.Folder+"/"+t.Name] = true
		if !folders[t.Folder] {
			fail("template %q: there is no folder %q", t.Name, t.Folder)
		}
		if !stores[t.Datastore] {
			fail("template %q: there is no datastore %q", t.Name, t.Datastore)
		}
		if !networks[t.Network] {
			fail("template %q: there is no network %q", t.Name, t.Network)
		}
		if !hosts[t.Host] {
			fail("template %q: there is no host %q", t.Name, t.Host)
		}
	}
}

func (dc *Datacenter) walkFolders(folders []Folder, above string, f func(path, name string)) {
	for _, folder := range folders {
		path := strings.TrimPrefix(above+"/"+folder.Name, "/")
		f(path, folder.Name)
		dc.walkFolders(folder.Children, path, f)
	}
}
