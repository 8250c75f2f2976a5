package vcenter

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/inventory"
)

// viewPolicies is what everything about storage policies needs, on the root: "Profile-driven storage view",
// vSphere Security, Profile-driven Storage Privileges ("Required On: Root vCenter Server").
const viewPolicies = "StorageProfile.View"

var (
	profileManager  = ref{Type: "PbmProfileProfileManager", Value: "ProfileManager"}
	placementSolver = ref{Type: "PbmPlacementSolver", Value: "placementSolver"}
)

// policies is the policy service (SPBM) beside the inventory, under /pbm/sdk: it takes the session that a
// SOAP header names, and no other.
type policies struct {
	server *Server

	mu   sync.Mutex
	list []inventory.StoragePolicy
	of   map[ref]map[string]string // names of machines' policies, by what follows them
}

// register adds the service to those that are served.
func (p *policies) register() {
	r := simulator.NewRegistry()
	r.Namespace, r.Path = pbm.Namespace, pbm.Path
	r.Cookie = policyCookie
	r.Handler = p.dispatch
	r.Put(&policyService{ManagedObjectReference: pbm.ServiceInstance})
	r.Put(&profiles{ManagedObjectReference: profileManager, policies: p})
	r.Put(&solver{ManagedObjectReference: placementSolver, policies: p})
	p.server.service.RegisterSDK(r, pbm.Path+"/sdk")
}

// policyCookie gives the session key of the SOAP header, and ties the call to the context.
func policyCookie(ctx *simulator.Context) string {
	_ = cookie(ctx)
	return strings.Trim(simulator.SOAPCookie(ctx), `"`)
}

func (p *policies) dispatch(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	s, c := p.server, callOf(ctx)
	if ctx.Session != nil && !s.sessions.live(ctx) {
		ctx.Session = nil
	}
	if c != nil && c.fault != nil && !c.fault.Late {
		if fault, err := newFault(c.fault.Fault); err == nil {
			c.text = c.fault.text()
			return nil, fault
		}
	}
	if method.Name == "PbmRetrieveServiceContent" {
		return nil, nil
	}
	if ctx.Session == nil {
		return nil, notAuthenticated(method.This)
	}
	user, root := ctx.Session.UserName, s.content.RootFolder
	if !s.policy.Has(user, root, viewPolicies) {
		refused := s.noPermission(c, []need{{viewPolicies, root}})
		c.text = refused.text
		return nil, refused.fault
	}
	return nil, nil
}

func (p *policies) all() []inventory.StoragePolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

func (p *policies) byID(id string) *inventory.StoragePolicy {
	list := p.all()
	at := slices.IndexFunc(list, func(one inventory.StoragePolicy) bool { return one.ID == id })
	if at < 0 {
		return nil
	}
	return &list[at]
}

func (p *policies) note(vm ref, names map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(names) > 0 {
		p.of[vm] = names
	}
}

func (p *policies) noted(vm ref) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.of[vm])
}

// fits says whether a datastore satisfies a policy.
func (p *policies) fits(policy *inventory.StoragePolicy, store *simulator.Datastore) bool {
	return slices.Contains(policy.Datastores, store.Name)
}

type policyService struct {
	types.ManagedObjectReference
}

func (p *policyService) PbmRetrieveServiceContent(*pbmtypes.PbmRetrieveServiceContent) soap.HasFault {
	return &methods.PbmRetrieveServiceContentBody{Res: &pbmtypes.PbmRetrieveServiceContentResponse{
		Returnval: pbmtypes.PbmServiceInstanceContent{
			AboutInfo:                 pbmtypes.PbmAboutInfo{Name: "PBM", Version: "2.0", InstanceUuid: "lab"},
			SessionManager:            ref{Type: "PbmSessionManager", Value: "SessionManager"},
			CapabilityMetadataManager: ref{Type: "PbmCapabilityMetadataManager", Value: "CapabilityMetadataManager"},
			ProfileManager:            profileManager,
			ComplianceManager:         ref{Type: "PbmComplianceManager", Value: "complianceManager"},
			PlacementSolver:           placementSolver,
		},
	}}
}

type profiles struct {
	types.ManagedObjectReference
	policies *policies
}

func (p *profiles) PbmQueryProfile(*pbmtypes.PbmQueryProfile) soap.HasFault {
	res := &pbmtypes.PbmQueryProfileResponse{}
	for _, one := range p.policies.all() {
		res.Returnval = append(res.Returnval, pbmtypes.PbmProfileId{UniqueId: one.ID})
	}
	return &methods.PbmQueryProfileBody{Res: res}
}

func (p *profiles) PbmRetrieveContent(req *pbmtypes.PbmRetrieveContent) soap.HasFault {
	res := &pbmtypes.PbmRetrieveContentResponse{}
	for _, id := range req.ProfileIds {
		policy := p.policies.byID(id.UniqueId)
		if policy == nil {
			return &methods.PbmRetrieveContentBody{Fault_: simulator.Fault(
				"There is no profile "+id.UniqueId, &types.InvalidArgument{InvalidProperty: "profileIds"})}
		}
		res.Returnval = append(res.Returnval, &pbmtypes.PbmCapabilityProfile{
			PbmProfile:      pbmtypes.PbmProfile{ProfileId: id, Name: policy.Name},
			ProfileCategory: string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT),
			ResourceType:    pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)},
			Constraints:     constraints(policy),
		})
	}
	return &methods.PbmRetrieveContentBody{Res: res}
}

