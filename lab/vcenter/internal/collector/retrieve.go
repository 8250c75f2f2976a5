package collector

import (
	"errors"
	"strconv"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

var (
	errCanceled  = errors.New("canceled")
	errAbandoned = errors.New("the session ended")
)

func faultOf(why error) types.BaseMethodFault {
	if errors.Is(why, errAbandoned) {
		return new(types.NotAuthenticated)
	}
	return new(types.RequestCanceled)
}

// pages are retrievals whose client wanted fewer objects at a time.
type pages struct {
	mu   sync.Mutex
	next int
	kept map[string]page
}

type page struct {
	objects []types.ObjectContent
	most    int32
}

func (p *pages) cut(objects []types.ObjectContent, most int32) types.RetrieveResult {
	if most <= 0 || int(most) >= len(objects) {
		return types.RetrieveResult{Objects: objects}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		p.kept = map[string]page{}
	}
	p.next++
	token := strconv.Itoa(p.next)
	p.kept[token] = page{objects[most:], most}
	return types.RetrieveResult{Objects: objects[:most], Token: token}
}

func (p *pages) take(token string) (page, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.kept[token]
	delete(p.kept, token)
	return found, ok
}

// RetrievePropertiesEx answers properties as they are now.
func (c *Collector) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	objects, fault := c.retrieve(ctx, req.SpecSet)
	if fault != nil {
		return &methods.RetrievePropertiesExBody{Fault_: simulator.Fault("", fault)}
	}
	body := &methods.RetrievePropertiesExBody{Res: new(types.RetrievePropertiesExResponse)}
	if len(objects) > 0 {
		result := c.pages.cut(objects, req.Options.MaxObjects)
		body.Res.Returnval = &result
	}
	return body
}

// ContinueRetrievePropertiesEx answers the next page.
func (c *Collector) ContinueRetrievePropertiesEx(_ *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	kept, ok := c.pages.take(req.Token)
	if !ok {
		return &methods.ContinueRetrievePropertiesExBody{Fault_: simulator.Fault("", &types.InvalidProperty{Name: "token"})}
	}
	return &methods.ContinueRetrievePropertiesExBody{
		Res: &types.ContinueRetrievePropertiesExResponse{Returnval: c.pages.cut(kept.objects, kept.most)},
	}
}

// CancelRetrievePropertiesEx forgets the pages left.
func (c *Collector) CancelRetrievePropertiesEx(_ *simulator.Context, req *types.CancelRetrievePropertiesEx) soap.HasFault {
	c.pages.take(req.Token)
	return &methods.CancelRetrievePropertiesExBody{Res: new(types.CancelRetrievePropertiesExResponse)}
}

// RetrieveProperties is the old name.
func (c *Collector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	objects, fault := c.retrieve(ctx, req.SpecSet)
	if fault != nil {
		return &methods.RetrievePropertiesBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.RetrievePropertiesBody{Res: &types.RetrievePropertiesResponse{Returnval: objects}}
}

func (c *Collector) retrieve(ctx *simulator.Context, specs []types.PropertyFilterSpec) ([]types.ObjectContent, types.BaseMethodFault) {
	var out []types.ObjectContent
	for _, spec := range specs {
		query, fault := newQuery(c.hub, spec)
		if fault != nil {
			return nil, fault
		}
		chosen, fault := query.selects(ctx, true)
		if fault != nil {
			return nil, fault
		}
		for _, self := range chosen.objects {
			now, wanted, ok := query.values(ctx, self)
			if !ok || wanted == nil {
				continue
			}
			content := types.ObjectContent{Obj: self}
			for _, v := range now {
				if v.lacks != "" {
					content.MissingSet = append(content.MissingSet, v.missing(self))
				} else if v.val != nil {
					content.PropSet = append(content.PropSet, types.DynamicProperty{Name: v.name, Val: v.val})
				}
			}
			out = append(out, content)
		}
	}
	return out, nil
}
