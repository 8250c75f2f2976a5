package collector

import (
	"reflect"
	"testing"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func machine() reflect.Value {
	vm := &mo.VirtualMachine{
		Config: &types.VirtualMachineConfigInfo{
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.a.b", Value: "1"}},
			Hardware: types.VirtualHardware{Device: []types.BaseVirtualDevice{
				&types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
					VirtualDevice: types.VirtualDevice{Key: 4000}, MacAddress: "00:50:56:80:00:01",
				}}},
			}},
		},
	}
	vm.Name = "node"
	return reflect.ValueOf(vm).Elem()
}

func TestPathsAreRead(t *testing.T) {
	for path, want := range map[string]any{
		"name": "node",
		`config.extraConfig["guestinfo.a.b"].value`: "1",
		`config.extraConfig["guestinfo.a.b"]`:       types.OptionValue{Key: "guestinfo.a.b", Value: "1"},
		`config.extraConfig["guestinfo.a"]`:         nil,
		"config.hardware.device[4000].macAddress":   "00:50:56:80:00:01",
		"config.hardware.device[4001].macAddress":   nil,
		"config.hardware.device.macAddress":         nil,
		"snapshot.currentSnapshot":                  nil,
		"guest":                                     nil,
		"summary.config.name":                       nil,
		"config.extraConfig":                        &types.ArrayOfOptionValue{OptionValue: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.a.b", Value: "1"}}},
	} {
		steps, err := parsePath(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := read(machine(), steps); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v", path, got)
		}
		if !exists(machine().Type(), steps) && path != "config.hardware.device.macAddress" {
			t.Errorf("%s is said not to exist", path)
		}
	}
}

func TestMalformedPathsAreRefused(t *testing.T) {
	for _, path := range []string{"", ".", "a.", ".a", "a..b", "a[", "a[x]", `a["x`, `["x"]`, "a.[1]"} {
		if steps, err := parsePath(path); err == nil {
			t.Errorf("%q: %v", path, steps)
		}
	}
}

func TestFrozenValuesDoNotChange(t *testing.T) {
	vm := machine()
	steps, _ := parsePath("config.extraConfig")
	before := read(vm, steps).(*types.ArrayOfOptionValue)
	vm.Addr().Interface().(*mo.VirtualMachine).Config.ExtraConfig[0].GetOptionValue().Value = "2"
	if before.OptionValue[0].GetOptionValue().Value != "1" {
		t.Error("the copy shares its elements")
	}
}

func TestRequiredEnumerationsAreNeverEmpty(t *testing.T) {
	steps, _ := parsePath("runtime")
	runtime := read(machine(), steps).(types.VirtualMachineRuntimeInfo)
	if runtime.FaultToleranceState != types.VirtualMachineFaultToleranceStateNotConfigured || runtime.PowerState == "" {
		t.Errorf("%+v", runtime)
	}
}