// constraints are the policy's rules, each a capability of one property.
func constraints(policy *inventory.StoragePolicy) *pbmtypes.PbmCapabilitySubProfileConstraints {
	sub := pbmtypes.PbmCapabilitySubProfile{Name: "rules"}
	for _, rule := range policy.Rules {
		value := rule.Value
		if number, ok := value.(int); ok {
			value = int32(number)
		}
		sub.Capability = append(sub.Capability, pbmtypes.PbmCapabilityInstance{
			Id: pbmtypes.PbmCapabilityMetadataUniqueId{Namespace: rule.Namespace, Id: rule.ID},
			Constraint: []pbmtypes.PbmCapabilityConstraintInstance{{
				PropertyInstance: []pbmtypes.PbmCapabilityPropertyInstance{{Id: rule.ID, Value: value}},
			}},
		})
	}
	return &pbmtypes.PbmCapabilitySubProfileConstraints{SubProfiles: []pbmtypes.PbmCapabilitySubProfile{sub}}
}

type solver struct {
	types.ManagedObjectReference
	policies *policies
}

func (p *solver) PbmQueryMatchingHub(ctx *simulator.Context, req *pbmtypes.PbmQueryMatchingHub) soap.HasFault {
	policy := p.policies.byID(req.Profile.UniqueId)
	if policy == nil {
		return &methods.PbmQueryMatchingHubBody{Fault_: simulator.Fault(
			"There is no profile "+req.Profile.UniqueId, &types.InvalidArgument{InvalidProperty: "profile"})}
	}
	res := &pbmtypes.PbmQueryMatchingHubResponse{}
	for _, entity := range p.policies.server.registry.All("Datastore") {
		store := entity.(*simulator.Datastore)
		// As of everything else, one is told only of what one may see.
		if p.policies.fits(policy, store) && p.policies.server.policy.Has(ctx.Session.UserName, store.Self, "System.View") {
			res.Returnval = append(res.Returnval, pbmtypes.PbmPlacementHub{HubType: store.Self.Type, HubId: store.Self.Value})
		}
	}
	return &methods.PbmQueryMatchingHubBody{Res: res}
}

// asked are the policies that a clone's specification names, with where it does.
func asked(spec *types.VirtualMachineCloneSpec) map[string][]types.BaseVirtualMachineProfileSpec {
	out := map[string][]types.BaseVirtualMachineProfileSpec{}
	put := func(what string, given []types.BaseVirtualMachineProfileSpec) {
		if len(given) > 0 {
			out[what] = given
		}
	}
	put("home", spec.Location.Profile)
	for _, disk := range spec.Location.Disk {
		put(fmt.Sprint(disk.DiskId), disk.Profile)
	}
	if spec.Config != nil {
		put("home", spec.Config.VmProfile)
		for i, change := range spec.Config.DeviceChange {
			put(fmt.Sprintf("change %d", i), change.GetVirtualDeviceConfigSpec().Profile)
		}
	}
	return out
}

// check refuses a clone with a policy that there is not, or that the datastore does not satisfy. It gives
// the names of the policies: of the machine's home, and of its disks by key or as changes.
func (p *policies) check(spec *types.VirtualMachineCloneSpec, home *simulator.Datastore, newDisks map[int]*simulator.Datastore) (map[string]string, *refusal) {
	names, stores := map[string]string{}, map[string]*simulator.Datastore{}
	for i, store := range newDisks {
		stores[fmt.Sprintf("change %d", i)] = store
	}
	for what, given := range asked(spec) {
		store := home
		if other := stores[what]; other != nil {
			store = other
		}
		defined, ok := given[0].(*types.VirtualMachineDefinedProfileSpec)
		if !ok || len(given) > 1 {
			return nil, refuseText(&types.NotSupported{}, "The lab takes one defined profile for each object.")
		}
		policy := p.byID(defined.ProfileId)
		if policy == nil {
			return nil, refuseText(&types.InvalidArgument{InvalidProperty: "profileId"},
				"A specified parameter was not correct: there is no profile "+defined.ProfileId)
		}
		if !p.fits(policy, store) {
			return nil, refuseText(&types.InvalidDatastore{Datastore: &store.Self, Name: store.Name},
				fmt.Sprintf("Datastore '%s' does not satisfy the storage policy '%s' of %s.", store.Name, policy.Name, what))
		}
		names[what] = policy.Name
	}
	return names, nil
}

// SetPolicy says which datastores satisfy a policy from now on, as a changed tag or array would.
func (s *Server) SetPolicy(name string, datastores []string) error {
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	for i := range s.policies.list {
		if s.policies.list[i].Name == name {
			s.policies.list[i].Datastores = datastores
			return nil
		}
	}
	return fmt.Errorf("there is no storage policy %q", name)
}
