"""Small real OVAs: a descriptor that vCenter can deploy, a manifest, and a disk of a few bytes."""

import hashlib
import io
import struct
import tarfile

_SECTOR = 512
_GIB = 1024**3
_COMPRESSED = 1 << 16


def a_disk(content: bytes = bytes(range(256)) * 200) -> bytes:
    """Return a disk in the form of OVAs (streamOptimized) by its header; nobody reads the rest."""
    sectors = _GIB // _SECTOR
    header = struct.pack("<IIIq", 0x564D444B, 3, _COMPRESSED | 1, sectors)
    said = f'version=1\ncreateType="streamOptimized"\nRW {sectors} SPARSE "disk.vmdk"\n'.encode()
    return header.ljust(_SECTOR, b"\0") + said.ljust(_SECTOR, b"\0") + content


DISK = a_disk()

_OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:href="disk.vmdk" ovf:id="file1" ovf:size="{size}"/></References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="disk1"
        ovf:fileRef="file1"/>
  </DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="nic0"/></NetworkSection>
  <VirtualSystem ovf:id="template">
    <Info>A virtual machine</Info>
    <OperatingSystemSection ovf:id="94"><Info>Linux</Info></OperatingSystemSection>
    <ProductSection>
      <Info>Product</Info>
      <Property ovf:key="KUBERNETES_SEMVER" ovf:type="string" ovf:value="v1.34.4"/>
    </ProductSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Hardware</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-15</vssd:VirtualSystemType>
      </System>
      {items}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


def _item(type_: int, name: str, instance: int, **more: object) -> str:
    fields = {
        **more,
        "ElementName": name,
        "InstanceID": instance,
        "ResourceType": type_,
    }
    inner = "".join(f"<rasd:{key}>{value}</rasd:{key}>" for key, value in sorted(fields.items()))
    return f"<Item>{inner}</Item>"


def descriptor(disk: bytes = DISK) -> bytes:
    """Return an OVF descriptor: two CPUs, a disk of 1 GiB, one network card."""
    items = [
        _item(3, "cpus", 1, VirtualQuantity=2),
        _item(4, "memory", 2, VirtualQuantity=2048, AllocationUnits="byte * 2^20"),
        _item(6, "scsi", 3, ResourceSubType="VirtualSCSI"),
        _item(17, "disk", 4, Parent=3, AddressOnParent=0, HostResource="ovf:/disk/disk1"),
        _item(10, "nic", 5, ResourceSubType="VmxNet3", Connection="nic0"),
    ]
    return _OVF.format(size=len(disk), items="".join(items)).encode()


def manifest(files: dict[str, bytes], algorithm: str = "SHA256") -> bytes:
    """Return a manifest of files."""
    lines = [
        f"{algorithm}({name})= {hashlib.new(algorithm.lower(), data).hexdigest()}"
        for name, data in files.items()
    ]
    return "\n".join([*lines, ""]).encode()


def archive(files: dict[str, bytes]) -> bytes:
    """Return a tar archive of files, in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def an_ova(disk: bytes = DISK, *, algorithm: str = "SHA256", damaged: bool = False) -> bytes:
    """Return an OVA; a damaged one has another disk than its manifest says."""
    named = {"template.ovf": descriptor(disk), "disk.vmdk": disk}
    said = manifest(named, algorithm)
    if damaged:
        named["disk.vmdk"] = disk[:-1] + b"!"
    return archive({"template.ovf": named["template.ovf"], "template.mf": said, **named})


OVA = an_ova()
SHA256 = hashlib.sha256(OVA).hexdigest()
