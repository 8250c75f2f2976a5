package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	protobuftype "k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

const token = "abcdef.0123456789abcdef"

// aServer has one administrator, who logs in with a bootstrap token.
func aServer(t *testing.T) (*Server, string) {
	t.Helper()
	s := &Server{Store: NewStore(), Version: "v1.34.4", Quorum: func() bool { return true }}
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, document := range []map[string]any{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "kube-system"}},
		{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "default"}},
		{
			"apiVersion": "v1", "kind": "Secret", "type": tokenType,
			"metadata": map[string]any{"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
			"data": map[string]any{
				"token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
				"usage-bootstrap-authentication": encode("true"), "auth-extra-groups": encode("system:bootstrappers:test"),
			},
		},
		{
			"apiVersion": rbacGroup + "/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "all"},
			"rules": []any{map[string]any{"verbs": []any{"*"}, "apiGroups": []any{"*"}, "resources": []any{"*"}}},
		},
		{
			"apiVersion": rbacGroup + "/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": "all"},
			"roleRef":  map[string]any{"kind": "ClusterRole", "name": "all"},
			"subjects": []any{map[string]any{"kind": "Group", "name": "system:bootstrappers:test"}},
		},
	} {
		if _, err := s.Put(document); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func call(t *testing.T, method, url, kind, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var document map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil {
		t.Fatalf("%s %s: %s: %v", method, url, answer.Status, err)
	}
	return answer.StatusCode, document
}

const (
	applyType = "application/apply-patch+yaml"
	mergeType = "application/merge-patch+json"
	plain     = "application/json"
)

func TestAppliedFieldsHaveOwnersAndConflictsAreSaid(t *testing.T) {
	_, url := aServer(t)
	at := url + "/api/v1/namespaces/default/configmaps/c?fieldManager="
	if code, _ := call(t, "PATCH", at+"a", applyType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"1","y":"1"}}`); code != 201 {
		t.Fatal(code)
	}
	other := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"2"}}`
	code, status := call(t, "PATCH", at+"b", applyType, other)
	if code != 409 || !strings.Contains(text(status, "message"), `conflict with "a"`) {
		t.Fatal(code, status)
	}
	code, taken := call(t, "PATCH", at+"b&force=true", applyType, other)
	if code != 200 || text(taken, "data", "x") != "2" || text(taken, "data", "y") != "1" {
		t.Fatal(code, taken)
	}
	// What a manager no longer applies goes, unless another one owns it.
	_, less := call(t, "PATCH", at+"a", applyType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`)
	if text(less, "data", "x") != "2" || text(less, "data", "y") != "" {
		t.Fatal(less)
	}
	_, same := call(t, "PATCH", at+"b", applyType, other)
	if text(same, "metadata", "resourceVersion") != text(less, "metadata", "resourceVersion") {
		t.Fatal("applying the same again is no change", same)
	}
}

func TestPatchesAndVersions(t *testing.T) {
	_, url := aServer(t)
	if code, made := call(t, "POST", url+"/api/v1/nodes", plain, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},"spec":{"podCIDRs":["10.0.0.0/24"],"taints":[{"key":"a","effect":"NoSchedule"}]}}`); code != 201 {
		t.Fatal(made)
	}
	node := url + "/api/v1/nodes/n"
	if code, _ := call(t, "PATCH", node, mergeType, `{"metadata":{"resourceVersion":"1"},"spec":{"unschedulable":true}}`); code != 409 {
		t.Fatal(code)
	}
	_, merged := call(t, "PATCH", node, "application/strategic-merge-patch+json", `{"spec":{"podCIDRs":["10.0.1.0/24"],"taints":[{"key":"b","effect":"NoSchedule"}]}}`)
	if len(slice(merged, "spec", "podCIDRs")) != 2 || len(slice(merged, "spec", "taints")) != 1 {
		t.Fatal("a strategic patch merges the lists that Kubernetes says, and replaces others", merged)
	}
	_, status := call(t, "PATCH", node, mergeType, `{"status":{"phase":"Running"},"spec":{"unschedulable":true}}`)
	if status["status"] != nil || dig(status, "spec", "unschedulable") != true {
		t.Fatal("status is changed through its own path only", status)
	}
	if code, wrong := call(t, "PATCH", node, mergeType, `{"spec":{"unschedulable":"yes"}}`); code != 400 {
		t.Fatal(wrong)
	}
	if code, _ := call(t, "POST", url+"/api/v1/namespaces/no/configmaps", plain, `{"metadata":{"name":"c"}}`); code != 404 {
		t.Fatal("no namespace, no object")
	}
}

func TestWatchGoesOnFromAListAndSelects(t *testing.T) {
	s, url := aServer(t)
	_, list := call(t, "GET", url+"/api/v1/namespaces/default/configmaps", plain, "")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/api/v1/namespaces/default/configmaps?watch=true&allowWatchBookmarks=true&timeoutSeconds=1&labelSelector=app&resourceVersion="+
		text(list, "metadata", "resourceVersion"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	at := url + "/api/v1/namespaces/default/configmaps"
	call(t, "POST", at, plain, `{"metadata":{"name":"other"}}`)
	call(t, "POST", at, plain, `{"metadata":{"name":"c","labels":{"app":"x"}}}`)
	call(t, "PATCH", at+"/c", mergeType, `{"data":{"a":"b"}}`)
	call(t, "PATCH", at+"/c", mergeType, `{"metadata":{"labels":{"app":null}}}`)
	var seen []string
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		var event map[string]any
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, text(event, "type"))
	}
	if got := strings.Join(seen, " "); got != "ADDED MODIFIED DELETED BOOKMARK" {
		t.Fatal(got)
	}
	for range 3 * historyLength {
		s.Change("/configmaps", "default", "c", func(d map[string]any) { d["data"] = map[string]any{"at": time.Now().String()} })
	}
	if _, old, _ := s.Store.since(1); old {
		t.Fatal("a forgotten version is said to be so")
	}
}

