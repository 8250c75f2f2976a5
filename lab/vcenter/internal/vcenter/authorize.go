package vcenter

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
	"lab-vcenter/internal/inventory"
)

// need is one privilege on one object, without which a call does not run.
type need struct {
	privilege string
	on        ref
}

// newPolicy gives the users of an inventory file what it says; one of whom it says nothing is administrator.
func (s *Server) newPolicy(spec *inventory.Spec) error {
	all := object.AuthorizationRoleList(esx.RoleList).ByName("Admin").Privilege
	s.policy = authz.New(all, s.parents)
	root := s.content.RootFolder
	for _, role := range spec.Roles {
		for _, privilege := range role.Privileges {
			if !s.policy.Known(privilege) {
				return fmt.Errorf("role %s: there is no privilege %q", role.Name, privilege)
			}
		}
		s.policy.PutRole(0, role.Name, role.Privileges)
	}
	for _, group := range spec.Groups {
		if err := s.grantAll(group.Name, true, group.Permissions); err != nil {
			return err
		}
	}
	for _, user := range spec.Users {
		for _, group := range user.Groups {
			s.policy.Join(user.Name, group)
		}
		if user.Permissions == nil && len(user.Groups) == 0 {
			s.policy.Grant(root, authz.Permission{Principal: user.Name, Role: authz.Admin, Propagate: true})
		}
		if err := s.grantAll(user.Name, false, user.Permissions); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) grantAll(principal string, group bool, permissions []inventory.Permission) error {
	for _, given := range permissions {
		propagate := given.Propagate == nil || *given.Propagate
		if err := s.grant(principal, group, given.On, given.Role, propagate); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) grant(principal string, group bool, on, role string, propagate bool) error {
	entity, err := s.entityAt(on)
	if err != nil {
		return fmt.Errorf("permission of %s: %w", principal, err)
	}
	given, ok := s.policy.RoleNamed(role)
	if !ok {
		return fmt.Errorf("permission of %s on %s: there is no role %q", principal, on, role)
	}
	s.policy.Grant(entity.Reference(), authz.Permission{Principal: principal, Group: group, Role: given.ID, Propagate: propagate})
	return nil
}

// parents are the objects that an object inherits permissions from: a virtual machine from two.
func (s *Server) parents(self ref) []ref {
	switch o := s.registry.Get(self).(type) {
	case *simulator.VirtualMachine:
		var above []ref
		for _, one := range []*ref{o.Parent, o.ResourcePool} {
			if one != nil {
				above = append(above, *one)
			}
		}
		if o.ResourcePool == nil && o.Runtime.Host != nil { // a template
			above = append(above, *o.Runtime.Host)
		}
		return above
	case mo.Entity:
		if parent := o.Entity().Parent; parent != nil {
			return []ref{*parent}
		}
	}
	return nil
}

// guard is the policy as the property collector asks it.
type guard struct{ server *Server }

// Unlimited is true for administrators of everything.
func (g guard) Unlimited(session *simulator.Session) bool {
	return g.server.policy.Unlimited(session.UserName, g.server.content.RootFolder)
}

// Sees is true for entities with System.View, and for all else.
func (g guard) Sees(session *simulator.Session, self ref) bool {
	if _, entity := g.server.registry.Get(self).(mo.Entity); !entity {
		return true
	}
	return g.server.policy.Has(session.UserName, self, authz.View)
}

// Lacks names the privilege without which a property cannot be read: System.Read where the API does not
// say another one. Of what is no entity, only tasks and snapshots belong to one.
func (g guard) Lacks(session *simulator.Session, self ref, kind reflect.Type, property string) string {
	on := self
	switch o := g.server.registry.Get(self).(type) {
	case mo.Entity:
	case *simulator.Task:
		if own(session, o) || o.Info.Entity == nil || g.server.registry.Get(*o.Info.Entity) == nil {
			return ""
		}
		on = *o.Info.Entity
	case *simulator.VirtualMachineSnapshot:
		on = o.Vm
	default:
		return ""
	}
	privilege := authz.Read
	for at := kind; ; {
		if said, ok := authz.OfProperty(at.Name(), property); ok {
			privilege = said
			break
		}
		if at.Kind() != reflect.Struct || at.NumField() == 0 || !at.Field(0).Anonymous {
			break
		}
		at = at.Field(0).Type
	}
	if g.server.policy.Has(session.UserName, on, privilege) {
		return ""
	}
	return privilege
}

func own(session *simulator.Session, task *simulator.Task) bool {
	reason, ok := task.Info.Reason.(*types.TaskReasonUser)
	return ok && reason.UserName == session.UserName
}

// authorize checks a call before it runs. A method, or a field of a specification, of which nobody has
// said what it needs is refused to everyone.
func (s *Server) authorize(ctx *simulator.Context, method *simulator.Method) *refusal {
	row, known := authz.Of(method.Name)
	if !known {
		return refuseText(&types.NotSupported{}, fmt.Sprintf(
			"The lab does not know which privilege %s needs: give it a row in lab/vcenter/internal/authz/table.go.", method.Name))
	}
	needs, refused := s.needs(ctx, method, row)
	if refused != nil {
		return refused
	}
	user := ctx.Session.UserName
	if s.policy.Unlimited(user, s.content.RootFolder) {
		return nil
	}
	var missing []need
	for _, one := range needs {
		if !s.policy.Has(user, one.on, one.privilege) {
			missing = append(missing, one)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return s.noPermission(callOf(ctx), missing)
}

func (s *Server) noPermission(c *call, missing []need) *refusal {
	fault := &types.NoPermission{Object: &missing[0].on, PrivilegeId: missing[0].privilege}
	var names []string
	for _, one := range missing {
		names = append(names, one.privilege+" on "+s.nameOfRef(&one.on))
		if s.speaks("7.0.3.2") && c.canRead("7.0.3.2") {
			fault.MissingPrivileges = append(fault.MissingPrivileges, types.NoPermissionEntityPrivileges{
				Entity: one.on, PrivilegeIds: []string{one.privilege},
			})
		}
	}
	return refuseText(fault, message("NoPermission")+" Missing: "+strings.Join(names, ", ")+".")
}

// needs lists what a call needs: by the tables on the object called and on parameters, and by the rules of
// needs.go on what stands in its specification.
func (s *Server) needs(ctx *simulator.Context, method *simulator.Method, row authz.Method) ([]need, *refusal) {
	var out []need
	this := s.registry.Get(method.This)
	switch o := this.(type) {
	case mo.Entity:
		out = append(out, need{authz.View, method.This})
		if row.Privilege != "" {
			out = append(out, need{row.Privilege, method.This})
		}
	case *simulator.VirtualMachineSnapshot:
		out = append(out, need{authz.View, o.Vm}, need{row.Privilege, o.Vm})
	case nil: // of the session, or nowhere: the call will tell
	default:
		if row.Privilege != "" && !strings.HasPrefix(row.Privilege, "System.") { // who has a session has those
			out = append(out, need{row.Privilege, s.behind(method.This)})
		}
	}
	for name, privilege := range row.Parameters {
		for _, given := range parameters(method.Body, name) {
			switch o := s.registry.Get(given).(type) {
			case mo.Entity:
				out = append(out, need{privilege, given})
			case *simulator.VirtualMachineSnapshot:
				out = append(out, need{privilege, o.Vm})
			}
		}
	}
	more, refused := s.needsByCode(ctx, this, method)
	return append(out, more...), refused
}

// behind is the host whose manager an object is, or the root folder for managers of the whole vCenter.
func (s *Server) behind(manager ref) ref {
	for _, entity := range s.registry.All("HostSystem") {
		managers := reflect.ValueOf(entity.(*simulator.HostSystem).ConfigManager)
		for i := range managers.NumField() {
			if one, ok := managers.Field(i).Interface().(*ref); ok && one != nil && *one == manager {
				return entity.Reference()
			}
		}
	}
	return s.content.RootFolder
}

// parameters are the objects given as one parameter of a call.
func parameters(body any, name string) []ref {
	value := reflect.Indirect(reflect.ValueOf(body))
	if value.Kind() != reflect.Struct {
		return nil
	}
	field := value.FieldByName(strings.ToUpper(name[:1]) + name[1:])
	if !field.IsValid() {
		return nil
	}
	switch given := field.Interface().(type) {
	case ref:
		return []ref{given}
	case *ref:
		if given != nil {
			return []ref{*given}
		}
	case []ref:
		return given
	}
	return nil
}
