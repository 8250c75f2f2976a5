package vcenter

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"lab-vcenter/internal/authz"
)

const (
	taggingPath    = "/rest/com/vmware/cis/tagging/"
	apiTaggingPath = "/api/cis/tagging/"
	vapiError      = "com.vmware.vapi.std.errors."
)

// tagNeeds is what changing tags needs, as the vSphere Automation API reference says of each operation of
// the tagging service ("if you do not have the privilege …"). What is not here changes nothing.
var tagNeeds = map[string]string{
	"POST category": "InventoryService.Tagging.CreateCategory", "PATCH category": "InventoryService.Tagging.EditCategory",
	"DELETE category": "InventoryService.Tagging.DeleteCategory",
	"POST tag":        "InventoryService.Tagging.CreateTag", "PATCH tag": "InventoryService.Tagging.EditTag",
	"DELETE tag": "InventoryService.Tagging.DeleteTag",
}

type taggedObject struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// tagRequest is a call of the tagging service, in the form that it has under /rest.
type tagRequest struct {
	*http.Request
	collection, id, action string
	objects                []taggedObject
}

// tagRequestOf reads a request; nil for one of another service.
func tagRequestOf(r *http.Request, sent []byte) *tagRequest {
	rest, ok := strings.CutPrefix(r.URL.Path, taggingPath)
	if !ok {
		return nil
	}
	out := &tagRequest{Request: r, action: r.URL.Query().Get("~action")}
	out.collection, out.id, _ = strings.Cut(rest, "/")
	out.id = strings.TrimPrefix(out.id, "id:")
	var body struct {
		Object  *taggedObject  `json:"object_id"`
		Objects []taggedObject `json:"object_ids"`
	}
	if json.Unmarshal(sent, &body) == nil {
		out.objects = body.Objects
		if body.Object != nil {
			out.objects = []taggedObject{*body.Object}
		}
	}
	return out
}

// attaches is true of what attaches tags or detaches them.
func (r *tagRequest) attaches() bool {
	return r.collection == "tag-association" && (strings.HasPrefix(r.action, "attach") || strings.HasPrefix(r.action, "detach"))
}

// denied names the privilege that a REST call lacks; "" if it may run. Tags themselves bear no permissions
// here: theirs are those of the root, as vSphere Security says of global permissions ("Permissions on Tag
// Objects"). Objects have to be read, and from 7.0 on to be attachable ("vSphere Tagging Privileges").
func (s *Server) taggingDenied(r *tagRequest, user string) string {
	root := s.content.RootFolder
	var needs []need
	for _, one := range r.objects {
		needs = append(needs, need{authz.Read, ref{Type: one.Type, Value: one.ID}})
	}
	switch {
	case r.attaches():
		needs = append(needs, need{"InventoryService.Tagging.AttachTag", root})
		for _, one := range r.objects {
			if s.speaks("7.0.0.0") {
				needs = append(needs, need{"InventoryService.Tagging.ObjectAttachable", ref{Type: one.Type, Value: one.ID}})
			}
		}
	case r.action == "" && tagNeeds[r.Method+" "+r.collection] != "":
		needs = append(needs, need{tagNeeds[r.Method+" "+r.collection], root})
	case r.action == "" && r.id != "":
		needs = append(needs, need{authz.Read, root})
	}
	for _, one := range needs {
		if !s.policy.Has(user, one.on, one.privilege) {
			return one.privilege
		}
	}
	return ""
}

// misfit says why a tag cannot be attached to an object; "" if it can. The simulator takes anything.
func (f *front) misfit(r *tagRequest) string {
	if r.action != "attach" || !r.attaches() || len(r.objects) != 1 {
		return ""
	}
	object := r.objects[0]
	var tag struct {
		Category string `json:"category_id"`
	}
	var category struct {
		Cardinality string   `json:"cardinality"`
		Types       []string `json:"associable_types"`
	}
	if !f.look(r, http.MethodGet, "tag/id:"+r.id, nil, &tag) || !f.look(r, http.MethodGet, "category/id:"+tag.Category, nil, &category) {
		return "" // the simulator says that it is not there
	}
	if len(category.Types) > 0 && !slices.Contains(category.Types, object.Type) {
		return "tags of this category cannot be attached to a " + object.Type
	}
	var held []string
	f.look(r, http.MethodPost, "tag-association?~action=list-attached-tags", map[string]any{"object_id": object}, &held)
	for _, other := range held {
		var same struct {
			Category string `json:"category_id"`
		}
		if category.Cardinality == "SINGLE" && other != r.id && f.look(r, http.MethodGet, "tag/id:"+other, nil, &same) && same.Category == tag.Category {
			return "the object has a tag of this category already"
		}
	}
	return ""
}

