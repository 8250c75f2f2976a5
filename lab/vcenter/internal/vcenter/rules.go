package vcenter

import (
	"fmt"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The fewest machines of a rule between machines: vSphere Resource Management, "Create a VM-VM Affinity Rule"
// ("select at least two virtual machines").
const fewestInRule = 2

// computeCluster stands in for a compute cluster of the simulator, which takes any rule and keeps to none.
type computeCluster struct {
	*simulator.ClusterComputeResource
	server *Server
}

// ReconfigureComputeResourceTask changes the compute cluster, its rules among all else.
func (c *computeCluster) ReconfigureComputeResourceTask(ctx *simulator.Context, req *types.ReconfigureComputeResource_Task) soap.HasFault {
	s, cluster := c.server, c.ClusterComputeResource
	who := ""
	if ctx.Session != nil {
		who = ctx.Session.UserName
	}
	task := s.tasks.start(ctx, cluster, "ReconfigureComputeResource_Task", func(ctx *simulator.Context, _ *running) (types.AnyType, *refusal) {
		s.machines.placing.Lock()
		defer s.machines.placing.Unlock()
		if spec, ok := req.Spec.(*types.ClusterConfigSpecEx); ok {
			if refused := s.checkRules(ctx, cluster, spec.RulesSpec); refused != nil {
				return nil, refused
			}
		}
		_, refused := s.tasks.inner(ctx, cluster, func() soap.HasFault {
			return cluster.ReconfigureComputeResourceTask(ctx, req)
		})
		s.ledger.clusters(who)
		return nil, refused
	})
	return &methods.ReconfigureComputeResource_TaskBody{Res: &types.ReconfigureComputeResource_TaskResponse{Returnval: task}}
}

func rulesOf(cluster *simulator.ClusterComputeResource) *types.ClusterConfigInfoEx {
	config, _ := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
	return config
}

// checkRules refuses what the simulator would take: rules without a name of their own, of fewer than two
// machines, of machines that run elsewhere; changes of a rule that is not there. Rules are changed by their
// key (Web Services API, ClusterRuleInfo), which the simulator does not look at.
func (s *Server) checkRules(ctx *simulator.Context, cluster *simulator.ClusterComputeResource, specs []types.ClusterRuleSpec) (refused *refusal) {
	var known []types.BaseClusterRuleInfo
	ctx.WithLock(cluster, func() { known = slices.Clone(rulesOf(cluster).Rule) })
	named := func(name string) types.BaseClusterRuleInfo {
		for _, rule := range known {
			if rule.GetClusterRuleInfo().Name == name {
				return rule
			}
		}
		return nil
	}
	wrong := func(field, why string) *refusal {
		return refuseText(&types.InvalidArgument{InvalidProperty: "spec.rulesSpec." + field},
			"A specified parameter was not correct: spec.rulesSpec."+field+" ("+why+")")
	}
	for _, spec := range specs {
		if spec.Operation == types.ArrayUpdateOperationRemove {
			key, ok := spec.RemoveKey.(int32)
			if !ok || !slices.ContainsFunc(known, func(rule types.BaseClusterRuleInfo) bool { return rule.GetClusterRuleInfo().Key == key }) {
				return wrong("removeKey", "there is no such rule")
			}
			continue
		}
		if spec.Info == nil {
			return wrong("info", "it is missing")
		}
		info := spec.Info.GetClusterRuleInfo()
		at := named(info.Name)
		switch {
		case info.Name == "":
			return wrong("info.name", "it is empty")
		case spec.Operation == types.ArrayUpdateOperationAdd && at != nil:
			return refuseText(&types.DuplicateName{Name: info.Name, Object: cluster.Self}, fmt.Sprintf("The name '%s' already exists.", info.Name))
		case spec.Operation == types.ArrayUpdateOperationEdit && (at == nil || at.GetClusterRuleInfo().Key != info.Key):
			return wrong("info.key", "there is no rule with that key and name")
		}
		if at != nil {
			info.RuleUuid = at.GetClusterRuleInfo().RuleUuid
		}
		if refused := s.checkMembers(cluster, spec.Info, wrong); refused != nil {
			return refused
		}
	}
	return nil
}

func (s *Server) checkMembers(cluster *simulator.ClusterComputeResource, rule types.BaseClusterRuleInfo, wrong func(field, why string) *refusal) *refusal {
	var members []ref
	switch of := rule.(type) {
	case *types.ClusterAntiAffinityRuleSpec:
		members = of.Vm
	case *types.ClusterAffinityRuleSpec:
		members = of.Vm
	default:
		return nil
	}
	if len(members) < fewestInRule {
		return wrong("info.vm", "a rule has at least two machines")
	}
	for i, self := range members {
		vm, ok := s.registry.Get(self).(*simulator.VirtualMachine)
		if !ok {
			return refuse(&types.ManagedObjectNotFound{Obj: self})
		}
		if slices.Contains(members[:i], self) {
			return wrong("info.vm", self.Value+" is named twice")
		}
		if vm.ResourcePool == nil || s.computeOf(*vm.ResourcePool) != &cluster.ComputeResource {
			return wrong("info.vm", self.Value+" is not in this compute cluster")
		}
	}
	return nil
}

// listedRules are those between machines. The caller holds the compute cluster's lock.
func (s *Server) listedRules(cluster *simulator.ClusterComputeResource) []ListedRule {
	var out []ListedRule
	for _, rule := range rulesOf(cluster).Rule {
		var members []ref
		switch of := rule.(type) {
		case *types.ClusterAntiAffinityRuleSpec:
			members = of.Vm
		case *types.ClusterAffinityRuleSpec:
			members = of.Vm
		}
		info := rule.GetClusterRuleInfo()
		listed := ListedRule{Path: s.path(cluster) + "/" + info.Name, Name: info.Name, Mandatory: isTrue(info.Mandatory), VMs: []string{}}
		for _, vm := range members {
			listed.VMs = append(listed.VMs, vm.Value)
		}
		out = append(out, listed)
	}
	return out
}

// dropFromRules is what becomes of rules when a machine goes: they lose it. One that has too few machines
// left stays, until somebody removes it.
func (s *Server) dropFromRules(ctx *simulator.Context, vm ref) {
	for _, entity := range s.registry.All("ClusterComputeResource") {
		cluster := entity.(*simulator.ClusterComputeResource)
		ctx.WithLock(cluster, func() {
			for _, rule := range rulesOf(cluster).Rule {
				switch of := rule.(type) {
				case *types.ClusterAntiAffinityRuleSpec:
					of.Vm = slices.DeleteFunc(slices.Clone(of.Vm), func(r ref) bool { return r == vm })
				case *types.ClusterAffinityRuleSpec:
					of.Vm = slices.DeleteFunc(slices.Clone(of.Vm), func(r ref) bool { return r == vm })
				}
			}
		})
	}
}

// drs moves a machine that is about to be powered on to a host where it breaks no anti-affinity rule, if DRS
// is fully automated. Where there is none, a mandatory rule refuses it, and another one is let be: "a
// mandatory rule will prevent a virtual machine from being powered on" (Web Services API, ClusterRuleInfo).
func (s *Server) drs(ctx *simulator.Context, vm *simulator.VirtualMachine) (leave func(), refused *refusal) {
	placing := &s.machines.placing
	placing.Lock()
	defer placing.Unlock()
	placing.starting[vm.Self] = true
	leave = func() {
		placing.Lock()
		defer placing.Unlock()
		delete(placing.starting, vm.Self)
	}
	if vm.ResourcePool == nil {
		return leave, nil
	}
	compute := s.computeOf(*vm.ResourcePool)
	cluster, ok := s.registry.Get(compute.Self).(*simulator.ClusterComputeResource)
	if !ok {
		return leave, nil
	}
	taken, rule := s.keptApart(ctx, cluster, vm.Self)
	if rule == nil || !taken[*vm.Runtime.Host] {
		return leave, nil
	}
	var best *simulator.HostSystem
	for _, self := range compute.Host {
		host := s.registry.Get(self).(*simulator.HostSystem)
		if taken[self] || host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected || host.Runtime.InMaintenanceMode {
			continue
		}
		reaches := !slices.ContainsFunc(vm.Datastore, func(store ref) bool { return !slices.Contains(host.Datastore, store) }) &&
			!slices.ContainsFunc(vm.Network, func(network ref) bool { return !slices.Contains(host.Network, network) })
		if reaches && (best == nil || len(host.Vm) < len(best.Vm)) {
			best = host
		}
	}
	switch {
	case best != nil:
		s.rehost(ctx, vm, best)
	case isTrue(rule.Mandatory):
		return leave, refuseText(&types.RuleViolation{Host: vm.Runtime.Host, Rule: &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: *rule}},
			"DRS cannot find a host to power on or migrate the virtual machine: it would violate rule "+rule.Name+".")
	}
	return leave, nil
}

