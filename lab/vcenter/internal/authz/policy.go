package authz

import (
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

type ref = types.ManagedObjectReference

// The privileges that every role has but No access.
const (
	View      = "System.View"
	Read      = "System.Read"
	Anonymous = "System.Anonymous"
)

// Roles that every vCenter has, by the numbers that it gives them.
const (
	NoAccess int32 = -5
	ReadOnly int32 = -2
	Admin    int32 = -1
)

// Role is a set of privileges.
type Role struct {
	ID         int32
	Name       string
	System     bool
	Privileges map[string]bool
}

// Permission gives a role to a user or group on an object.
type Permission struct {
	Principal string
	Group     bool
	Role      int32
	Propagate bool
}

// Policy says who may do what. Parents gives the objects that an object inherits permissions from: one for
// most, the folder and the resource pool for a virtual machine.
type Policy struct {
	parents func(ref) []ref
	changed func()

	mu          sync.RWMutex
	roles       map[int32]*Role
	next        int32
	groups      map[string][]string // of a user
	permissions map[ref][]Permission
}

// New makes a policy with the system's roles and without permissions.
func New(all []string, parents func(ref) []ref) *Policy {
	p := &Policy{
		parents: parents, changed: func() {}, next: 100,
		roles: map[int32]*Role{}, groups: map[string][]string{}, permissions: map[ref][]Permission{},
	}
	p.roles[Admin] = &Role{ID: Admin, Name: "Admin", System: true, Privileges: set(all)}
	p.roles[ReadOnly] = &Role{ID: ReadOnly, Name: "ReadOnly", System: true, Privileges: set([]string{View, Read, Anonymous})}
	p.roles[NoAccess] = &Role{ID: NoAccess, Name: "NoAccess", System: true, Privileges: map[string]bool{}}
	return p
}

// OnChange has a function called after each change.
func (p *Policy) OnChange(changed func()) { p.changed = changed }

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range names {
		out[name] = true
	}
	return out
}

