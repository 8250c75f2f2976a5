package vcenter

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
)

// authorizationManager answers from the lab's own policy; the simulator's grants everything.
type authorizationManager struct {
	*simulator.AuthorizationManager
	server *Server
}

// Lock does nothing: a change of a role updates the simulator's manager, which has the same reference and so
// would wait for the lock of the very call that it serves. What is shared is guarded by the policy.
func (m *authorizationManager) Lock() {}

// Unlock does nothing, like Lock.
func (m *authorizationManager) Unlock() {}

// permissionsChanged brings what follows from permissions up to date.
func (s *Server) permissionsChanged() {
	ctx := s.internal()
	manager := s.registry.Get(*s.content.AuthorizationManager).(*simulator.AuthorizationManager)
	var roles []types.AuthorizationRole
	for _, role := range s.policy.Roles() {
		roles = append(roles, types.AuthorizationRole{
			RoleId: role.ID, Name: role.Name, System: role.System, Privilege: sorted(role.Privileges),
			Info: &types.Description{Label: role.Name, Summary: role.Name},
		})
	}
	ctx.WithLock(manager, func() { manager.RoleList = roles })
	s.hub.Reconsider(ctx)
}

func sorted(names map[string]bool) []string {
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func shown(on ref, given []authz.Permission) []types.Permission {
	var out []types.Permission
	for _, one := range given {
		out = append(out, types.Permission{
			Entity: &on, Principal: one.Principal, Group: one.Group, RoleId: one.Role, Propagate: one.Propagate,
		})
	}
	return out
}

// RetrieveEntityPermissions lists the permissions on an object, with those that it inherits if asked for.
func (m *authorizationManager) RetrieveEntityPermissions(_ *simulator.Context, req *types.RetrieveEntityPermissions) soap.HasFault {
	out := shown(req.Entity, m.server.policy.On(req.Entity))
	if req.Inherited {
		for above := m.server.parents(req.Entity); len(above) > 0; {
			var next []ref
			for _, one := range above {
				for _, given := range shown(one, m.server.policy.On(one)) {
					if given.Propagate {
						out = append(out, given)
					}
				}
				next = append(next, m.server.parents(one)...)
			}
			above = next
		}
	}
	return &methods.RetrieveEntityPermissionsBody{Res: &types.RetrieveEntityPermissionsResponse{Returnval: out}}
}

// RetrieveAllPermissions lists all.
func (m *authorizationManager) RetrieveAllPermissions(*types.RetrieveAllPermissions) soap.HasFault {
	return &methods.RetrieveAllPermissionsBody{Res: &types.RetrieveAllPermissionsResponse{Returnval: m.all(nil)}}
}

// RetrieveRolePermissions lists those that give a role.
func (m *authorizationManager) RetrieveRolePermissions(req *types.RetrieveRolePermissions) soap.HasFault {
	of := func(given types.Permission) bool { return given.RoleId == req.RoleId }
	return &methods.RetrieveRolePermissionsBody{Res: &types.RetrieveRolePermissionsResponse{Returnval: m.all(of)}}
}

func (m *authorizationManager) all(wanted func(types.Permission) bool) []types.Permission {
	var out []types.Permission
	for on, list := range m.server.policy.All() {
		for _, given := range shown(on, list) {
			if wanted == nil || wanted(given) {
				out = append(out, given)
			}
		}
	}
	return out
}

// SetEntityPermissions adds permissions, or changes those of the same principals.
func (m *authorizationManager) SetEntityPermissions(req *types.SetEntityPermissions) soap.HasFault {
	for _, given := range req.Permission {
		known := slices.ContainsFunc(m.server.policy.Roles(), func(role authz.Role) bool { return role.ID == given.RoleId })
		if !known {
			return &methods.SetEntityPermissionsBody{Fault_: simulator.Fault("", &types.NotFound{})}
		}
	}
	for _, given := range req.Permission {
		m.server.policy.Grant(req.Entity, authz.Permission{
			Principal: given.Principal, Group: given.Group, Role: given.RoleId, Propagate: given.Propagate,
		})
	}
	return &methods.SetEntityPermissionsBody{Res: new(types.SetEntityPermissionsResponse)}
}

// ResetEntityPermissions replaces all permissions on an object.
func (m *authorizationManager) ResetEntityPermissions(req *types.ResetEntityPermissions) soap.HasFault {
	for _, old := range m.server.policy.On(req.Entity) {
		m.server.policy.Withdraw(req.Entity, old.Principal, old.Group)
	}
	body := m.SetEntityPermissions(&types.SetEntityPermissions{This: req.This, Entity: req.Entity, Permission: req.Permission})
	if fault := body.Fault(); fault != nil {
		return &methods.ResetEntityPermissionsBody{Fault_: fault}
	}
	return &methods.ResetEntityPermissionsBody{Res: new(types.ResetEntityPermissionsResponse)}
}

// RemoveEntityPermission withdraws one.
func (m *authorizationManager) RemoveEntityPermission(req *types.RemoveEntityPermission) soap.HasFault {
	if !m.server.policy.Withdraw(req.Entity, req.User, req.IsGroup) {
		return &methods.RemoveEntityPermissionBody{Fault_: simulator.Fault("", &types.NotFound{})}
	}
	return &methods.RemoveEntityPermissionBody{Res: new(types.RemoveEntityPermissionResponse)}
}

func (m *authorizationManager) availability(user string, entity ref, privileges []string) []types.PrivilegeAvailability {
	var out []types.PrivilegeAvailability
	for _, privilege := range privileges {
		out = append(out, types.PrivilegeAvailability{PrivId: privilege, IsGranted: m.server.policy.Has(user, entity, privilege)})
	}
	return out
}

// HasPrivilegeOnEntities says which of some privileges a session has on some objects.
func (m *authorizationManager) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	user, ok := m.userOf(ctx, req.SessionId)
	if !ok {
		return &methods.HasPrivilegeOnEntitiesBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "sessionId"})}
	}
	var out []types.EntityPrivilege
	for _, entity := range req.Entity {
		if m.server.registry.Get(entity) == nil {
			return &methods.HasPrivilegeOnEntitiesBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: entity})}
		}
		out = append(out, types.EntityPrivilege{Entity: entity, PrivAvailability: m.availability(user, entity, req.PrivId)})
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: out}}
}