// automated says whether DRS of a compute cluster moves machines by itself.
func automated(ctx *simulator.Context, cluster *simulator.ClusterComputeResource) (is bool) {
	ctx.WithLock(cluster, func() {
		drs := rulesOf(cluster).DrsConfig
		is = isTrue(drs.Enabled) && drs.DefaultVmBehavior == types.DrsBehaviorFullyAutomated
	})
	return is
}

// keptApart gives the hosts of the machines that a machine must not be beside, and the strictest rule that
// says so; nil where no rule does, or nobody keeps to rules.
func (s *Server) keptApart(ctx *simulator.Context, cluster *simulator.ClusterComputeResource, vm ref) (taken map[ref]bool, strictest *types.ClusterRuleInfo) {
	var others []ref
	ctx.WithLock(cluster, func() {
		config := rulesOf(cluster)
		if !isTrue(config.DrsConfig.Enabled) || config.DrsConfig.DefaultVmBehavior != types.DrsBehaviorFullyAutomated {
			return
		}
		for _, rule := range config.Rule {
			apart, ok := rule.(*types.ClusterAntiAffinityRuleSpec)
			if !ok || !isTrue(apart.Enabled) || !slices.Contains(apart.Vm, vm) {
				continue
			}
			others = append(others, apart.Vm...)
			if strictest == nil || isTrue(apart.Mandatory) {
				info := apart.ClusterRuleInfo
				strictest = &info
			}
		}
	})
	taken = map[ref]bool{}
	for _, self := range others {
		other, ok := s.registry.Get(self).(*simulator.VirtualMachine)
		if ok && self != vm && (other.Runtime.PowerState == poweredOn || s.machines.placing.starting[self]) {
			taken[*other.Runtime.Host] = true
		}
	}
	return taken, strictest
}

func (s *Server) rehost(ctx *simulator.Context, vm *simulator.VirtualMachine, to *simulator.HostSystem) {
	host, from := to.Self, s.registry.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	ctx.WithLock(from, func() { s.registry.RemoveReference(ctx, from, &from.Vm, vm.Self) })
	ctx.WithLock(to, func() { s.registry.AppendReference(ctx, to, &to.Vm, vm.Self) })
	ctx.WithLock(vm, func() {
		s.registry.Update(ctx, vm, []types.PropertyChange{
			{Name: "runtime.host", Val: &host}, {Name: "summary.runtime.host", Val: &host},
		})
	})
	s.hub.Touch(from.Self, host)
}

// placing lets one machine at a time be given a host, and knows those that are just being powered on.
type placing struct {
	sync.Mutex
	starting map[ref]bool
}

func isTrue(flag *bool) bool { return flag != nil && *flag }
