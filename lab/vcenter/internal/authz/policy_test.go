package authz

import (
	"testing"
)

const power = "VirtualMachine.Interact.PowerOn"

// tree: root > dc > folder > vm, and root > dc > cluster > pool > vm.
func tree() (*Policy, func(string) ref) {
	of := func(name string) ref { return ref{Type: "Any", Value: name} }
	above := map[string][]string{
		"dc": {"root"}, "folder": {"dc"}, "other": {"dc"}, "cluster": {"dc"}, "pool": {"cluster"},
		"vm": {"folder", "pool"}, "stranger": {"other"},
	}
	parents := func(object ref) (out []ref) {
		for _, name := range above[object.Value] {
			out = append(out, of(name))
		}
		return out
	}
	return New([]string{View, Read, Anonymous, power, "Folder.Create"}, parents), of
}

func TestPermissionsAreInheritedOnlyWhenTheyPropagate(t *testing.T) {
	p, of := tree()
	role := p.PutRole(0, "operator", []string{power})
	p.Grant(of("folder"), Permission{Principal: `LAB\Ann`, Role: role, Propagate: true})
	p.Grant(of("other"), Permission{Principal: "ann@lab", Role: role})

	for object, want := range map[string]bool{"vm": true, "folder": true, "other": true, "stranger": false, "dc": false} {
		if got := p.Has("Ann@lab", of(object), power); got != want {
			t.Errorf("power on %s: %v", object, got)
		}
	}
}

func TestTheNearestPermissionCountsWhateverIsAboveIt(t *testing.T) {
	p, of := tree()
	p.Grant(of("root"), Permission{Principal: "ann@lab", Role: Admin, Propagate: true})
	p.Grant(of("other"), Permission{Principal: "ann@lab", Role: ReadOnly, Propagate: true})

	if p.Has("ann@lab", of("stranger"), power) || !p.Has("ann@lab", of("stranger"), Read) {
		t.Error("read-only below the folder was not enforced")
	}
	p.Grant(of("other"), Permission{Principal: "ann@lab", Role: NoAccess, Propagate: true})
	if p.Has("ann@lab", of("stranger"), View) {
		t.Error("no access still lets the object be seen")
	}
	if p.Unlimited("ann@lab", of("root")) {
		t.Error("an administrator with a hole is not unlimited")
	}
}

func TestAUsersOwnPermissionWinsOverGroupsAndGroupsAddUp(t *testing.T) {
	p, of := tree()
	one := p.PutRole(0, "one", []string{power})
	two := p.PutRole(0, "two", []string{"Folder.Create"})
	p.Join("ann@lab", "ops@lab")
	p.Join("ann@lab", "dev@lab")
	p.Grant(of("folder"), Permission{Principal: "ops@lab", Group: true, Role: one})
	p.Grant(of("folder"), Permission{Principal: "dev@lab", Group: true, Role: two})

	if !p.Has("ann@lab", of("folder"), power) || !p.Has("ann@lab", of("folder"), "Folder.Create") {
		t.Error("two groups do not add up")
	}
	p.Grant(of("folder"), Permission{Principal: "ann@lab", Role: ReadOnly})
	if p.Has("ann@lab", of("folder"), power) {
		t.Error("the user's own role does not win")
	}
}

func TestWhatTwoParentsGiveAddsUp(t *testing.T) {
	p, of := tree()
	p.Grant(of("folder"), Permission{Principal: "ann@lab", Role: ReadOnly, Propagate: true})
	p.Grant(of("pool"), Permission{Principal: "ann@lab", Role: p.PutRole(0, "one", []string{power}), Propagate: true})

	if !p.Has("ann@lab", of("vm"), power) {
		t.Error("the resource pool's permission does not reach the machine")
	}
}

func TestTheWayToAnObjectIsSeenButNotRead(t *testing.T) {
	p, of := tree()
	p.Grant(of("folder"), Permission{Principal: "ann@lab", Role: ReadOnly, Propagate: true})

	if !p.Has("ann@lab", of("root"), View) || p.Has("ann@lab", of("root"), Read) {
		t.Error("the root is on the way: it is seen and not read")
	}
	if p.Has("ann@lab", of("cluster"), View) {
		t.Error("the cluster is not on the way")
	}
	p.Withdraw(of("folder"), "ann@lab", false)
	if p.Has("ann@lab", of("root"), View) || p.Anything("ann@lab") {
		t.Error("nothing was left, and yet something is seen")
	}
}

func TestTheTablesKnowWhatOthersHaveWrittenDown(t *testing.T) {
	for name, privilege := range map[string]string{
		"PowerOnVM_Task": power, "CreateFolder": "Folder.Create", "CreateVM_Task": "VirtualMachine.Inventory.Create",
		"UpdateOptions": "Global.Settings", "CloneVM_Task": "",
	} {
		if row, ok := Of(name); !ok || row.Privilege != privilege {
			t.Errorf("%s: %q, %v", name, row.Privilege, ok)
		}
	}
	if _, ok := Of("NoSuchMethod"); ok {
		t.Error("an unknown method has a row")
	}
	for name, row := range byHand {
		if row.source == "" {
			t.Errorf("%s: nobody says so", name)
		}
	}
	for name, row := range fieldsByHand {
		if row.source == "" {
			t.Errorf("field %s: nobody says so", name)
		}
	}
	if got, _ := OfField("ExtraConfig"); got != "VirtualMachine.Config.AdvancedConfig" {
		t.Errorf("extraConfig: %s", got)
	}
}