// userOf finds whose session it is: the caller's own one, or another that is open.
func (m *authorizationManager) userOf(ctx *simulator.Context, session string) (string, bool) {
	if session == ctx.Session.Key {
		return ctx.Session.UserName, true
	}
	return m.server.sessions.user(session)
}

// heldBody answers HasPrivilegeOnEntity: the simulator's type for it leaves out every false.
type heldBody struct {
	Res    *heldResponse `xml:"urn:vim25 HasPrivilegeOnEntityResponse,omitempty"`
	Fault_ *soap.Fault   `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"` //nolint:revive // found by name
}

type heldResponse struct {
	Returnval []bool `xml:"returnval"`
}

// Fault is that of the call.
func (b *heldBody) Fault() *soap.Fault { return b.Fault_ }

// HasPrivilegeOnEntity is the older, single form.
func (m *authorizationManager) HasPrivilegeOnEntity(ctx *simulator.Context, req *types.HasPrivilegeOnEntity) soap.HasFault {
	user, ok := m.userOf(ctx, req.SessionId)
	if !ok {
		return &heldBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "sessionId"})}
	}
	body := &heldBody{Res: new(heldResponse)}
	for _, one := range m.availability(user, req.Entity, req.PrivId) {
		body.Res.Returnval = append(body.Res.Returnval, one.IsGranted)
	}
	return body
}

