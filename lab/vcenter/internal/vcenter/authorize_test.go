package vcenter_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

const limited = "limited@vsphere.local"

// withUser adds a user with a role of exactly these privileges on the paths given.
func withUser(privileges []string, on ...string) func(*vcenter.Options) {
	return func(options *vcenter.Options) {
		user := inventory.User{Name: limited, Password: labtest.Password, Permissions: []inventory.Permission{}}
		for _, path := range on {
			user.Permissions = append(user.Permissions, inventory.Permission{On: path, Role: "own"})
		}
		options.Inventory.Users = append(options.Inventory.Users, user)
		options.Inventory.Roles = append(options.Inventory.Roles, inventory.Role{Name: "own", Privileges: privileges})
	}
}

var cloneNeeds = []string{
	"VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Inventory.CreateFromExisting", "Resource.AssignVMToPool",
	"Datastore.AllocateSpace", "Network.Assign", "VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Config.CPUCount",
	"VirtualMachine.Config.Settings", "VirtualMachine.Config.AddNewDisk",
}

func small(spec *types.VirtualMachineCloneSpec) {
	spec.Config.NumCPUs = 4
	spec.Config.InstanceUuid = "11111111-2222-3333-4444-555555555555"
	spec.Config.ExtraConfig = labtest.Options("guestinfo.a", "b")
}

func TestACloneNeedsEachOfItsPrivileges(t *testing.T) {
	l := labtest.Start(t, withUser(cloneNeeds, "/dc1"))
	c := l.LoginAs(limited)
	l.Clone(c, "allowed", small)

	for _, withheld := range cloneNeeds {
		t.Run(withheld, func(t *testing.T) {
			rest := slices.DeleteFunc(slices.Clone(cloneNeeds), func(one string) bool { return one == withheld })
			l := labtest.Start(t, withUser(rest, "/dc1"))
			c := l.LoginAs(limited)
			folder, err := find.NewFinder(c.Client, false).Folder(l.Context(), "/dc1/vm/clusters")
			if err != nil {
				t.Fatal(err)
			}
			started, err := l.VM(c, labtest.Template).Clone(l.Context(), folder, "refused", l.Spec(c, small))
			fault, text := l.Fault(started, err)
			denied, ok := fault.(*types.NoPermission)
			if !ok || denied.PrivilegeId != withheld || denied.Object == nil || !strings.Contains(text, withheld) {
				t.Fatalf("%#v %s", fault, text)
			}
			if len(denied.MissingPrivileges) == 0 {
				t.Error("8.0.3 lists what is missing")
			}
		})
	}
}

func TestTheDefaultUserMayDoEverything(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "free", small)
	l.Done(vm.PowerOn(l.Context()))
}

func TestAMethodWithoutARowIsRefusedToEveryone(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	cluster, err := find.NewFinder(c.Client, false).ClusterComputeResource(l.Context(), "/dc1/host/cc1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = methods.ApplyRecommendation(l.Context(), c.Client, &types.ApplyRecommendation{This: cluster.Reference(), Key: "1"})
	if err == nil || !strings.Contains(err.Error(), "table.go") {
		t.Fatalf("it was %v", err)
	}
}

func TestAFieldWithoutARowIsRefusedToEveryone(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "one")
	yes := true
	started, err := vm.Reconfigure(l.Context(), types.VirtualMachineConfigSpec{PmemFailoverEnabled: &yes})
	if _, text := l.Fault(started, err); !strings.Contains(text, "PmemFailoverEnabled") {
		t.Fatal(text)
	}
}

func names(t *testing.T, l *labtest.Lab, c *govmomi.Client, kind string) []string {
	t.Helper()
	v, err := view.NewManager(c.Client).CreateContainerView(l.Context(), c.ServiceContent.RootFolder, []string{kind}, true)
	if err != nil {
		t.Fatal(err)
	}
	var found []mo.ManagedEntity
	if err := v.Retrieve(l.Context(), []string{kind}, []string{"name"}, &found); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, one := range found {
		out = append(out, one.Name)
	}
	slices.Sort(out)
	return out
}

func TestWhatMayNotBeReadIsHidden(t *testing.T) {
	l := labtest.Start(t, withUser(nil, "/dc1/vm/clusters"))
	admin := l.Login()
	mine := l.Clone(admin, "mine")
	c := l.LoginAs(limited)

	if got := names(t, l, c, "VirtualMachine"); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("machines: %v", got)
	}
	if got := names(t, l, c, "Datastore"); got != nil {
		t.Errorf("datastores: %v", got)
	}
	if got := names(t, l, c, "Folder"); !slices.Equal(got, []string{"clusters", "vm"}) {
		t.Errorf("the way to the machine is seen, nothing beside it: %v", got)
	}
	index := object.NewSearchIndex(c.Client)
	if found, err := index.FindByInventoryPath(l.Context(), labtest.Template); err != nil || found != nil {
		t.Errorf("the template was found: %v %v", found, err)
	}
	hidden := l.VM(admin, labtest.Template).Reference()
	var vm mo.VirtualMachine
	err := property.DefaultCollector(c.Client).RetrieveOne(l.Context(), hidden, []string{"name"}, &vm)
	if err == nil || vm.Name != "" {
		t.Errorf("the template's name was read: %q %v", vm.Name, err)
	}
	_, err = object.NewVirtualMachine(c.Client, mine.Reference()).PowerOn(l.Context())
	if fault, _ := l.Fault(nil, err); fault.(*types.NoPermission).PrivilegeId != "VirtualMachine.Interact.PowerOn" {
		t.Errorf("%#v", fault)
	}
}

