package vcenter

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const guestinfoPrefix = "guestinfo."

func optionText(option *types.OptionValue) string {
	if text, ok := option.Value.(string); ok {
		return text
	}
	if option.Value == nil {
		return ""
	}
	return fmt.Sprint(option.Value)
}

func guestinfo(options []types.BaseOptionValue) map[string]string {
	found := map[string]string{}
	for _, o := range options {
		if option := o.GetOptionValue(); strings.HasPrefix(option.Key, guestinfoPrefix) {
			found[option.Key] = optionText(option)
		}
	}
	return found
}

// merged lays changes over options as a vCenter does: a value replaces, an empty one removes.
// It answers a new slice, and what really changed: old and new values by key, nil where there is none.
func merged(options, changes []types.BaseOptionValue) ([]types.BaseOptionValue, []optionChange) {
	fresh := append([]types.BaseOptionValue(nil), options...)
	var changed []optionChange
	for _, c := range changes {
		want := c.GetOptionValue()
		text := optionText(want)
		at := -1
		for i := range fresh {
			if fresh[i].GetOptionValue().Key == want.Key {
				at = i
				break
			}
		}
		value := &types.OptionValue{Key: want.Key, Value: text}
		switch {
		case at < 0 && text == "":
		case at < 0:
			fresh = append(fresh, value)
			changed = append(changed, optionChange{key: want.Key, is: &text})
		default:
			was := optionText(fresh[at].GetOptionValue())
			switch text {
			case was:
			case "":
				fresh = append(fresh[:at:at], fresh[at+1:]...)
				changed = append(changed, optionChange{key: want.Key, was: &was})
			default:
				fresh[at] = value
				changed = append(changed, optionChange{key: want.Key, was: &was, is: &text})
			}
		}
	}
	return fresh, changed
}

type optionChange struct {
	key string
	was *string
	is  *string
}

// property is the change as collectors see it.
func (c optionChange) property() types.PropertyChange {
	change := types.PropertyChange{Name: `config.extraConfig["` + c.key + `"]`}
	switch {
	case c.is == nil:
		change.Op = types.PropertyChangeOpRemove
	case c.was == nil:
		change.Op = types.PropertyChangeOpAdd
		change.Val = types.OptionValue{Key: c.key, Value: *c.is}
	default:
		change.Op = types.PropertyChangeOpAssign
		change.Val = types.OptionValue{Key: c.key, Value: *c.is}
	}
	return change
}

// setExtraConfig changes options of a machine and tells the collectors. The caller holds its lock.
func (s *Server) setExtraConfig(ctx *simulator.Context, vm *simulator.VirtualMachine, changes []types.BaseOptionValue) []optionChange {
	fresh, changed := merged(vm.Config.ExtraConfig, changes)
	if len(changed) == 0 {
		return nil
	}
	var updates []types.PropertyChange
	for _, c := range changed {
		updates = append(updates, c.property())
	}
	vm.Config.ExtraConfig = fresh
	updates = append(updates, types.PropertyChange{Name: "config.extraConfig", Val: fresh})
	s.registry.Update(ctx, vm, updates)
	return changed
}

// guestinfoOf picks what the hypervisor must hear of.
func guestinfoOf(changed []optionChange) map[string]*string {
	out := map[string]*string{}
	for _, c := range changed {
		if strings.HasPrefix(c.key, guestinfoPrefix) {
			out[c.key] = c.is
		}
	}
	return out
}