// Principal spells a user or group in one way: VSPHERE.LOCAL\name is name@vsphere.local.
func Principal(name string) string {
	name = strings.ToLower(name)
	if domain, user, ok := strings.Cut(name, `\`); ok {
		return user + "@" + domain
	}
	return name
}

// Known is true for a privilege that the vCenter has.
func (p *Policy) Known(privilege string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.roles[Admin].Privileges[privilege]
}

// PutRole adds a role, or changes it. As in a vCenter it always has the three System privileges.
func (p *Policy) PutRole(id int32, name string, privileges []string) int32 {
	defer p.changed()
	p.mu.Lock()
	defer p.mu.Unlock()
	if id == 0 {
		p.next++
		id = p.next
	}
	p.roles[id] = &Role{ID: id, Name: name, Privileges: set(append([]string{View, Read, Anonymous}, privileges...))}
	return id
}

// RemoveRole removes a role with all permissions that give it.
func (p *Policy) RemoveRole(id int32) {
	defer p.changed()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.roles, id)
	for on, list := range p.permissions {
		p.permissions[on] = slices.DeleteFunc(slices.Clone(list), func(one Permission) bool { return one.Role == id })
	}
}

// Roles lists all roles, by number.
func (p *Policy) Roles() []Role {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var out []Role
	for _, role := range p.roles {
		out = append(out, *role)
	}
	slices.SortFunc(out, func(a, b Role) int { return int(a.ID - b.ID) })
	return out
}

// RoleNamed finds a role; "Administrator" and the like are taken for the API's own names.
func (p *Policy) RoleNamed(name string) (Role, bool) {
	switch strings.ReplaceAll(strings.ToLower(name), "-", "") {
	case "administrator", "admin":
		name = "Admin"
	case "readonly", "read only":
		name = "ReadOnly"
	case "noaccess", "no access":
		name = "NoAccess"
	}
	for _, role := range p.Roles() {
		if role.Name == name {
			return role, true
		}
	}
	return Role{}, false
}

// Join puts a user into a group.
func (p *Policy) Join(user, group string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user = Principal(user)
	p.groups[user] = append(p.groups[user], Principal(group))
}

// Grant sets a permission; one of the same principal on the object is replaced.
func (p *Policy) Grant(on ref, given Permission) {
	defer p.changed()
	p.mu.Lock()
	defer p.mu.Unlock()
	given.Principal = Principal(given.Principal)
	p.permissions[on] = append(p.without(on, given.Principal, given.Group), given)
}

// Withdraw removes a permission; false if there was none.
func (p *Policy) Withdraw(on ref, principal string, group bool) bool {
	defer p.changed()
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.permissions[on])
	p.permissions[on] = p.without(on, Principal(principal), group)
	return len(p.permissions[on]) < before
}

func (p *Policy) without(on ref, principal string, group bool) []Permission {
	return slices.DeleteFunc(slices.Clone(p.permissions[on]), func(one Permission) bool {
		return one.Principal == principal && one.Group == group
	})
}

// Forget drops the permissions on an object that is gone.
func (p *Policy) Forget(on ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.permissions, on)
}

// On lists the permissions set on an object itself.
func (p *Policy) On(object ref) []Permission {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.permissions[object])
}

// All lists all permissions by object.
func (p *Policy) All() map[ref][]Permission {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := map[ref][]Permission{}
	for on, list := range p.permissions {
		out[on] = slices.Clone(list)
	}
	return out
}

// direct are the roles that a user has by permissions on an object itself: the user's own one wins over those
// of groups, those of several groups add up.
func (p *Policy) direct(user string, object ref, inherited bool) (roles []*Role, found bool) {
	groups := p.groups[user]
	for _, one := range p.permissions[object] {
		if inherited && !one.Propagate {
			continue
		}
		switch {
		case !one.Group && one.Principal == user:
			return []*Role{p.roles[one.Role]}, true
		case one.Group && slices.Contains(groups, one.Principal):
			roles, found = append(roles, p.roles[one.Role]), true
		}
	}
	return roles, found
}

// Has says whether a user holds a privilege on an object. The nearest permission counts, whatever is above
// it; what is inherited from two parents adds up. System.View is also held on all that is above an object
// on which the user may do something, so that there is a way to it.
func (p *Policy) Has(user string, object ref, privilege string) bool {
	user = Principal(user)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.has(user, object, privilege, false) ||
		(privilege == View || privilege == Anonymous) && p.above(user, object)
}

func (p *Policy) has(user string, object ref, privilege string, inherited bool) bool {
	if roles, found := p.direct(user, object, inherited); found {
		return slices.ContainsFunc(roles, func(role *Role) bool { return role != nil && role.Privileges[privilege] })
	}
	return slices.ContainsFunc(p.parents(object), func(parent ref) bool { return p.has(user, parent, privilege, true) })
}

// above is true for an object that stands above one with a permission of the user.
func (p *Policy) above(user string, object ref) bool {
	for on := range p.permissions {
		roles, _ := p.direct(user, on, false)
		grants := slices.ContainsFunc(roles, func(role *Role) bool { return role != nil && role.Privileges[View] })
		if grants && p.leads(on, object) {
			return true
		}
	}
	return false
}

func (p *Policy) leads(from, to ref) bool {
	return slices.ContainsFunc(p.parents(from), func(parent ref) bool { return parent == to || p.leads(parent, to) })
}

// Granted lists what a user holds on an object.
func (p *Policy) Granted(user string, object ref) []string {
	p.mu.RLock()
	var all []string
	for privilege := range p.roles[Admin].Privileges {
		all = append(all, privilege)
	}
	p.mu.RUnlock()
	slices.Sort(all)
	return slices.DeleteFunc(all, func(privilege string) bool { return !p.Has(user, object, privilege) })
}

// Anything says whether a user has any permission at all: without one there is no login.
func (p *Policy) Anything(user string) bool {
	user = Principal(user)
	p.mu.RLock()
	defer p.mu.RUnlock()
	for on := range p.permissions {
		roles, _ := p.direct(user, on, false)
		if slices.ContainsFunc(roles, func(role *Role) bool { return role != nil && len(role.Privileges) > 0 }) {
			return true
		}
	}
	return false
}

// Unlimited is true for an administrator of everything, of whom nothing need be asked.
func (p *Policy) Unlimited(user string, root ref) bool {
	user = Principal(user)
	p.mu.RLock()
	defer p.mu.RUnlock()
	for on := range p.permissions {
		roles, found := p.direct(user, on, false)
		if found && (on != root || len(roles) != 1 || roles[0] == nil || roles[0].ID != Admin) {
			return false
		}
	}
	roles, _ := p.direct(user, root, true)
	return len(roles) == 1 && roles[0] != nil && roles[0].ID == Admin
}
