package vcenter

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// ledger keeps account of all that was made and destroyed, for oracles. Its numbers are in the order of
// what happened, so that two lives can be compared; a restart of the vCenter does not touch it.
type ledger struct {
	server *Server
	mu     sync.Mutex
	seq    int
	book   map[string]*Entry
}

// Moment is when something happened.
type Moment struct {
	Seq int       `json:"seq"`
	At  time.Time `json:"at"`
}

// Entry is the life of one thing.
type Entry struct {
	Kind    string  `json:"kind"` // VirtualMachine, Folder, ResourcePool, VirtualMachineSnapshot, Rule, Group, Category, Tag, TagAttachment, Library, LibraryItem, UpdateSession, Lease, Session, RestSession
	ID      string  `json:"id"`
	Name    string  `json:"name,omitempty"`
	By      string  `json:"by,omitempty"` // who made it; empty for what the inventory file brought
	Initial bool    `json:"initial,omitempty"`
	Made    Moment  `json:"made"`
	Gone    *Moment `json:"gone,omitempty"`
	How     string  `json:"how,omitempty"` // it ended

	Path         string            `json:"path,omitempty"`
	UUID         string            `json:"uuid,omitempty"`
	InstanceUUID string            `json:"instanceUuid,omitempty"`
	Template     bool              `json:"template,omitempty"`
	Options      map[string]string `json:"options,omitempty"` // extraConfig without guestinfo.*
	Marks        []Mark            `json:"marks,omitempty"`   // each value that those options have had
	Disks        []string          `json:"disks,omitempty"`
}

// Mark is an option of a machine that was given a value.
type Mark struct {
	Moment
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Ledger is what GET /ledger answers.
type Ledger struct {
	Entries []Entry  `json:"entries"`
	Files   []string `json:"files"` // on the datastores, now
	Seq     int      `json:"seq"`
}

var kept = []string{"VirtualMachine", "Folder", "ResourcePool", "VirtualMachineSnapshot"}

func newLedger(s *Server) *ledger {
	l := &ledger{server: s, book: map[string]*Entry{}}
	for _, kind := range kept {
		for _, entity := range s.registry.All(kind) {
			l.PutObject(nil, entity)
		}
	}
	l.clusters("")
	for _, entry := range l.book {
		entry.Initial = true
	}
	s.registry.AddHandler(l)
	return l
}

// Reference is that of the listener in the registry, not of a managed object.
func (l *ledger) Reference() ref { return ref{Type: "LabLedger", Value: "ledger"} }

func (l *ledger) now() Moment {
	l.seq++
	return Moment{Seq: l.seq, At: time.Now().UTC()}
}

// made opens an entry; one that is open already stays as it is.
func (l *ledger) made(kind, id, name, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.book[kind+" "+id]; at == nil || at.Gone != nil {
		if at != nil { // a name used again, such as a rule's
			l.book[kind+" "+id+" "+at.Made.At.String()] = at
		}
		l.book[kind+" "+id] = &Entry{Kind: kind, ID: id, Name: name, By: by, Made: l.now()}
	}
}

func (l *ledger) gone(kind, id, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry := l.book[kind+" "+id]; entry != nil && entry.Gone == nil {
		at := l.now()
		entry.Gone, entry.How = &at, how
	}
}

// by says who made a machine, once that is known.
func (l *ledger) by(vm ref, session *simulator.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry := l.book[vm.Type+" "+vm.Value]; entry != nil && session != nil {
		entry.By = session.UserName
	}
}

// PutObject opens an entry.
func (l *ledger) PutObject(_ *simulator.Context, item mo.Reference) {
	self := item.Reference()
	if !slices.Contains(kept, self.Type) {
		return
	}
	name := ""
	if entity, ok := item.(mo.Entity); ok {
		name = entity.Entity().Name
	}
	l.made(self.Type, self.Value, name, "")
	if vm, ok := item.(*simulator.VirtualMachine); ok && vm.Config != nil {
		l.look(vm)
	}
}

// UpdateObject notes what a machine is.
func (l *ledger) UpdateObject(_ *simulator.Context, item mo.Reference, changes []types.PropertyChange) {
	vm, ok := item.(*simulator.VirtualMachine)
	if !ok || vm.Config == nil {
		if machine, is := item.(*mo.VirtualMachine); is { // the registry passes on the inner object
			vm, ok = l.server.registry.Get(machine.Self).(*simulator.VirtualMachine)
		}
		if !ok || vm.Config == nil {
			return
		}
	}
	if slices.ContainsFunc(changes, func(c types.PropertyChange) bool {
		return c.Name == "config.extraConfig" || c.Name == "name" || c.Name == "config.template" ||
			strings.HasSuffix(strings.ToLower(c.Name), "uuid")
	}) {
		l.look(vm)
	}
}

// RemoveObject closes an entry.
func (l *ledger) RemoveObject(_ *simulator.Context, self ref) {
	if !slices.Contains(kept, self.Type) {
		return
	}
	if vm, ok := l.server.registry.Get(self).(*simulator.VirtualMachine); ok && vm.Config != nil {
		l.look(vm)
	}
	l.gone(self.Type, self.Value, "removed")
}

// look writes down what a machine is now. Its lock is held, or nobody else knows of it yet.
func (l *ledger) look(vm *simulator.VirtualMachine) {
	options := map[string]string{}
	for _, o := range vm.Config.ExtraConfig {
		if option := o.GetOptionValue(); !strings.HasPrefix(option.Key, guestinfoPrefix) && !simulatorsOwn(o) {
			options[option.Key] = optionText(option)
		}
	}
	var disks []string
	for _, disk := range disksOf(vm) {
		if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			disks = append(disks, backing.FileName)
		}
	}
	path := l.server.path(vm)
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := l.book[vm.Self.Type+" "+vm.Self.Value]
	if entry == nil {
		return
	}
	for key, value := range options {
		if was, had := entry.Options[key]; !had || was != value {
			entry.Marks = append(entry.Marks, Mark{Moment: l.now(), Key: key, Value: value})
		}
	}
	for key := range entry.Options {
		if _, has := options[key]; !has {
			entry.Marks = append(entry.Marks, Mark{Moment: l.now(), Key: key})
		}
	}
	entry.Name, entry.Path, entry.Options, entry.Disks = vm.Name, path, options, disks
	entry.UUID, entry.InstanceUUID = strings.ToLower(vm.Config.Uuid), strings.ToLower(vm.Config.InstanceUuid)
	entry.Template = vm.Config.Template
}

