package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func (s *Server) serveSubresource(w http.ResponseWriter, q *request) {
	switch {
	case q.resource.Resource == "pods" && q.subresource == "eviction" && q.verb == "create":
		if err := s.evict(q); err != nil {
			fail(w, err)
			return
		}
		reply(w, http.StatusCreated, metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: http.StatusCreated,
		})
	case q.resource.Resource == "pods" && q.subresource == "exec":
		s.exec(w, q)
	default:
		fail(w, notFound())
	}
}

// evict deletes a pod if every disruption budget that selects it allows it.
func (s *Server) evict(q *request) error {
	var eviction policyv1.Eviction
	raw, err := body(q)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &eviction); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	pod, err := s.read(q)
	if err != nil {
		return err
	}
	if eviction.DeleteOptions == nil {
		eviction.DeleteOptions = &metav1.DeleteOptions{}
	}
	if pod.GetDeletionTimestamp() == nil {
		for _, budget := range s.Store.list("policy/poddisruptionbudgets", q.namespace) {
			if err := s.forbids(budget, pod); err != nil {
				return err
			}
		}
	}
	_, err = s.delete(q, eviction.DeleteOptions)
	return err
}

func (s *Server) forbids(object, pod *Object) error {
	var budget policyv1.PodDisruptionBudget
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &budget); err != nil {
		return err
	}
	wanted, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil || !wanted.Matches(labels.Set(pod.GetLabels())) {
		return err
	}
	total, healthy := 0, 0
	for _, other := range s.Store.list("/pods", pod.GetNamespace()) {
		if !wanted.Matches(labels.Set(other.GetLabels())) {
			continue
		}
		total++
		if other.GetDeletionTimestamp() == nil && isReady(other) {
			healthy++
		}
	}
	needed := 0
	switch {
	case budget.Spec.MinAvailable != nil:
		needed, err = intstr.GetScaledValueFromIntOrPercent(budget.Spec.MinAvailable, total, true)
	case budget.Spec.MaxUnavailable != nil:
		needed, err = intstr.GetScaledValueFromIntOrPercent(budget.Spec.MaxUnavailable, total, true)
		needed = total - needed
	}
	if err != nil || healthy > needed {
		return err
	}
	refused := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10)
	refused.ErrStatus.Details.Causes = append(refused.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    policyv1.DisruptionBudgetCause,
		Message: fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", budget.Name, needed, healthy),
	})
	return refused
}

func isReady(pod *Object) bool {
	for _, item := range slice(pod.Object, "status", "conditions") {
		if condition, ok := item.(map[string]any); ok && text(condition, "type") == "Ready" {
			return text(condition, "status") == "True"
		}
	}
	return false
}

const (
	channelOut    = 1
	channelErr    = 2
	channelStatus = 3
)

// exec runs a command over the protocol v4/v5.channel.k8s.io: frames that begin with their channel's number.
func (s *Server) exec(w http.ResponseWriter, q *request) {
	pod, err := s.read(q)
	if err != nil {
		fail(w, err)
		return
	}
	given := q.URL.Query()
	if len(given["command"]) == 0 {
		fail(w, apierrors.NewBadRequest("you must specify at least one command for the container"))
		return
	}
	if !websocket.IsWebSocketUpgrade(q.Request) {
		fail(w, apierrors.NewBadRequest("Upgrade request required"))
		return
	}
	code, stdout, stderr, err := s.Exec(pod.GetName(), given.Get("container"), given["command"])
	if err != nil {
		fail(w, apierrors.NewInternalError(err))
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}}
	socket, err := upgrader.Upgrade(w, q.Request, nil)
	if err != nil {
		return // the upgrader has answered
	}
	defer socket.Close()
	frames := []string{string(rune(channelOut)) + stdout, string(rune(channelErr)) + stderr, string(rune(channelStatus)) + ended(code)}
	for _, frame := range frames {
		if len(frame) > 1 && socket.WriteMessage(websocket.BinaryMessage, []byte(frame)) != nil {
			return
		}
	}
	_ = socket.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

func ended(code int) string {
	status := metav1.Status{Status: metav1.StatusSuccess}
	if code != 0 {
		status = metav1.Status{
			Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Code: http.StatusInternalServerError,
			Message: "command terminated with non-zero exit code: exit status " + strconv.Itoa(code),
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: strconv.Itoa(code)}}},
		}
	}
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	out, err := json.Marshal(status)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
