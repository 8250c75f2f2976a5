package inventory

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// standardNetworks renames the one that the simulator makes, and adds the others to every host.
func (b *builder) standardNetworks(p *place) error {
	stock := b.ctx.Map.Get(p.dc.Network[0]).(*mo.Network)
	for i, name := range p.spec.Networks {
		if i == 0 {
			stock.Name, stock.ManagedEntity.Name = name, name
			summary := stock.Summary.GetNetworkSummary()
			summary.Name, summary.Accessible = name, true
			p.networks[name] = stock.Self
			continue
		}
		first := p.hosts[p.spec.hosts()[0].Name]
		system := b.ctx.Map.Get(*first.ConfigManager.NetworkSystem).(*simulator.HostNetworkSystem)
		body := system.AddPortGroup(b.ctx, &types.AddPortGroup{
			This: system.Self, Portgrp: types.HostPortGroupSpec{Name: name, VswitchName: "vSwitch0"},
		})
		if _, err := result[*methods.AddPortGroupBody](body); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
		p.networks[name] = b.ctx.Map.FindByName(name, p.dc.Network).Reference()
	}
	if len(p.spec.Networks) == 0 {
		folder := b.ctx.Map.Get(p.dc.NetworkFolder).(*simulator.Folder)
		simulator.RemoveReference(&folder.ChildEntity, stock.Self)
		simulator.RemoveReference(&p.dc.Network, stock.Self)
		b.ctx.Map.Remove(b.ctx, stock.Self)
	}
	for _, h := range p.spec.hosts() {
		host, parent := p.hosts[h.Name], p.parents[h.Name]
		host.Network = nil
		if host == p.hosts[parentFirst(b, parent)] {
			parent.Network = nil
		}
		for _, name := range p.spec.Networks {
			b.attach(p.networks[name], host, parent)
		}
	}
	return nil
}

func parentFirst(b *builder, parent *mo.ComputeResource) string {
	return b.ctx.Map.Get(parent.Host[0]).(*simulator.HostSystem).Name
}

// attach makes a network, a host and the host's compute resource name each other.
func (b *builder) attach(network ref, host *simulator.HostSystem, parent *mo.ComputeResource) {
	if !slices.Contains(host.Network, network) {
		host.Network = append(host.Network, network)
	}
	if !slices.Contains(parent.Network, network) {
		parent.Network = append(parent.Network, network)
	}
	var hosts *[]ref
	switch n := b.ctx.Map.Get(network).(type) {
	case *mo.Network:
		hosts = &n.Host
	case *simulator.DistributedVirtualPortgroup:
		hosts = &n.Host
	}
	if hosts != nil && !slices.Contains(*hosts, host.Self) {
		*hosts = append(*hosts, host.Self)
	}
}

func (b *builder) switches(p *place) error {
	folder := b.ctx.Map.Get(p.dc.NetworkFolder).(*simulator.Folder)
	for _, spec := range p.spec.Switches {
		made, err := b.wait(folder.CreateDVSTask(b.ctx, &types.CreateDVS_Task{
			This: folder.Self,
			Spec: types.DVSCreateSpec{ConfigSpec: &types.VMwareDVSConfigSpec{
				DVSConfigSpec: types.DVSConfigSpec{Name: spec.Name},
			}},
		}))
		if err != nil {
			return fmt.Errorf("switch %s: %w", spec.Name, err)
		}
		// The simulator goes on with the uplinks, under locks that are held in the context's name.
		another := *b.ctx
		b.ctx = &another
		dvs := b.ctx.Map.Get(made.(ref)).(*simulator.DistributedVirtualSwitch)
		var groups []types.DVPortgroupConfigSpec
		for _, pg := range spec.PortGroups {
			groups = append(groups, types.DVPortgroupConfigSpec{
				Name: pg.Name, NumPorts: 128,
				Type:              string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding),
				DefaultPortConfig: &types.VMwareDVSPortSetting{Vlan: &types.VmwareDistributedVirtualSwitchVlanIdSpec{VlanId: pg.VLAN}},
			})
		}
		if _, err := b.wait(dvs.AddDVPortgroupTask(b.ctx, &types.AddDVPortgroup_Task{This: dvs.Self, Spec: groups})); err != nil {
			return fmt.Errorf("switch %s: %w", spec.Name, err)
		}
		for _, r := range dvs.Portgroup {
			group := b.ctx.Map.Get(r).(*simulator.DistributedVirtualPortgroup)
			own := slices.ContainsFunc(spec.PortGroups, func(pg PortGroup) bool { return pg.Name == group.Name })
			group.Config.Uplink = types.NewBool(!own)
		}
		var members []types.DistributedVirtualSwitchHostMemberConfigSpec
		for _, h := range p.spec.hosts() {
			members = append(members, types.DistributedVirtualSwitchHostMemberConfigSpec{
				Operation: string(types.ConfigSpecOperationAdd), Host: p.hosts[h.Name].Self,
			})
		}
		if _, err := b.wait(dvs.ReconfigureDvsTask(b.ctx, &types.ReconfigureDvs_Task{
			This: dvs.Self, Spec: &types.DVSConfigSpec{Host: members},
		})); err != nil {
			return fmt.Errorf("hosts of switch %s: %w", spec.Name, err)
		}
		for _, pg := range spec.PortGroups {
			network := b.ctx.Map.FindByName(pg.Name, p.dc.Network).Reference()
			p.networks[pg.Name] = network
			for _, h := range p.spec.hosts() {
				b.attach(network, p.hosts[h.Name], p.parents[h.Name])
			}
		}
	}
	return nil
}