// look asks the simulator itself, with the caller's session, and reads the value of its answer.
func (f *front) look(r *tagRequest, method, what string, body, value any) bool {
	sent, _ := json.Marshal(body)
	request := r.Clone(r.Context())
	request.Method = method
	request.URL.Path, request.URL.RawQuery, _ = strings.Cut(taggingPath+what, "?")
	request.URL.RawPath = ""
	request.Body = io.NopCloser(bytes.NewReader(sent))
	got := &answer{header: http.Header{}, status: http.StatusOK}
	f.next.ServeHTTP(got, request)
	wrapped := struct {
		Value any `json:"value"`
	}{value}
	return got.status/100 == 2 && json.Unmarshal(got.body.Bytes(), &wrapped) == nil
}

// hidden empties lists of tags and categories for who may not read them: what the account does not see is
// left out, without an error.
func (s *Server) hidden(r *tagRequest, user string, answered []byte) []byte {
	if s.policy.Has(user, s.content.RootFolder, authz.Read) {
		return answered
	}
	switch {
	case r.action == "list-attached-tags-on-objects":
		var rows struct {
			Value []map[string]any `json:"value"`
		}
		_ = json.Unmarshal(answered, &rows)
		for _, row := range rows.Value {
			row["tag_ids"] = []string{}
		}
		out, _ := json.Marshal(rows)
		return out
	case strings.HasPrefix(r.action, "list-"), r.Method == http.MethodGet && r.id == "":
		return []byte(`{"value":[]}`)
	}
	return answered
}

// refused is an error of the automation API, as /rest words it.
func refused(w http.ResponseWriter, status int, kind string, args []string, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": vapiError + kind,
		"value": map[string]any{"messages": []map[string]any{{
			"id": "vapi." + kind, "args": args, "default_message": message,
		}}},
	})
}

// fromAPI translates a request of the tagging service under /api, which the simulator has not, to the form
// under /rest: identifiers with a prefix, actions with a tilde, specifications with a name around them.
func fromAPI(r *http.Request, sent []byte) []byte {
	rest := strings.TrimPrefix(r.URL.Path, apiTaggingPath)
	collection, id, _ := strings.Cut(rest, "/")
	action := r.URL.Query().Get("action")
	if action == "list-tags-for-category" {
		var body struct {
			Category string `json:"category_id"`
		}
		_ = json.Unmarshal(sent, &body)
		id, sent = body.Category, nil
	}
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = taggingPath+collection, "", ""
	if id != "" {
		r.URL.Path += "/id:" + id
	}
	if action != "" {
		r.URL.RawQuery = "~action=" + action
	}
	wrap := map[string]string{http.MethodPost: "create_spec", http.MethodPatch: "update_spec"}[r.Method]
	if wrap == "" || action != "" {
		return sent
	}
	wrapped, _ := json.Marshal(map[string]json.RawMessage{wrap: sent})
	return wrapped
}

// toAPI translates an answer back: the bare value, or the kind of the error in capitals.
func (a *answer) toAPI(method, action string) {
	var body struct {
		Type  string          `json:"type"`
		Value json.RawMessage `json:"value"`
	}
	known := json.Unmarshal(a.body.Bytes(), &body) == nil
	if a.status/100 != 2 {
		if known && body.Type != "" {
			var inner map[string]any
			_ = json.Unmarshal(body.Value, &inner)
			out, _ := json.Marshal(map[string]any{"error_type": strings.ToUpper(strings.TrimPrefix(body.Type, vapiError)), "messages": inner["messages"]})
			a.body = *bytes.NewBuffer(out)
		}
		return
	}
	a.body.Reset()
	switch {
	case known && len(body.Value) > 0 && string(body.Value) != "null":
		a.body.Write(body.Value)
		if method == http.MethodPost && action == "" {
			a.status = http.StatusCreated
		}
	case known && len(body.Value) > 0 && (strings.HasPrefix(action, "list-") || method == http.MethodGet):
		a.body.WriteString("[]")
	default:
		a.status = http.StatusNoContent
	}
}
