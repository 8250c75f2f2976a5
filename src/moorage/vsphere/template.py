"""Words about templates: what is read of one before it is cloned. Plain frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nic:
    """The template's network card that is kept, with another backing."""

    key: int
    controller_key: int | None
    unit_number: int | None
    type_name: str
    """pyVmomi class below ``vim.vm.device``, such as ``VirtualVmxnet3``."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtual disk of a template."""

    key: int
    controller_key: int | None
    unit_number: int | None
    capacity_bytes: int
    datastore: str | None
    independent: bool = False
    """Snapshots leave it out, so no linked clone can share it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template, with what cloning it needs to know."""

    moref: str
    name: str
    snapshot: str | None
    """Moref of the current snapshot: linked clones hang on it."""
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    guestinfo_keys: tuple[str, ...]
    """``guestinfo.*`` and ``moorage.*`` keys that a clone would inherit."""
    firmware: str
    hardware_version: str
    guest_id: str
    cores_per_socket: int
    committed_bytes: int
    """What its files hold on datastores, its swap and log files included."""
    digest: str
    """Of what it holds: it is another one after each change of disks or configuration."""
    kubernetes_version: str | None = None
    """What its OVA property ``KUBERNETES_SEMVER`` says, if it has one."""
    unfit: str = ""
    """Why no machine can be made of it, such as ``has no disk``; empty when one can."""

    @property
    def has_independent_disks(self) -> bool:
        """Tell whether snapshots leave out any of its disks."""
        return any(disk.independent for disk in self.disks)


@dataclass(frozen=True, slots=True)
class Original:
    """What somebody named as a template: one, or a virtual machine that may become one."""

    template: Template
    is_template: bool
    is_off: bool
    owner: str
    """Owner mark as it stands there; ``""`` for none."""


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """A template in a list."""

    name: str
    path: str
    """Relative to the datacenter's VM folder, as a cluster's ``template`` takes it."""
    moref: str
    datacenter: str


@dataclass(frozen=True, slots=True)
class NetworkBacking:
    """What the NIC is plugged into."""

    moref: str
    name: str
    portgroup_key: str | None = None
    """Set with ``switch_uuid`` for a distributed port group; both ``None`` for a standard one."""
    switch_uuid: str | None = None
    opaque_id: str | None = None
    """Set with ``opaque_type`` for an NSX opaque network."""
    opaque_type: str | None = None