// clusters compares the rules and groups of compute clusters with those known.
func (l *ledger) clusters(by string) {
	seen := map[string]bool{}
	note := func(kind, cluster, name string) {
		id := cluster + "/" + name
		seen[kind+" "+id] = true
		l.made(kind, id, name, by)
	}
	ctx := l.server.internal()
	for _, entity := range l.server.registry.All("ClusterComputeResource") {
		cluster := entity.(*simulator.ClusterComputeResource)
		ctx.WithLock(cluster, func() {
			config, ok := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
			if !ok {
				return
			}
			for _, rule := range config.Rule {
				note("Rule", cluster.Self.Value, rule.GetClusterRuleInfo().Name)
			}
			for _, group := range config.Group {
				note("Group", cluster.Self.Value, group.GetClusterGroupInfo().Name)
			}
		})
	}
	l.mu.Lock()
	var lost []*Entry
	for key, entry := range l.book {
		if (entry.Kind == "Rule" || entry.Kind == "Group") && entry.Gone == nil && !seen[key] {
			lost = append(lost, entry)
		}
	}
	l.mu.Unlock()
	for _, entry := range lost {
		l.gone(entry.Kind, entry.ID, "removed")
	}
}

// tagging follows what was done to tags and categories over REST.
func (l *ledger) tagging(r *http.Request, user string, sent, answered []byte) {
	rest, ok := strings.CutPrefix(r.URL.Path, taggingPath)
	if !ok {
		return
	}
	collection, id, _ := strings.Cut(rest, "/")
	id = strings.TrimPrefix(id, "id:")
	action := r.URL.Query().Get("~action")
	var made struct {
		Value string `json:"value"`
	}
	var spec struct {
		Create struct {
			Name string `json:"name"`
		} `json:"create_spec"`
		Object struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		} `json:"object_id"`
	}
	_ = json.Unmarshal(sent, &spec)
	kind := map[string]string{"category": "Category", "tag": "Tag", "tag-association": "TagAttachment"}[collection]
	switch {
	case kind == "TagAttachment" && action == "attach":
		l.made(kind, id+" "+spec.Object.Type+":"+spec.Object.ID, "", user)
	case kind == "TagAttachment" && action == "detach":
		l.gone(kind, id+" "+spec.Object.Type+":"+spec.Object.ID, "detached")
	case kind == "" || kind == "TagAttachment":
	case r.Method == http.MethodPost && action == "" && id == "" && json.Unmarshal(answered, &made) == nil:
		l.made(kind, made.Value, spec.Create.Name, user)
	case r.Method == http.MethodDelete && id != "":
		l.gone(kind, id, "deleted")
	}
}

// Ledger gives the whole account, in the order of making.
func (s *Server) Ledger() Ledger {
	l := s.ledger
	l.clusters("")
	ctx := s.internal()
	for _, entity := range s.registry.All("VirtualMachine") { // what the simulator changes without a word
		vm := entity.(*simulator.VirtualMachine)
		ctx.WithLock(vm, func() {
			if vm.Config != nil {
				l.look(vm)
			}
		})
	}
	out := Ledger{Entries: []Entry{}, Files: s.files()}
	for _, kind := range kept[1:] {
		for _, entity := range s.registry.All(kind) {
			path := s.path(entity)
			l.mu.Lock()
			if entry := l.book[kind+" "+entity.Reference().Value]; entry != nil {
				entry.Name, entry.Path = nameOf(entity), path
			}
			l.mu.Unlock()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, entry := range l.book {
		out.Entries = append(out.Entries, *entry)
	}
	slices.SortFunc(out.Entries, func(a, b Entry) int { return cmp.Compare(a.Made.Seq, b.Made.Seq) })
	out.Seq = l.seq
	return out
}

// files lists the disks' files on all datastores, as "[datastore] folder/file.vmdk".
func (s *Server) files() []string {
	out := []string{}
	for _, entity := range s.registry.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		dir := ds.Info.GetDatastoreInfo().Url
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".vmdk") && !strings.HasSuffix(path, "-flat.vmdk") {
				if name, err := filepath.Rel(dir, path); err == nil {
					at := object.DatastorePath{Datastore: ds.Name, Path: name}
					out = append(out, at.String())
				}
			}
			return nil
		})
	}
	slices.Sort(out)
	return out
}
