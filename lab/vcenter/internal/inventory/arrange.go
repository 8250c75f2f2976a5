package inventory

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Arrangement moves or renames an object after it was made, as an administrator does: so objects may lie in
// nested folders, and bear the same names in different ones. Paths begin below the datacenter, slashes inside
// of names are written %2f.
type Arrangement struct {
	Object string   `yaml:"object"` // such as datastore/ds1
	Folder string   `yaml:"folder"` // such as datastore/san/east; made with all above it; default: where it is
	Name   string   `yaml:"name"`   // default: the one that it has
	Hosts  []string `yaml:"hosts"`  // of a standard network: those that have it; default: all
}

const ofDatastores = "datastore/"

// arrangeDatastores comes before the templates are made: their files bear the datastores' names.
func (b *builder) arrangeDatastores(p *place) error {
	return b.arrange(p, func(a Arrangement) bool { return strings.HasPrefix(a.Object, ofDatastores) })
}

func (b *builder) arrangeOthers(p *place) error {
	return b.arrange(p, func(a Arrangement) bool { return !strings.HasPrefix(a.Object, ofDatastores) })
}

func (b *builder) arrange(p *place, wanted func(Arrangement) bool) error {
	for _, a := range p.spec.Arrange {
		if !wanted(a) {
			continue
		}
		if err := b.arrangeOne(p, a); err != nil {
			return fmt.Errorf("arrange %s: %w", a.Object, err)
		}
	}
	return nil
}

func (b *builder) arrangeOne(p *place, a Arrangement) error {
	object, err := b.entity(p, a.Object, nil)
	if err != nil {
		return err
	}
	me, name := object.Entity(), object.Entity().Name
	if a.Name != "" {
		name = escaped(a.Name)
	}
	into := *me.Parent
	if a.Folder != "" {
		folder, err := b.entity(p, a.Folder, b.makeFolder)
		if err != nil {
			return err
		}
		into = folder.Reference()
	}
	if taken := b.child(into, name); taken != nil && taken.Reference() != me.Self {
		return fmt.Errorf("the name %s is taken in the folder", name)
	}
	children := func(of ref) *[]ref { return &b.ctx.Map.Get(of).(*simulator.Folder).ChildEntity }
	simulator.RemoveReference(children(*me.Parent), me.Self)
	*children(into) = append(*children(into), me.Self)
	me.Parent = &into
	rename(object, name)
	if network, ok := object.(*mo.Network); ok && len(a.Hosts) > 0 {
		b.leaveOn(p, network, a.Hosts)
	}
	return nil
}

// leaveOn takes a standard network away from all hosts but some.
func (b *builder) leaveOn(p *place, network *mo.Network, names []string) {
	for _, host := range p.hosts {
		simulator.RemoveReference(&host.Network, network.Self)
	}
	for _, parent := range p.parents {
		simulator.RemoveReference(&parent.Network, network.Self)
	}
	network.Host = nil
	for _, name := range names {
		b.attach(network.Self, p.hosts[name], p.parents[name])
	}
}

// entity walks down a path; what is missing is made, where make is given.
func (b *builder) entity(p *place, path string, make func(*simulator.Folder, string) (ref, error)) (mo.Entity, error) {
	parts := strings.Split(path, "/")
	roots := map[string]ref{"vm": p.dc.VmFolder, "host": p.dc.HostFolder, "datastore": p.dc.DatastoreFolder, "network": p.dc.NetworkFolder}
	root, known := roots[parts[0]]
	if !known {
		return nil, fmt.Errorf("path %q begins with vm, host, datastore or network", path)
	}
	at := b.ctx.Map.Get(root).(mo.Entity)
	for _, part := range parts[1:] {
		name, err := url.PathUnescape(part)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", path, err)
		}
		next := b.child(at.Reference(), escaped(name))
		if folder, ok := at.(*simulator.Folder); next == nil && ok && make != nil {
			made, err := make(folder, name)
			if err != nil {
				return nil, err
			}
			next = b.ctx.Map.Get(made).(mo.Entity)
		}
		if next == nil {
			return nil, fmt.Errorf("path %q: there is no %q", path, name)
		}
		at = next
	}
	return at, nil
}

func (b *builder) makeFolder(parent *simulator.Folder, name string) (ref, error) {
	made, err := result[*methods.CreateFolderBody](parent.CreateFolder(b.ctx, &types.CreateFolder{This: parent.Self, Name: name}))
	if err != nil {
		return ref{}, err
	}
	return made.Res.Returnval, nil
}

func (b *builder) child(of ref, name string) mo.Entity {
	var children []ref
	switch parent := b.ctx.Map.Get(of).(type) {
	case *simulator.Folder:
		children = parent.ChildEntity
	case *simulator.StoragePod:
		children = parent.ChildEntity
	}
	for _, child := range children {
		if entity, ok := b.ctx.Map.Get(child).(mo.Entity); ok && entity.Entity().Name == name {
			return entity
		}
	}
	return nil
}

// rename sets every field that has an object's name.
func rename(object mo.Entity, name string) {
	object.Entity().Name = name
	switch o := object.(type) {
	case *simulator.Datastore:
		o.Summary.Name, o.Info.GetDatastoreInfo().Name = name, name
	case *mo.Network:
		o.Name, o.Summary.GetNetworkSummary().Name = name, name
	case *simulator.DistributedVirtualPortgroup:
		o.Name, o.Config.Name = name, name
		o.Summary.GetNetworkSummary().Name = name
	case *simulator.DistributedVirtualSwitch:
		o.Name = name
	case *simulator.VirtualMachine:
		o.Name, o.Config.Name, o.Summary.Config.Name = name, name, name
	}
}

// escaped is a name as a vCenter shows it.
func escaped(name string) string {
	return strings.NewReplacer("%", "%25", "/", "%2f", `\`, "%5c").Replace(name)
}