// HasUserPrivilegeOnEntities asks for a user by name.
func (m *authorizationManager) HasUserPrivilegeOnEntities(_ *simulator.Context, req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	var out []types.EntityPrivilege
	for _, entity := range req.Entities {
		out = append(out, types.EntityPrivilege{Entity: entity, PrivAvailability: m.availability(req.UserName, entity, req.PrivId)})
	}
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: &types.HasUserPrivilegeOnEntitiesResponse{Returnval: out}}
}

// FetchUserPrivilegeOnEntities lists all that a user holds.
func (m *authorizationManager) FetchUserPrivilegeOnEntities(_ *simulator.Context, req *types.FetchUserPrivilegeOnEntities) soap.HasFault {
	var out []types.UserPrivilegeResult
	for _, entity := range req.Entities {
		if m.server.registry.Get(entity) == nil {
			return &methods.FetchUserPrivilegeOnEntitiesBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: entity})}
		}
		out = append(out, types.UserPrivilegeResult{Entity: entity, Privileges: m.server.policy.Granted(req.UserName, entity)})
	}
	return &methods.FetchUserPrivilegeOnEntitiesBody{Res: &types.FetchUserPrivilegeOnEntitiesResponse{Returnval: out}}
}

func (m *authorizationManager) unknown(privileges []string) *soap.Fault {
	for _, privilege := range privileges {
		if !m.server.policy.Known(privilege) {
			return simulator.Fault("A specified parameter was not correct: privIds", &types.InvalidArgument{InvalidProperty: "privIds"})
		}
	}
	return nil
}

// AddAuthorizationRole makes a role.
func (m *authorizationManager) AddAuthorizationRole(req *types.AddAuthorizationRole) soap.HasFault {
	if fault := m.unknown(req.PrivIds); fault != nil {
		return &methods.AddAuthorizationRoleBody{Fault_: fault}
	}
	if _, taken := m.server.policy.RoleNamed(req.Name); taken {
		return &methods.AddAuthorizationRoleBody{Fault_: simulator.Fault("", &types.AlreadyExists{Name: req.Name})}
	}
	id := m.server.policy.PutRole(0, req.Name, req.PrivIds)
	return &methods.AddAuthorizationRoleBody{Res: &types.AddAuthorizationRoleResponse{Returnval: id}}
}

// UpdateAuthorizationRole gives a role another name and other privileges.
func (m *authorizationManager) UpdateAuthorizationRole(req *types.UpdateAuthorizationRole) soap.HasFault {
	fault := m.unknown(req.PrivIds)
	for _, role := range m.server.policy.Roles() {
		switch {
		case role.ID == req.RoleId && role.System:
			fault = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "roleId"})
		case role.ID == req.RoleId && fault == nil:
			m.server.policy.PutRole(req.RoleId, req.NewName, req.PrivIds)
			return &methods.UpdateAuthorizationRoleBody{Res: new(types.UpdateAuthorizationRoleResponse)}
		}
	}
	if fault == nil {
		fault = simulator.Fault("", &types.NotFound{})
	}
	return &methods.UpdateAuthorizationRoleBody{Fault_: fault}
}

// RemoveAuthorizationRole removes a role; when it is in use only if that does not matter.
func (m *authorizationManager) RemoveAuthorizationRole(req *types.RemoveAuthorizationRole) soap.HasFault {
	for _, role := range m.server.policy.Roles() {
		if role.ID != req.RoleId || role.System {
			continue
		}
		used := m.all(func(given types.Permission) bool { return given.RoleId == req.RoleId })
		if req.FailIfUsed && len(used) > 0 {
			return &methods.RemoveAuthorizationRoleBody{Fault_: simulator.Fault("", &types.RemoveFailed{})}
		}
		m.server.policy.RemoveRole(req.RoleId)
		return &methods.RemoveAuthorizationRoleBody{Res: new(types.RemoveAuthorizationRoleResponse)}
	}
	return &methods.RemoveAuthorizationRoleBody{Fault_: simulator.Fault("", &types.NotFound{})}
}
