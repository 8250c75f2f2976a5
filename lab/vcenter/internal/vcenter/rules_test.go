package vcenter_test

import (
	"strconv"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

func cluster(t *testing.T, l *labtest.Lab, c *govmomi.Client) *object.ClusterComputeResource {
	t.Helper()
	found, err := find.NewFinder(c.Client, false).ClusterComputeResource(l.Context(), "/dc1/host/cc1")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func rules(t *testing.T, l *labtest.Lab, c *govmomi.Client) []*types.ClusterAntiAffinityRuleSpec {
	t.Helper()
	var out mo.ClusterComputeResource
	if err := property.DefaultCollector(c.Client).RetrieveOne(l.Context(), cluster(t, l, c).Reference(), []string{"configurationEx"}, &out); err != nil {
		t.Fatal(err)
	}
	var found []*types.ClusterAntiAffinityRuleSpec
	for _, rule := range out.ConfigurationEx.(*types.ClusterConfigInfoEx).Rule {
		found = append(found, rule.(*types.ClusterAntiAffinityRuleSpec))
	}
	return found
}

func apart(name string, key int32, mandatory bool, vms ...*object.VirtualMachine) *types.ClusterAntiAffinityRuleSpec {
	rule := &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: types.ClusterRuleInfo{
		Key: key, Name: name, Enabled: types.NewBool(true), Mandatory: &mandatory,
	}}
	for _, vm := range vms {
		rule.Vm = append(rule.Vm, vm.Reference())
	}
	return rule
}

func reconfigure(t *testing.T, l *labtest.Lab, c *govmomi.Client, operation types.ArrayUpdateOperation, rule *types.ClusterAntiAffinityRuleSpec) (*object.Task, error) {
	t.Helper()
	spec := types.ClusterRuleSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: operation}}
	if operation == types.ArrayUpdateOperationRemove {
		spec.RemoveKey = rule.Key
	} else {
		spec.Info = rule
	}
	return cluster(t, l, c).Reconfigure(l.Context(), &types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{spec}}, true)
}

func hostOf(l *labtest.Lab, c *govmomi.Client, vm *object.VirtualMachine) string {
	return l.Properties(c, vm.Reference(), "runtime.host").Runtime.Host.Value
}

func TestARuleIsRefusedThatNoVCenterWouldTake(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	one, two := l.Clone(c, "one"), l.Clone(c, "two")
	gone := object.NewVirtualMachine(c.Client, types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-999"})
	elsewhere := l.Clone(c, "elsewhere", func(spec *types.VirtualMachineCloneSpec) {
		pool, err := find.NewFinder(c.Client, false).ResourcePool(l.Context(), "/dc1/host/cc2/Resources")
		if err != nil {
			t.Fatal(err)
		}
		at := pool.Reference()
		spec.Location.Pool = &at
	})
	add, edit, remove := types.ArrayUpdateOperationAdd, types.ArrayUpdateOperationEdit, types.ArrayUpdateOperationRemove
	l.Done(reconfigure(t, l, c, add, apart("r", 0, false, one, two)))
	key := rules(t, l, c)[0].Key
	for name, try := range map[string]struct {
		operation types.ArrayUpdateOperation
		rule      *types.ClusterAntiAffinityRuleSpec
		refused   func(any) bool
	}{
		"one machine":         {add, apart("s", 0, false, one), isA[*types.InvalidArgument]},
		"a machine twice":     {add, apart("s", 0, false, one, one), isA[*types.InvalidArgument]},
		"no name":             {add, apart("", 0, false, one, two), isA[*types.InvalidArgument]},
		"the same name":       {add, apart("r", 0, false, one, two), isA[*types.DuplicateName]},
		"an unknown machine":  {add, apart("s", 0, false, one, gone), isA[*types.ManagedObjectNotFound]},
		"a machine elsewhere": {add, apart("s", 0, false, one, elsewhere), isA[*types.InvalidArgument]},
		"a wrong key":         {edit, apart("r", key+1, false, one, two), isA[*types.InvalidArgument]},
		"too few left":        {edit, apart("r", key, false, one), isA[*types.InvalidArgument]},
		"no such rule":        {remove, apart("r", key+1, false), isA[*types.InvalidArgument]},
	} {
		t.Run(name, func(t *testing.T) {
			fault, text := l.Fault(reconfigure(t, l, c, try.operation, try.rule))
			if !try.refused(fault) {
				t.Errorf("%T: %s", fault, text)
			}
		})
	}
	l.Done(reconfigure(t, l, c, remove, apart("r", key, false)))
	if left := rules(t, l, c); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestMachinesOfARuleArePoweredOnOnHostsOfTheirOwn(t *testing.T) {
	for _, mandatory := range []bool{false, true} {
		t.Run(strconv.FormatBool(mandatory), func(t *testing.T) {
			l := labtest.Start(t)
			c := l.Login()
			pin := func(spec *types.VirtualMachineCloneSpec) {
				hosts, err := find.NewFinder(c.Client, false).HostSystemList(l.Context(), "/dc1/host/cc1/*")
				if err != nil {
					t.Fatal(err)
				}
				at := hosts[0].Reference()
				spec.Location.Host = &at
			}
			var vms []*object.VirtualMachine
			for i := range 3 {
				vms = append(vms, l.Clone(c, "m"+strconv.Itoa(i), pin))
			}
			l.Done(reconfigure(t, l, c, types.ArrayUpdateOperationAdd, apart("r", 0, mandatory, vms...)))

			l.Done(vms[0].PowerOn(l.Context()))
			l.Done(vms[1].PowerOn(l.Context()))
			if hostOf(l, c, vms[0]) == hostOf(l, c, vms[1]) {
				t.Error("both run on one host")
			}
			third, err := vms[2].PowerOn(l.Context())
			if !mandatory {
				l.Done(third, err)
				return
			}
			if fault, text := l.Fault(third, err); !isA[*types.RuleViolation](fault) {
				t.Errorf("%T: %s", fault, text)
			}
		})
	}
}

func TestAMachineThatGoesLeavesItsRuleWithTheOthers(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	one, two := l.Clone(c, "one"), l.Clone(c, "two")
	l.Done(reconfigure(t, l, c, types.ArrayUpdateOperationAdd, apart("r", 0, false, one, two)))

	l.Done(one.Destroy(l.Context()))
	left := rules(t, l, c)
	if len(left) != 1 || len(left[0].Vm) != 1 || left[0].Vm[0] != two.Reference() {
		t.Fatalf("left: %+v", left)
	}
	l.Done(reconfigure(t, l, c, types.ArrayUpdateOperationRemove, left[0]))
	for _, entry := range l.Server.Ledger().Entries {
		if entry.Kind == "Rule" && entry.Gone == nil {
			t.Errorf("the ledger still has %s", entry.Name)
		}
	}
}
