package inventory

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (b *builder) templates(p *place) error {
	for _, spec := range p.spec.Templates {
		if err := b.template(p, spec); err != nil {
			return fmt.Errorf("template %s: %w", spec.Name, err)
		}
	}
	return nil
}

// template makes a powered-off virtual machine, takes its snapshot and marks it as template.
func (b *builder) template(p *place, spec Template) error {
	backing, err := b.backing(p, spec.Network)
	if err != nil {
		return err
	}
	host, parent := p.hosts[spec.Host], p.parents[spec.Host]
	store := b.ctx.Map.Get(p.stores[spec.Datastore]).(*simulator.Datastore)
	config := types.VirtualMachineConfigSpec{
		Name:       spec.Name,
		GuestId:    spec.GuestID,
		Firmware:   spec.Firmware,
		Annotation: spec.Annotation,
		Version:    fmt.Sprintf("vmx-%02d", spec.HardwareVersion),
		NumCPUs:    spec.CPUs,
		MemoryMB:   spec.MemoryMiB,
		Files:      &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", store.Name)},
	}
	for _, key := range slices.Sorted(maps.Keys(spec.ExtraConfig)) {
		config.ExtraConfig = append(config.ExtraConfig, &types.OptionValue{Key: key, Value: spec.ExtraConfig[key]})
	}
	if spec.KubernetesVersion != "" {
		config.VAppConfig = ovaProperties(spec)
	}

	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return err
	}
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{}, "")
	disk.CapacityInKB = spec.DiskGiB << 20
	disk.CapacityInBytes = spec.DiskGiB << 30
	nic, err := devices.CreateEthernetCard("vmxnet3", backing)
	if err != nil {
		return err
	}
	scsi.GetVirtualDevice().Key, disk.Key, nic.GetVirtualDevice().Key = 1000, 2000, 4000 // as in a vCenter
	disk.ControllerKey = 1000
	devices = append(devices, scsi, disk, nic)
	if config.DeviceChange, err = devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd); err != nil {
		return err
	}

	folder := b.ctx.Map.Get(p.folders[spec.Folder]).(*simulator.Folder)
	made, err := b.wait(folder.CreateVMTask(b.ctx, &types.CreateVM_Task{
		This: folder.Self, Config: config, Pool: *parent.ResourcePool, Host: &host.Self,
	}))
	if err != nil {
		return err
	}
	vm := b.ctx.Map.Get(made.(ref)).(*simulator.VirtualMachine)
	simulatorOnly := func(o types.BaseOptionValue) bool { return o.GetOptionValue().Key == "govcsim" }
	vm.Config.ExtraConfig = slices.DeleteFunc(vm.Config.ExtraConfig, simulatorOnly)
	if spec.Encrypted {
		vm.Config.KeyId = &types.CryptoKeyId{KeyId: "key-1", ProviderId: &types.KeyProviderId{Id: "provider"}}
	}
	if spec.TPM {
		tpm := &types.VirtualTPM{VirtualDevice: types.VirtualDevice{Key: 11000}}
		vm.Config.Hardware.Device = append(vm.Config.Hardware.Device, tpm)
	}
	if properties := config.VAppConfig; properties != nil { // which the simulator leaves out
		vm.Config.VAppConfig = vappInfo(properties.GetVmConfigSpec())
	}
	if spec.Snapshot {
		if _, err := b.wait(vm.CreateSnapshotTask(b.ctx, &types.CreateSnapshot_Task{This: vm.Self, Name: "base"})); err != nil {
			return err
		}
	}
	if _, err := result[*methods.MarkAsTemplateBody](vm.MarkAsTemplate(&types.MarkAsTemplate{This: vm.Self})); err != nil {
		return err
	}
	b.out.Images[vm.Self] = spec.Image
	return nil
}

func (b *builder) backing(p *place, network string) (types.BaseVirtualDeviceBackingInfo, error) {
	switch n := b.ctx.Map.Get(p.networks[network]).(type) {
	case *mo.Network:
		return &types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: network},
		}, nil
	case *simulator.DistributedVirtualPortgroup:
		dvs := b.ctx.Map.Get(*n.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		return &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{PortgroupKey: n.Key, SwitchUuid: dvs.Uuid},
		}, nil
	default:
		return nil, fmt.Errorf("no network %s", network)
	}
}

// ovaProperties are those that an OVA of kubernetes-sigs/image-builder brings along.
func ovaProperties(spec Template) *types.VmConfigSpec {
	return &types.VmConfigSpec{
		Product: []types.VAppProductSpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info: &types.VAppProductInfo{
				Key: 0, ClassId: "", Name: "Ubuntu and Kubernetes " + spec.KubernetesVersion,
				Vendor: "Moorage lab", Version: spec.KubernetesVersion, FullVersion: spec.KubernetesVersion,
			},
		}},
		Property: []types.VAppPropertySpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info: &types.VAppPropertyInfo{
				Key: 0, Id: "KUBERNETES_SEMVER", Label: "Kubernetes version", Type: "string",
				UserConfigurable: types.NewBool(false), DefaultValue: spec.KubernetesVersion, Value: spec.KubernetesVersion,
			},
		}},
	}
}

// vappInfo is what a machine shows of such properties.
func vappInfo(spec *types.VmConfigSpec) *types.VmConfigInfo {
	info := &types.VmConfigInfo{}
	for _, one := range spec.Product {
		info.Product = append(info.Product, *one.Info)
	}
	for _, one := range spec.Property {
		info.Property = append(info.Property, *one.Info)
	}
	return info
}
