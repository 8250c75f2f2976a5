package vcenter

import (
	"cmp"
	"fmt"
	"slices"
)

// Permission as the control port takes and lists it.
type Permission struct {
	Principal string `json:"principal"`
	Group     bool   `json:"group"`
	Role      string `json:"role,omitempty"`
	On        string `json:"on"`        // path or moref
	Propagate *bool  `json:"propagate"` // default true
}

// Permissions lists all permissions.
func (s *Server) Permissions() []Permission {
	names := map[int32]string{}
	for _, role := range s.policy.Roles() {
		names[role.ID] = role.Name
	}
	out := []Permission{}
	for on, list := range s.policy.All() {
		for _, one := range list {
			given := Permission{Principal: one.Principal, Group: one.Group, Role: names[one.Role], On: on.Value, Propagate: &one.Propagate}
			if entity, err := s.entityAt(on.Value); err == nil {
				given.On = s.path(entity)
			}
			out = append(out, given)
		}
	}
	slices.SortFunc(out, func(a, b Permission) int {
		return cmp.Or(cmp.Compare(a.On, b.On), cmp.Compare(a.Principal, b.Principal))
	})
	return out
}

// Grant sets a permission as an administrator would.
func (s *Server) Grant(given Permission) error {
	propagate := given.Propagate == nil || *given.Propagate
	return s.grant(given.Principal, given.Group, given.On, given.Role, propagate)
}

// Withdraw removes a permission.
func (s *Server) Withdraw(given Permission) error {
	entity, err := s.entityAt(given.On)
	if err != nil {
		return err
	}
	if !s.policy.Withdraw(entity.Reference(), given.Principal, given.Group) {
		return fmt.Errorf("%s has no permission of its own on %s", given.Principal, given.On)
	}
	return nil
}
