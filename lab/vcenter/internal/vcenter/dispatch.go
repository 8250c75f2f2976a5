package vcenter

import (
	"reflect"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/authz"
	"lab-vcenter/internal/collector"
)

// shadow marks the reference of a redirected call, so that the simulator does not find its own object
// under it and uses the one that dispatch answers.
const shadow = "\x00"

// open are the methods that need no session.
var open = map[string]bool{
	"Login": true, "LoginByToken": true, "LoginExtensionByCertificate": true, "CloneSession": true,
	"RetrieveServiceContent": true, "RetrieveInternalContent": true,
}

// dispatch is the simulator's Registry.Handler: it sees each call before it runs.
func (s *Server) dispatch(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	c := callOf(ctx)
	if c == nil {
		return nil, nil // from inside
	}
	if slices.Contains(priorVersions, c.version) && !s.speaks(c.version) {
		c.text = `Unsupported version URI "urn:vim25/` + c.version + `" while parsing SOAP body.`
		return nil, &types.InvalidRequest{}
	}
	if ctx.Session != nil && !s.sessions.live(ctx) {
		ctx.Session = nil
		return nil, notAuthenticated(method.This)
	}
	if c.fault != nil && !c.fault.Late {
		fault, err := newFault(c.fault.Fault)
		if err == nil {
			c.text = c.fault.text()
			return nil, fault
		}
	}
	if ctx.Session == nil {
		if readsServiceInstance(method) {
			return s.anonymous, nil
		}
		if open[method.Name] {
			return nil, s.mayLogIn(c, method)
		}
		return nil, notAuthenticated(method.This)
	}
	if refused := s.authorize(ctx, method); refused != nil {
		c.text = refused.text
		return nil, refused.fault
	}
	_, entity := s.registry.Get(method.This).(mo.Entity)
	c.this, c.writes = method.This, entity
	handler, fault := s.replacement(ctx, method)
	if handler != nil {
		method.This.Value += shadow
	}
	return handler, fault
}

// mayLogIn refuses what the simulator takes without a look: tokens that nobody signed, users without a role.
func (s *Server) mayLogIn(c *call, method *simulator.Method) types.BaseMethodFault {
	switch body := method.Body.(type) {
	case *types.LoginByToken:
		return &types.InvalidLogin{}
	case *types.Login:
		if s.sessions.valid(body) && !s.policy.Anything(body.UserName) {
			refused := s.noPermission(c, []need{{authz.View, s.content.RootFolder}})
			c.text = refused.text
			return refused.fault
		}
	}
	return nil
}

// replacement answers the object of ours that stands in for one of the simulator's.
func (s *Server) replacement(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if method.This == s.content.PropertyCollector {
		if ctx.Session.Registry.Get(method.This) == nil { // its own one, made on first use
			ctx.Session.Registry.Put(collector.New(s.hub, method.This))
		}
		return nil, nil
	}
	switch object := s.registry.Get(method.This).(type) {
	case *simulator.ViewManager:
		return &collector.Views{ViewManager: object, Hub: s.hub}, nil
	case *simulator.SearchIndex:
		return &searchIndex{SearchIndex: object, server: s}, nil
	case *simulator.VirtualMachine:
		return &machine{VirtualMachine: object, server: s}, nil
	case *simulator.ClusterComputeResource:
		return &computeCluster{ClusterComputeResource: object, server: s}, nil
	case *simulator.HostSystem:
		return &host{HostSystem: object, server: s}, nil
	case *simulator.Folder:
		return &folder{Folder: object, server: s}, nil
	case *simulator.ResourcePool:
		return &resourcePool{ResourcePool: object, server: s}, nil
	case *simulator.Datacenter:
		return &datacenter{Datacenter: object, server: s}, nil
	case *simulator.AuthorizationManager:
		return &authorizationManager{AuthorizationManager: object, server: s}, nil
	case *simulator.Datastore:
		return &datastore{Datastore: object}, nil
	}
	return nil, nil
}

// readsServiceInstance is true for what clients ask before they log in.
func readsServiceInstance(method *simulator.Method) bool {
	switch body := method.Body.(type) {
	case *types.RetrieveProperties:
		return onlyOpenObjects(body.SpecSet)
	case *types.RetrievePropertiesEx:
		return onlyOpenObjects(body.SpecSet)
	}
	if method.Name != "Fetch" { // the type of its body is the simulator's own
		return false
	}
	object := reflect.ValueOf(method.Body).Elem().FieldByName("This").Interface().(ref)
	return openObject(object)
}

func openObject(object ref) bool {
	return object == vim25.ServiceInstance || object.Type == "SessionManager"
}

func onlyOpenObjects(specs []types.PropertyFilterSpec) bool {
	for _, spec := range specs {
		for _, object := range spec.ObjectSet {
			if !openObject(object.Obj) || len(object.SelectSet) > 0 {
				return false
			}
		}
	}
	return true
}

func notAuthenticated(this ref) types.BaseMethodFault {
	return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &this, PrivilegeId: "System.View"}}
}
