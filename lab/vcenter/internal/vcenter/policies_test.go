package vcenter_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

const policy = "5e1f0000-0000-4000-8000-000000000001"

func withPolicy(o *vcenter.Options) {
	o.Inventory.StoragePolicies = []inventory.StoragePolicy{{Name: "gold", ID: policy, Datastores: []string{"ds2"}}}
	o.Inventory.Roles = append(o.Inventory.Roles, inventory.Role{Name: "none"})
	o.Inventory.Users = append(o.Inventory.Users, inventory.User{
		Name: "ann@vsphere.local", Password: labtest.Password, Permissions: []inventory.Permission{{On: "/", Role: "none"}},
	})
}

func following(id string) []types.BaseVirtualMachineProfileSpec {
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}
}

func TestPoliciesAreToldInTheSessionOfWhoMayViewThem(t *testing.T) {
	lab := labtest.Start(t, withPolicy)
	client, err := pbm.NewClient(lab.Context(), lab.Login().Client)
	if err != nil {
		t.Fatal(err)
	}
	storage := pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)}
	ids, err := client.QueryProfile(lab.Context(), storage, "REQUIREMENT")
	if err != nil || len(ids) != 1 || ids[0].UniqueId != policy {
		t.Fatalf("%v %v", ids, err)
	}
	found, err := client.RetrieveContent(lab.Context(), ids)
	if err != nil || len(found) != 1 || found[0].GetPbmProfile().Name != "gold" {
		t.Errorf("%v %v", found, err)
	}
	ask := pbmtypes.PbmQueryMatchingHub{This: client.ServiceContent.PlacementSolver, Profile: ids[0]}
	hubs, err := methods.PbmQueryMatchingHub(lab.Context(), client, &ask)
	if err != nil || len(hubs.Returnval) != 1 || hubs.Returnval[0].HubType != "Datastore" {
		t.Errorf("%v %v", hubs, err)
	}

	other, err := pbm.NewClient(lab.Context(), lab.LoginAs("ann@vsphere.local").Client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.QueryProfile(lab.Context(), storage, ""); !isFault[types.NoPermission](err) {
		t.Errorf("without StorageProfile.View: %v", err)
	}
	lab.Server.ExpireSessions()
	if _, err := client.QueryProfile(lab.Context(), storage, ""); !isFault[types.NotAuthenticated](err) {
		t.Errorf("without a session: %v", err)
	}
}

func isFault[T any](err error) bool {
	if !soap.IsSoapFault(err) {
		return false
	}
	_, ok := soap.ToSoapFault(err).VimFault().(T)
	return ok
}

func TestCloneFollowsPoliciesThatItsDatastoreSatisfies(t *testing.T) {
	lab := labtest.Start(t, withPolicy)
	client := lab.Login()
	stores := map[string]types.ManagedObjectReference{}
	for _, one := range lab.Server.Inventory().Datastores {
		stores[one.Path[strings.LastIndex(one.Path, "/")+1:]] = types.ManagedObjectReference{Type: "Datastore", Value: one.Moref}
	}
	on := func(store, id string) types.VirtualMachineCloneSpec {
		return lab.Spec(client, func(spec *types.VirtualMachineCloneSpec) {
			datastore := stores[store]
			spec.Location.Datastore, spec.Location.Profile = &datastore, following(id)
		})
	}
	lab.Done(lab.StartClone(client, "fits", on("ds2", policy)), nil)
	for _, vm := range lab.Server.Inventory().VMs {
		if vm.Name == "fits" && vm.Policies["home"] != "gold" {
			t.Errorf("policies %v", vm.Policies)
		}
	}
	if fault, text := lab.Fault(lab.StartClone(client, "wrong", on("ds1", policy)), nil); !strings.Contains(text, "gold") {
		t.Errorf("%T %s", fault, text)
	}
	if fault, _ := lab.Fault(lab.StartClone(client, "unknown", on("ds2", "nothing")), nil); fault == nil {
		t.Error("a policy that there is not")
	}
	if code, text := lab.Control(http.MethodPost, "/policies", `{"policy": "gold", "datastores": ["ds1"]}`); code != http.StatusNoContent {
		t.Error(code, text)
	}
	lab.Done(lab.StartClone(client, "later", on("ds1", policy)), nil)
	if code, _ := lab.Control(http.MethodPost, "/policies", `{"policy": "silver", "datastores": []}`); code == http.StatusNoContent {
		t.Error("a policy that there is not was changed")
	}
}
