package collector

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// FetchResponse answers the undocumented Fetch, by which pyVmomi reads single properties. The
// simulator's own types for it cannot be imported, and its answer for unset properties cannot be parsed.
type FetchResponse struct {
	Returnval any `xml:"returnval,omitempty,typeattr"`
}

type fetchBody struct {
	Res    *FetchResponse `xml:"FetchResponse,omitempty"`
	Fault_ *soap.Fault    `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"` //nolint:revive // found by name
}

func (b *fetchBody) Fault() *soap.Fault { return b.Fault_ }

// Fetch answers one property of one object.
func (c *Collector) Fetch(ctx *simulator.Context, req any) soap.HasFault {
	fields := reflect.ValueOf(req).Elem()
	self := fields.FieldByName("This").Interface().(ref)
	name := fields.FieldByName("Prop").String()
	object, inner := c.hub.object(ctx.Session, self)
	if object == nil {
		return &fetchBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: self})}
	}
	steps, err := parsePath(name)
	if err != nil || !exists(inner.Type(), steps) {
		return &fetchBody{Fault_: simulator.Fault("", &types.InvalidProperty{Name: name})}
	}
	if session := ctx.Session; session != nil && !c.hub.guard.Unlimited(session) {
		if privilege := c.hub.guard.Lacks(session, self, inner.Type(), steps[0].field); privilege != "" {
			return &fetchBody{Fault_: simulator.Fault("", &types.NoPermission{Object: &self, PrivilegeId: privilege})}
		}
	}
	answer := new(FetchResponse)
	ctx.WithLock(object, func() { answer.Returnval = read(inner, steps) })
	return &fetchBody{Res: answer}
}
