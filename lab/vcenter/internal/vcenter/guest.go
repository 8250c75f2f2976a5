package vcenter

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// ErrNoMachine is the answer to reports on machines that are not in the inventory.
var ErrNoMachine = errors.New("no virtual machine has that BIOS UUID")

// GuestState is what a guest's tools say of it.
type GuestState struct {
	HostName     string     `json:"hostName"`
	ToolsRunning bool       `json:"toolsRunning"`
	NICs         []GuestNIC `json:"nics"`
}

// GuestNIC is one NIC as the guest sees it; addresses may bear a prefix length.
type GuestNIC struct {
	MAC string   `json:"mac"`
	IPs []string `json:"ips"`
}

// noGuest is a machine that says nothing of itself.
func noGuest() []types.PropertyChange {
	notRunning := string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	return []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: notRunning},
		{Name: "summary.guest.toolsRunningStatus", Val: notRunning},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "summary.guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "guest.guestState", Val: "notRunning"},
		{Name: "guest.hostName", Val: ""},
		{Name: "summary.guest.hostName", Val: ""},
		{Name: "guest.ipAddress", Val: ""},
		{Name: "summary.guest.ipAddress", Val: ""},
		{Name: "guest.net", Val: []types.GuestNicInfo(nil)},
	}
}

// SetGuestState makes the tools' report visible as guest.*.
func (s *Server) SetGuestState(bios string, state GuestState) error {
	ctx := s.internal()
	vm := s.machines.find(ctx, bios)
	if vm == nil {
		return ErrNoMachine
	}
	ctx.WithLock(vm, func() { s.registry.Update(ctx, vm, s.guestChanges(vm, state)) })
	return nil
}

func (s *Server) guestChanges(vm *simulator.VirtualMachine, state GuestState) []types.PropertyChange {
	if !state.ToolsRunning {
		return noGuest()
	}
	cards := map[string]*types.VirtualEthernetCard{}
	for _, nic := range nics(vm.Config.Hardware.Device) {
		card := nic.GetVirtualEthernetCard()
		cards[strings.ToLower(card.MacAddress)] = card
	}
	var net []types.GuestNicInfo
	first := ""
	for _, nic := range state.NICs {
		info := types.GuestNicInfo{MacAddress: strings.ToLower(nic.MAC), Connected: true, DeviceConfigId: -1, IpConfig: &types.NetIpConfigInfo{}}
		if card := cards[info.MacAddress]; card != nil {
			info.DeviceConfigId = card.Key
			info.Network = s.machines.networkName(card.Backing)
		}
		for _, text := range nic.IPs {
			address, bits := splitAddress(text)
			info.IpAddress = append(info.IpAddress, address)
			info.IpConfig.IpAddress = append(info.IpConfig.IpAddress, types.NetIpConfigInfoIpAddress{
				IpAddress: address, PrefixLength: bits, State: string(types.NetIpConfigInfoIpAddressStatusPreferred),
			})
			if first == "" && info.DeviceConfigId >= 0 && strings.Contains(address, ".") {
				first = address
			}
		}
		net = append(net, info)
	}
	running := string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	return []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: running},
		{Name: "summary.guest.toolsRunningStatus", Val: running},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "summary.guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "guest.guestState", Val: "running"},
		{Name: "guest.hostName", Val: state.HostName},
		{Name: "summary.guest.hostName", Val: state.HostName},
		{Name: "guest.ipAddress", Val: first},
		{Name: "summary.guest.ipAddress", Val: first},
		{Name: "guest.net", Val: net},
	}
}

func splitAddress(text string) (string, int32) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr().String(), int32(prefix.Bits())
	}
	if address, err := netip.ParseAddr(text); err == nil && address.Is6() {
		return text, 64
	}
	return text, 16 // the lab's own network
}

// SetGuestinfo is what `vmware-rpctool info-set` in the guest leads to.
func (s *Server) SetGuestinfo(bios string, values map[string]string) error {
	ctx := s.internal()
	vm := s.machines.find(ctx, bios)
	if vm == nil {
		return ErrNoMachine
	}
	var changes []types.BaseOptionValue
	for key, value := range values {
		if !strings.HasPrefix(key, guestinfoPrefix) {
			return errors.New("key " + key + ": a guest can only set guestinfo.*")
		}
		changes = append(changes, &types.OptionValue{Key: key, Value: value})
	}
	var refused *refusal
	ctx.WithLock(vm, func() {
		whole, _ := merged(vm.Config.ExtraConfig, changes)
		if refused = s.limits.checkGuestinfo(whole); refused == nil {
			s.setExtraConfig(ctx, vm, changes)
		}
	})
	if refused != nil {
		return refused
	}
	return nil
}
