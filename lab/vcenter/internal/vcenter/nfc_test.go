package vcenter_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	vimfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

const (
	imported   = "/dc1/vm/clusters/imported"
	smallDisk  = "KDMV and the rest"
	descriptor = `<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:href="disk.vmdk" ovf:id="file1" ovf:size="17"/></References>
  <DiskSection><Info>Disks</Info>
    <Disk ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="disk1" ovf:fileRef="file1"/></DiskSection>
  <VirtualSystem ovf:id="one"><Info>A machine</Info>
    <VirtualHardwareSection><Info>Hardware</Info>
      <System><vssd:ElementName>Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-15</vssd:VirtualSystemType></System>
      <Item><rasd:Address>0</rasd:Address><rasd:ElementName>scsi0</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk0</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>`
)

// underImport is a machine of which the disk is still to be sent.
type underImport struct {
	l     *labtest.Lab
	c     *govmomi.Client
	lease *nfc.Lease
	info  *types.HttpNfcLeaseInfo
	disk  *url.URL
}

func beginImport(t *testing.T, leaseSeconds string) *underImport {
	t.Helper()
	l := labtest.Start(t)
	if err := l.Server.SetLimits(strings.NewReader(`{"leaseSeconds": ` + leaseSeconds + `}`)); err != nil {
		t.Fatal(err)
	}
	c := l.Login()
	finder := find.NewFinder(c.Client, false)
	pool, err := finder.ResourcePool(l.Context(), "/dc1/host/cc1/Resources")
	if err != nil {
		t.Fatal(err)
	}
	store, err := finder.Datastore(l.Context(), "/dc1/datastore/ds1")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := finder.Folder(l.Context(), "/dc1/vm/clusters")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ovf.NewManager(c.Client).CreateImportSpec(l.Context(), descriptor, pool, store, &types.OvfCreateImportSpecParams{
		EntityName: "imported", DiskProvisioning: "thin",
	})
	if err != nil || len(spec.Error) > 0 {
		t.Fatal(err, spec)
	}
	lease, err := pool.ImportVApp(l.Context(), spec.ImportSpec, folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		seen, err := lease.Properties(l.Context(), "state", "info", "error")
		if err != nil {
			t.Fatal(err)
		}
		switch seen.State {
		case types.HttpNfcLeaseStateInitializing:
			time.Sleep(10 * time.Millisecond)
			continue
		case types.HttpNfcLeaseStateReady:
		default:
			t.Fatalf("%+v", seen)
		}
		device := seen.Info.DeviceUrl[0]
		if device.ImportKey != spec.FileItem[0].DeviceId {
			t.Fatalf("%+v is not %+v", device, spec.FileItem)
		}
		at, err := url.Parse(device.Url)
		if err != nil {
			t.Fatal(err)
		}
		c.Client.SetThumbprint(at.Host, device.SslThumbprint)
		return &underImport{l, c, lease, seen.Info, at}
	}
}

func (u *underImport) send(content string) error {
	how := soap.Upload{Method: "POST", Type: "application/x-vnd.vmware-streamVmdk", ContentLength: int64(len(content))}
	return u.c.Client.Upload(u.l.Context(), strings.NewReader(content), u.disk, &how)
}

func (u *underImport) there() *object.VirtualMachine {
	vm, err := find.NewFinder(u.c.Client, false).VirtualMachine(u.l.Context(), imported)
	if err != nil {
		return nil
	}
	return vm
}

func TestAnImportByLeaseMakesAMachineWithItsDisk(t *testing.T) {
	u := beginImport(t, "300")
	if u.info.LeaseTimeout != 300 || len(u.info.DeviceUrl[0].SslThumbprint) != 59 {
		t.Fatalf("%+v", u.info)
	}
	if err := u.send(smallDisk); err != nil {
		t.Fatal(err)
	}
	if err := u.lease.Progress(u.l.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if err := u.lease.Complete(u.l.Context()); err != nil {
		t.Fatal(err)
	}
	vms := u.l.Server.Inventory().VMs
	for _, vm := range vms {
		if vm.Path == imported && vm.Disks[0].SHA256 != "" {
			u.l.Done(u.there().PowerOn(u.l.Context()))
			return
		}
	}
	t.Fatalf("%+v", vms)
}

func TestALeaseWithoutProgressEndsAndItsMachineGoes(t *testing.T) {
	u := beginImport(t, "0.2")
	for begun := time.Now(); u.there() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("the machine is still there")
		}
	}
	if err := u.lease.Progress(u.l.Context(), 50); !vimfault.Is(err, &types.Timedout{}) {
		t.Fatalf("it was %v", err)
	}
	if err := u.send(smallDisk); err == nil {
		t.Fatal("an ended lease took a disk")
	}
}

func TestALeasedMachineIsLeftAlone(t *testing.T) {
	u := beginImport(t, "300")
	started, err := u.there().Destroy(u.l.Context())
	if refused, text := u.l.Fault(started, err); text == "" || !vimfault.Is(refused, &types.TaskInProgress{}) {
		t.Fatalf("%#v %s", refused, text)
	}
	if err := u.lease.Complete(u.l.Context()); err == nil {
		t.Fatal("completed without its disk")
	}
	if err := u.send("not a disk"); err == nil {
		t.Fatal("that was no disk")
	}
	if err := u.lease.Abort(u.l.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if u.there() != nil {
		t.Fatal("what an aborted import has made goes")
	}
}

func TestAnImportNeedsTheImportPrivilege(t *testing.T) {
	l := labtest.Start(t, withUser([]string{"VirtualMachine.Inventory.Create", "Resource.AssignVMToPool", "Datastore.AllocateSpace"}, "/dc1"))
	c := l.LoginAs(limited)
	pool, err := find.NewFinder(c.Client, false).ResourcePool(l.Context(), "/dc1/host/cc1/Resources")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pool.ImportVApp(l.Context(), &types.VirtualMachineImportSpec{}, nil, nil)
	if !vimfault.Is(err, &types.NoPermission{}) || !strings.Contains(err.Error(), "VApp.Import") {
		t.Fatalf("it was %v", err)
	}
}
