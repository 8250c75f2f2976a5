package vcenter

import (
	"encoding/json"
	"net/http"
	"strings"

	"lab-vcenter/internal/authz"
)

const taggingPath = "/rest/com/vmware/cis/tagging/"

// tagNeeds is what changing tags needs, as the vSphere Automation API reference says of each operation of
// the tagging service ("if you do not have the privilege …"). What is not here changes nothing.
var tagNeeds = map[string]string{
	"POST category": "InventoryService.Tagging.CreateCategory", "PATCH category": "InventoryService.Tagging.EditCategory",
	"DELETE category": "InventoryService.Tagging.DeleteCategory",
	"POST tag":        "InventoryService.Tagging.CreateTag", "PATCH tag": "InventoryService.Tagging.EditTag",
	"DELETE tag": "InventoryService.Tagging.DeleteTag",
}

// taggingDenied names the privilege that a REST call lacks; "" if it may run. Tags themselves bear no
// permissions here: theirs are those of the root.
func (s *Server) taggingDenied(r *http.Request, user string, sent []byte) string {
	rest, ok := strings.CutPrefix(r.URL.Path, taggingPath)
	if !ok {
		return ""
	}
	collection, _, _ := strings.Cut(rest, "/")
	action := r.URL.Query().Get("~action")
	root := s.content.RootFolder
	var needs []need
	switch {
	case collection == "tag-association" && strings.HasPrefix(action, "attach"), collection == "tag-association" && strings.HasPrefix(action, "detach"):
		var body struct {
			Object struct {
				ID   string `json:"id"`
				Type string `json:"type"`
			} `json:"object_id"`
		}
		needs = []need{{"InventoryService.Tagging.AttachTag", root}}
		if json.Unmarshal(sent, &body) == nil && body.Object.ID != "" {
			needs = append(needs, need{authz.Read, ref{Type: body.Object.Type, Value: body.Object.ID}})
		}
	case action == "":
		if privilege := tagNeeds[r.Method+" "+collection]; privilege != "" {
			needs = []need{{privilege, root}}
		}
	}
	for _, one := range needs {
		if !s.policy.Has(user, one.on, one.privilege) {
			return one.privilege
		}
	}
	return ""
}

// unauthorized is the error of the automation API for a missing privilege.
func unauthorized(w http.ResponseWriter, privilege string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "com.vmware.vapi.std.errors.unauthorized",
		"value": map[string]any{"messages": []map[string]any{{
			"id": "vapi.security.authorization.invalid", "args": []string{privilege},
			"default_message": "Unable to authorize user: it lacks " + privilege + ".",
		}}},
	})
}
