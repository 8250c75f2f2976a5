package vcenter_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/types"

	"net/url"

	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

func ledger(t *testing.T, l *labtest.Lab) vcenter.Ledger {
	t.Helper()
	_, body := l.Control("GET", "/ledger", "")
	var out vcenter.Ledger
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatal(err, body)
	}
	return out
}

// of gives the entries of a kind that the inventory file did not bring.
func of(l vcenter.Ledger, kind string) []vcenter.Entry {
	return slices.DeleteFunc(slices.Clone(l.Entries), func(e vcenter.Entry) bool { return e.Kind != kind || e.Initial })
}

func TestTheLedgerKeepsTheLivesOfMachines(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	mark := func(value string) func(*types.VirtualMachineCloneSpec) {
		return func(spec *types.VirtualMachineCloneSpec) {
			spec.Config.ExtraConfig = labtest.Options("moorage.owner", value, "guestinfo.userdata", "secret")
		}
	}
	first := l.Clone(c, "first", mark("uid-1"))
	l.Done(first.Destroy(l.Context()))
	second := l.Clone(c, "second", mark("uid-1"))
	l.Done(second.Reconfigure(l.Context(), types.VirtualMachineConfigSpec{ExtraConfig: labtest.Options("moorage.owner", "uid-2")}))

	got := of(ledger(t, l), "VirtualMachine")
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	one, two := got[0], got[1]
	if one.Gone == nil || one.Gone.Seq > two.Made.Seq || one.Name != "first" || one.By != labtest.User || one.UUID == "" {
		t.Errorf("first: %+v", one)
	}
	if len(one.Marks) != 1 || one.Marks[0].Value != "uid-1" || one.Options["guestinfo.userdata"] != "" {
		t.Errorf("first: %+v", one.Marks)
	}
	if two.Gone != nil || len(two.Marks) != 2 || two.Marks[1].Value != "uid-2" || two.Path != "/dc1/vm/clusters/second" {
		t.Errorf("second: %+v", two)
	}
}

func TestADestroyedMachineLeavesNoFile(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	before := ledger(t, l).Files
	vm := l.Clone(c, "short")
	during := ledger(t, l)
	if len(during.Files) != len(before)+len(of(during, "VirtualMachine")[0].Disks) || len(during.Files) == len(before) {
		t.Errorf("before %v, with the machine %v", before, during.Files)
	}
	l.Done(vm.Destroy(l.Context()))
	if after := ledger(t, l).Files; !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestTheLedgerKeepsFoldersRulesAndSessions(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	finder := find.NewFinder(c.Client, false)
	above, err := finder.Folder(l.Context(), "/dc1/vm/clusters")
	if err != nil {
		t.Fatal(err)
	}
	made, err := above.CreateFolder(l.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	l.Done(made.Destroy(l.Context()))
	if got := of(ledger(t, l), "Folder"); len(got) != 1 || got[0].Gone == nil || got[0].Name != "mine" {
		t.Errorf("folders: %+v", got)
	}
	cluster, err := finder.ClusterComputeResource(l.Context(), "/dc1/host/cc1")
	if err != nil {
		t.Fatal(err)
	}
	rule := &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: types.ClusterRuleInfo{Name: "apart", Enabled: types.NewBool(true)}}
	rule.Vm = []types.ManagedObjectReference{l.Clone(c, "a").Reference(), l.Clone(c, "b").Reference()}
	l.Done(cluster.Reconfigure(l.Context(), &types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{{
		ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, Info: rule,
	}}}, true))
	if got := of(ledger(t, l), "Rule"); len(got) != 1 || got[0].Gone != nil || got[0].Name != "apart" {
		t.Errorf("rules: %+v", got)
	}
	if err := c.Logout(l.Context()); err != nil {
		t.Fatal(err)
	}
	l.Login()
	l.Control("POST", "/sessions/expire", "")
	var ends []string
	for _, session := range of(ledger(t, l), "Session") {
		ends = append(ends, session.How)
	}
	if !slices.Equal(ends, []string{"logout", "expired"}) {
		t.Errorf("sessions ended by %v", ends)
	}
}

func TestTheLedgerKeepsTags(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "tagged")
	manager := tags.NewManager(restLogin(t, l, c))
	category, err := manager.CreateCategory(l.Context(), &tags.Category{Name: "cluster", Cardinality: "SINGLE"})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := manager.CreateTag(l.Context(), &tags.Tag{Name: "one", CategoryID: category})
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.AttachTag(l.Context(), tag, vm); err != nil {
		t.Fatal(err)
	}
	if err := manager.DetachTag(l.Context(), tag, vm); err != nil {
		t.Fatal(err)
	}
	if err := manager.DeleteTag(l.Context(), &tags.Tag{ID: tag}); err != nil {
		t.Fatal(err)
	}
	got := ledger(t, l)
	for kind, gone := range map[string]bool{"Category": false, "Tag": true, "TagAttachment": true, "RestSession": false} {
		if list := of(got, kind); len(list) != 1 || (list[0].Gone != nil) != gone || list[0].By != labtest.User {
			t.Errorf("%s: %+v", kind, list)
		}
	}
}

func restLogin(t *testing.T, l *labtest.Lab, c *govmomi.Client) *rest.Client {
	t.Helper()
	client := rest.NewClient(c.Client)
	if err := client.Login(l.Context(), url.UserPassword(labtest.User, labtest.Password)); err != nil {
		t.Fatal(err)
	}
	return client
}