func TestAPermissionWithdrawnHidesWhatItShowed(t *testing.T) {
	l := labtest.Start(t, withUser(nil, "/dc1/vm"))
	l.Clone(l.Login(), "mine")
	c := l.LoginAs(limited)
	before := names(t, l, c, "VirtualMachine")

	status, said := l.Control("POST", "/permissions", `{"principal": "limited@vsphere.local", "role": "NoAccess", "on": "/dc1/vm/clusters"}`)
	if status != 204 {
		t.Fatal(said)
	}
	if got := names(t, l, c, "VirtualMachine"); len(before) != 2 || len(got) != 1 {
		t.Errorf("before %v, after %v", before, got)
	}
	if status, said := l.Control("DELETE", "/permissions", `{"principal": "limited@vsphere.local", "on": "/dc1/vm/clusters"}`); status != 204 {
		t.Fatal(said)
	}
	if got := names(t, l, c, "VirtualMachine"); len(got) != 2 {
		t.Errorf("given back: %v", got)
	}
	l.Control("DELETE", "/permissions", `{"principal": "limited@vsphere.local", "on": "/dc1/vm"}`)
	_, err := view.NewManager(c.Client).CreateContainerView(l.Context(), c.ServiceContent.RootFolder, nil, true)
	if fault, _ := l.Fault(nil, err); fault.(*types.NoPermission).PrivilegeId != "System.View" {
		t.Errorf("all withdrawn: %#v", fault)
	}
}

func TestWhoHasNoRoleCannotLogIn(t *testing.T) {
	l := labtest.Start(t, withUser(nil))
	client := l.Dial()
	_, err := methods.Login(l.Context(), client, &types.Login{
		This: *client.ServiceContent.SessionManager, UserName: limited, Password: labtest.Password,
	})
	if !soap.IsSoapFault(err) {
		t.Fatal(err)
	}
	if _, ok := soap.ToSoapFault(err).VimFault().(types.NoPermission); !ok {
		t.Fatalf("%#v", err)
	}
}

func TestTaggingNeedsItsPrivileges(t *testing.T) {
	l := labtest.Start(t, withUser([]string{"InventoryService.Tagging.CreateCategory"}, "/"))
	client := rest.NewClient(l.Login().Client)
	if err := client.Login(l.Context(), url.UserPassword(limited, labtest.Password)); err != nil {
		t.Fatal(err)
	}
	manager := tags.NewManager(client)
	category, err := manager.CreateCategory(l.Context(), &tags.Category{Name: "mine", Cardinality: "SINGLE"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manager.CreateTag(l.Context(), &tags.Tag{Name: "one", CategoryID: category}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a tag: %v", err)
	}
}

func TestPrivilegesAreAnsweredAsTheyAre(t *testing.T) {
	l := labtest.Start(t, withUser([]string{"Datastore.AllocateSpace"}, "/dc1/datastore/ds1"))
	c := l.LoginAs(limited)
	manager := object.NewAuthorizationManager(c.Client)
	finder := find.NewFinder(l.Login().Client, false)
	one, err1 := finder.Datastore(l.Context(), "/dc1/datastore/ds1")
	two, err2 := finder.Datastore(l.Context(), "/dc1/datastore/ds2")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	got, err := manager.FetchUserPrivilegeOnEntities(l.Context(), []types.ManagedObjectReference{one.Reference()}, limited)
	want := []string{"Datastore.AllocateSpace", "System.Anonymous", "System.Read", "System.View"}
	if err != nil || !slices.Equal(got[0].Privileges, want) {
		t.Fatalf("%v %v", got, err)
	}
	_, err = manager.FetchUserPrivilegeOnEntities(l.Context(), []types.ManagedObjectReference{two.Reference()}, limited)
	if fault, _ := l.Fault(nil, err); fault.(*types.NoPermission).PrivilegeId != "System.View" {
		t.Fatalf("%#v", fault)
	}
	key, _ := c.SessionManager.UserSession(l.Context())
	has, err := manager.HasPrivilegeOnEntity(l.Context(), one.Reference(), key.Key, []string{"Datastore.AllocateSpace", "Datastore.Delete"})
	if err != nil || !slices.Equal(has, []bool{true, false}) {
		t.Fatalf("%v %v", has, err)
	}
}
