package collector_test

import (
	"net/http"
	"testing"

	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

const limited = "limited@vsphere.local"

// seesOnly adds a user who may read what is below a path.
func seesOnly(path string) func(*vcenter.Options) {
	return func(options *vcenter.Options) {
		options.Inventory.Users = append(options.Inventory.Users, inventory.User{
			Name: limited, Password: labtest.Password, Permissions: []inventory.Permission{{On: path, Role: "ReadOnly"}},
		})
	}
}

func TestAStreamFollowsPermissions(t *testing.T) {
	lab := labtest.Start(t, seesOnly("/dc1/vm"))
	client := lab.LoginAs(limited)
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "", "VirtualMachine"), "VirtualMachine", "name"))
	s.next()
	lab.Clone(lab.Login(), "node")
	s.expect("made by somebody else", "enter name assign node")
	control := func(method, body string) {
		if status, said := lab.Control(method, "/permissions", body); status != http.StatusNoContent {
			t.Fatal(said)
		}
	}
	control(http.MethodPost, `{"principal": "limited@vsphere.local", "role": "NoAccess", "on": "/dc1/vm/clusters"}`)
	s.expect("hidden", "leave")
	lab.Clone(lab.Login(), "second")
	control(http.MethodDelete, `{"principal": "limited@vsphere.local", "on": "/dc1/vm/clusters"}`)
	s.expect("shown again", "enter name assign node", "enter name assign second")
	lab.Control(http.MethodPost, "/vms/move", `{"vm": "/dc1/vm/clusters/node", "folder": "/dc1/vm/templates"}`)
	control(http.MethodPost, `{"principal": "limited@vsphere.local", "role": "NoAccess", "on": "/dc1/vm/templates"}`)
	s.expect("moved to where nothing is seen", "leave", "leave")
}

func TestWhatMayNotBeReadIsMissing(t *testing.T) {
	lab := labtest.Start(t, seesOnly("/dc1/vm/clusters"))
	client := lab.LoginAs(limited)
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "", "Datacenter"), "Datacenter", "name", "datastore"))
	set, err := s.ask("", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	dc := set.FilterSet[0].ObjectSet[0]
	if len(dc.ChangeSet) != 1 || len(dc.MissingSet) != 1 || dc.MissingSet[0].Path != "datastore" {
		t.Fatalf("%+v", dc)
	}
	if fault, ok := dc.MissingSet[0].Fault.Fault.(*types.NoPermission); !ok || fault.PrivilegeId != "System.Read" {
		t.Errorf("%#v", dc.MissingSet[0].Fault.Fault)
	}
}

func TestRecentTasksAreNotPushed(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "/dc1/vm/clusters", "VirtualMachine"), "VirtualMachine", "recentTask", "runtime.powerState"))
	s.next()
	lab.Done(vm.PowerOn(lab.Context()))
	s.expect("powered on", "modify runtime.powerState assign poweredOn")
	if got := lab.Properties(client, vm.Reference(), "recentTask").RecentTask; len(got) == 0 {
		t.Error("a retrieval has it")
	}
}

func TestAnswersAreTruncatedAsTold(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	if status, said := lab.Control(http.MethodPut, "/limits", `{"updatesPerAnswer": 1}`); status != http.StatusNoContent {
		t.Fatal(said)
	}
	s := open(lab, client)
	s.filter(throughView(containerView(lab, client, "", "HostSystem"), "HostSystem", "name"))
	for n := 1; n <= 4; n++ {
		set, err := s.ask(s.version, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(lines(set)); got != 1 || (set.Truncated != nil && *set.Truncated) != (n < 4) {
			t.Errorf("answer %d: %d objects, truncated %v", n, got, set.Truncated)
		}
		s.version = set.Version
	}
}
