package vcenter_test

import (
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

func TestAHostIsDisconnectedAndRemovedOverTheAPI(t *testing.T) {
	l := labtest.Start(t)
	c := l.Login()
	vm := l.Clone(c, "one")
	hosts, err := find.NewFinder(c.Client, false).HostSystemList(l.Context(), "/dc1/host/cc1/*")
	if err != nil {
		t.Fatal(err)
	}
	at := hosts[0]
	if on := l.Properties(c, vm.Reference(), "runtime.host").Runtime.Host; *on != at.Reference() {
		at = hosts[1]
	}
	if fault, _ := l.Fault(at.Destroy(l.Context())); !isA[*types.InvalidState](fault) {
		t.Errorf("a connected host: %T", fault)
	}
	l.Done(vm.PowerOn(l.Context()))
	if fault, _ := l.Fault(at.EnterMaintenanceMode(l.Context(), 0, false, nil)); !isA[*types.InvalidState](fault) {
		t.Errorf("maintenance while a machine runs: %T", fault)
	}
	l.Done(at.Disconnect(l.Context()))
	if got := l.Properties(c, vm.Reference(), "runtime").Runtime.ConnectionState; got != types.VirtualMachineConnectionStateDisconnected {
		t.Errorf("its machine is %s", got)
	}
	l.Done(at.Reconnect(l.Context(), nil, nil))
	l.Done(vm.PowerOff(l.Context()))
	l.Done(at.Disconnect(l.Context()))
	l.Done(at.Destroy(l.Context()))
	for _, left := range l.Server.Inventory().VMs {
		if left.Name == "one" {
			t.Error("its machine is still there")
		}
	}
}