func TestEvictionsKeepABudget(t *testing.T) {
	s, url := aServer(t)
	ended := make(chan string, 2)
	s.Ending = func(pod *Object) { ended <- pod.GetName() }
	ready := map[string]any{"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}
	for _, name := range []string{"a", "b"} {
		s.Add(map[string]any{
			"apiVersion": "v1", "kind": "Pod", "status": ready,
			"metadata": map[string]any{"name": name, "namespace": "default", "labels": map[string]any{"app": "x"}},
			"spec":     map[string]any{"nodeName": "n"},
		})
	}
	call(t, "POST", url+"/apis/policy/v1/namespaces/default/poddisruptionbudgets", plain,
		`{"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"x"}}}}`)
	evict := func(name string) (int, map[string]any) {
		return call(t, "POST", url+"/api/v1/namespaces/default/pods/"+name+"/eviction", plain,
			`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"`+name+`","namespace":"default"}}`)
	}
	if code, status := evict("a"); code != 201 || <-ended != "a" {
		t.Fatal(code, status)
	}
	if code, status := evict("b"); code != 429 || !strings.Contains(text(status, "message"), "disruption budget") {
		t.Fatal(code, status)
	}
	_, pod := call(t, "GET", url+"/api/v1/namespaces/default/pods/a", plain, "")
	if text(pod, "metadata", "deletionTimestamp") == "" {
		t.Fatal("an evicted pod ends when its kubelet says so")
	}
}

func TestTokensAndRights(t *testing.T) {
	s, url := aServer(t)
	if code, _ := s.Ask("abcdef.wrong", "GET", "/api/v1/nodes", nil); code != 401 {
		t.Fatal(code)
	}
	if code, _ := s.Ask(token, "GET", "/api/v1/nodes", nil); code != 200 {
		t.Fatal(code)
	}
	call(t, "DELETE", url+"/apis/"+rbacGroup+"/v1/clusterrolebindings/all", plain, "")
	code, answer := s.Ask(token, "GET", "/api/v1/nodes", nil)
	if code != 403 || !strings.Contains(string(answer), `User \"system:bootstrap:abcdef\" cannot list resource \"nodes\"`) {
		t.Fatal(code, string(answer))
	}
	s.Change("/secrets", "kube-system", "bootstrap-token-abcdef", func(d map[string]any) {
		past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
		d["data"].(map[string]any)["expiration"] = base64.StdEncoding.EncodeToString([]byte(past))
	})
	if code, _ := s.Ask(token, "GET", "/version", nil); code != 401 {
		t.Fatal("an expired token does not log in", code)
	}
}

func TestWithoutQuorumOnlyTheProcessAnswers(t *testing.T) {
	s, _ := aServer(t)
	s.Quorum = func() bool { return false }
	for path, want := range map[string]int{"/version": 200, "/readyz": 500, "/api/v1/nodes": 500} {
		if code, answer := s.Ask(token, "GET", path, nil); code != want {
			t.Error(path, code, string(answer))
		}
	}
}

func TestADefinitionMakesAKind(t *testing.T) {
	_, url := aServer(t)
	call(t, "POST", url+"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", plain, `{"metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true}]}}`)
	_, list := call(t, "GET", url+"/apis/example.com/v1", plain, "")
	if len(slice(list, "resources")) != 1 {
		t.Fatal(list)
	}
	code, made := call(t, "PATCH", url+"/apis/example.com/v1/namespaces/default/things/t?fieldManager=a", applyType,
		`{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"t"},"spec":{"any":[1]}}`)
	if code != 201 || text(made, "metadata", "uid") == "" {
		t.Fatal(code, made)
	}
}

func TestListsComeInPages(t *testing.T) {
	_, url := aServer(t)
	for _, name := range []string{"a", "b", "c"} {
		call(t, "POST", url+"/api/v1/namespaces/default/configmaps", plain, `{"metadata":{"name":"`+name+`"}}`)
	}
	at, seen := url+"/api/v1/configmaps?limit=2", 0
	_, first := call(t, "GET", at, plain, "")
	seen += len(slice(first, "items"))
	_, second := call(t, "GET", at+"&continue="+text(first, "metadata", "continue"), plain, "")
	seen += len(slice(second, "items"))
	if seen != 3 || text(second, "metadata", "continue") != "" {
		t.Fatal(seen, second)
	}
}

// kubectl sends evictions in Kubernetes' binary form.
func TestBodiesMayBeProtobuf(t *testing.T) {
	s, url := aServer(t)
	s.Ending = func(*Object) {}
	s.Add(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "a", "namespace": "default"},
		"spec": map[string]any{"nodeName": "n"}, "status": map[string]any{"phase": "Running"},
	})
	var out bytes.Buffer
	eviction := &policyv1.Eviction{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "Eviction"},
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"},
	}
	if err := protobuftype.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(eviction, &out); err != nil {
		t.Fatal(err)
	}
	code, status := call(t, "POST", url+"/api/v1/namespaces/default/pods/a/eviction", "application/vnd.kubernetes.protobuf", out.String())
	if code != 201 {
		t.Fatal(code, status)
	}
	out.Reset()
	node := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	if err := protobuftype.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(node, &out); err != nil {
		t.Fatal(err)
	}
	code, made := call(t, "POST", url+"/api/v1/nodes", "application/vnd.kubernetes.protobuf", out.String())
	if code != 201 || text(made, "kind") != "Node" {
		t.Fatal(code, made)
	}
}
