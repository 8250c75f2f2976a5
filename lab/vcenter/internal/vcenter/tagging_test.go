package vcenter_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"

	"lab-vcenter/internal/labtest"
)

// overAPI gives a caller of /api in a session of its own.
func overAPI(t *testing.T, l *labtest.Lab, user string) func(method, path, body string) (int, string) {
	t.Helper()
	client, base := l.Dial(), strings.TrimSuffix(l.Server.URL(), "/sdk")+"/api/"
	token := ""
	do := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(l.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token == "" {
			req.SetBasicAuth(user, labtest.Password)
		} else {
			req.Header.Set("vmware-api-session-id", token)
		}
		status, text := 0, ""
		_ = client.Client.Do(l.Context(), req, func(res *http.Response) error {
			all, err := io.ReadAll(res.Body)
			status, text = res.StatusCode, string(all)
			return err
		})
		return status, text
	}
	status, text := do(http.MethodPost, "session", "")
	if status != http.StatusCreated || json.Unmarshal([]byte(text), &token) != nil {
		t.Fatalf("%d %s", status, text)
	}
	return do
}

func computeCluster(t *testing.T, l *labtest.Lab, path string) mo.Reference {
	t.Helper()
	found, err := find.NewFinder(l.Login().Client, false).ClusterComputeResource(l.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return found.Reference()
}

func TestTaggingOverAPI(t *testing.T) {
	l := labtest.Start(t)
	do := overAPI(t, l, labtest.User)
	cluster := computeCluster(t, l, "/dc1/host/cc1").Reference()
	object := `{"type":"ClusterComputeResource","id":"` + cluster.Value + `"}`
	made := func(path, body string) string {
		status, text := do(http.MethodPost, path, body)
		id := ""
		if status != http.StatusCreated || json.Unmarshal([]byte(text), &id) != nil {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		return id
	}
	category := made("cis/tagging/category", `{"name":"zone","description":"","cardinality":"SINGLE","associable_types":["ClusterComputeResource"]}`)
	one := made("cis/tagging/tag", `{"name":"a","description":"","category_id":"`+category+`"}`)
	two := made("cis/tagging/tag", `{"name":"b","description":"","category_id":"`+category+`"}`)
	dc, err := find.NewFinder(l.Login().Client, false).Datacenter(l.Context(), "/dc1")
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", "cis/tagging/tag-association/" + one + "?action=attach", `{"object_id":` + object + `}`, 204, ""},
		{"POST", "cis/tagging/tag-association/" + one + "?action=attach", `{"object_id":` + object + `}`, 204, ""},
		{"POST", "cis/tagging/tag-association/" + two + "?action=attach", `{"object_id":` + object + `}`, 400, "INVALID_ARGUMENT"},
		{"POST", "cis/tagging/tag-association/" + two + "?action=attach", `{"object_id":{"type":"Datacenter","id":"no-such"}}`, 403, "UNAUTHORIZED"},
		{"POST", "cis/tagging/tag-association/" + two + "?action=attach", `{"object_id":{"type":"Datacenter","id":"` + dc.Reference().Value + `"}}`, 400, "INVALID_ARGUMENT"},
		{"POST", "cis/tagging/tag-association?action=list-attached-tags-on-objects", `{"object_ids":[` + object + `]}`, 200, one},
		{"POST", "cis/tagging/tag?action=list-tags-for-category", `{"category_id":"` + category + `"}`, 200, two},
		{"GET", "cis/tagging/tag/" + one, "", 200, `"name":"a"`},
		{"POST", "cis/tagging/category", `{"name":"zone","cardinality":"SINGLE"}`, 400, "ALREADY_EXISTS"},
		{"GET", "cis/tagging/tag/none", "", 404, ""},
	}
	for _, step := range steps {
		if status, text := do(step.method, step.path, step.body); status != step.status || !strings.Contains(text, step.text) {
			t.Errorf("%s %s %s: %d %s", step.method, step.path, step.body, status, text)
		}
	}
}

func TestTagsAreSeenByWhoMayReadTheRoot(t *testing.T) {
	l := labtest.Start(t, withUser([]string{"InventoryService.Tagging.AttachTag"}, "/dc1/host/cc1"))
	ctx := l.Context()
	cluster := computeCluster(t, l, "/dc1/host/cc1")
	login := func(user string) *tags.Manager {
		client := rest.NewClient(l.Login().Client)
		if err := client.Login(ctx, url.UserPassword(user, labtest.Password)); err != nil {
			t.Fatal(err)
		}
		return tags.NewManager(client)
	}
	admin, other := login(labtest.User), login(limited)
	category, err1 := admin.CreateCategory(ctx, &tags.Category{Name: "zone", Cardinality: "SINGLE"})
	tag, err2 := admin.CreateTag(ctx, &tags.Tag{Name: "a", CategoryID: category})
	if err1 != nil || err2 != nil || admin.AttachTag(ctx, tag, cluster) != nil {
		t.Fatal(err1, err2)
	}
	if got, err := other.ListAttachedTags(ctx, cluster); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
	if got, err := other.ListAttachedTagsOnObjects(ctx, []mo.Reference{cluster}); err != nil || len(got[0].TagIDs) != 0 {
		t.Errorf("%v %v", got, err)
	}
	if _, err := other.GetTag(ctx, tag); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("the tag: %v", err)
	}
	if err := other.AttachTag(ctx, tag, cluster); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("attached without a privilege on the root: %v", err)
	}
	hidden := computeCluster(t, l, "/dc1/host/cc2")
	if _, err := other.ListAttachedTagsOnObjects(ctx, []mo.Reference{cluster, hidden}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("an object that may not be read: %v", err)
	}
}
