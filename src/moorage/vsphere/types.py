"""Words of this package: plain frozen values, no pyVmomi, safe in any thread."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal

from pydantic.alias_generators import to_camel

from moorage.kit.errors import MoorageError
from moorage.vsphere.template import NetworkBacking, Template

OWNER_KEY = "moorage.owner"
"""``extraConfig`` key of the owner mark."""

PROGRESS_KEY = "guestinfo.moorage.progress"
REPLY_KEY = "guestinfo.moorage.reply"
REPLICA_KIND = "TemplateReplica"
"""Kind in the owner mark of a replica of a template; all other marks are machines'."""
USERDATA_KEY = "guestinfo.userdata"
USERDATA_ENCODING_KEY = "guestinfo.userdata.encoding"
"""Short, and there as long as the user data is: watched in its place, so that no secret streams."""


class Rank(IntEnum):
    """Who of a cluster is cloned first, where not all can be at once."""

    FIRST_CONTROL_PLANE = 0
    """All others wait for it."""
    CONTROL_PLANE = 1
    WORKER = 2


class State(StrEnum):
    """What an account's connection is like; also the reason of the condition."""

    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    AILING = "VCenterAiling"
    UNREACHABLE = "VCenterUnreachable"
    INVALID_CREDENTIALS = "InvalidCredentials"
    UNTRUSTED_CERTIFICATE = "UntrustedCertificate"
    NOT_VCENTER = "NotVCenter"
    TOO_OLD = "VCenterTooOld"
    CLOSED = "Closed"


class Power(StrEnum):
    """Power state of a VM, in vSphere's words."""

    ON = "poweredOn"
    OFF = "poweredOff"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class OwnerMark:
    """What a VM of ours carries in ``extraConfig``: whose it is (design, 3.4)."""

    installation: str
    kind: str
    uid: str
    epoch: int = 0
    instance_uuid: str = ""
    """Empty means ``uid``: the UID is the instance UUID unless a Machine was adopted."""
    cluster: str = ""
    """UID of the cluster: whoever took it over is seen on any of its VMs."""

    def to_json(self) -> str:
        """Return the text that stands in ``extraConfig``; equal marks give equal text."""
        return json.dumps(
            {
                "installation": self.installation,
                "kind": self.kind,
                "uid": self.uid,
                "instanceUuid": self.instance_uuid or self.uid,
                "epoch": self.epoch,
                "cluster": self.cluster,
            },
            separators=(",", ":"),
        )

    @classmethod
    def parse(cls, text: object) -> "OwnerMark | None":
        """Read a mark; anything that is not one, by hand or by accident, gives ``None``."""
        if not isinstance(text, str) or not text:
            return None
        try:
            found = json.loads(text)
            return cls(
                installation=str(found["installation"]),
                kind=str(found["kind"]),
                uid=str(found["uid"]),
                epoch=int(found["epoch"]),
                instance_uuid=str(found["instanceUuid"]),
                cluster=str(found.get("cluster", "")),
            )
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class VM:
    """A virtual machine as last seen."""

    moref: str
    name: str
    instance_uuid: str
    bios_uuid: str
    power: Power
    template: bool = False
    tools_running: bool = False
    addresses: tuple[str, ...] = ()
    """What VMware Tools reports, in its order, link-local ones left out. Untrusted."""
    macs: tuple[str, ...] = ()
    """Of the NICs that VMware Tools reports, lower case."""
    owner: OwnerMark | None = None
    host: str | None = None
    folder: str | None = None
    """Moref of the parent folder; ``None`` in a vApp."""
    resource_pool: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    """The few watched guestinfo keys. Written by the guest: for people, never a decision."""
    has_snapshots: bool = False
    has_user_data: bool = False
    """``guestinfo.userdata.encoding`` still stands there."""
    change_version: str | None = None

    @property
    def identity_intact(self) -> bool:
        """Tell whether mark and instance UUID agree; else vCenter, or somebody, changed one."""
        mark = self.owner
        return mark is not None and self.instance_uuid == (mark.instance_uuid or mark.uid)

    @property
    def is_original(self) -> bool:
        """Tell templates that people made from our own replicas of them."""
        return self.template and (self.owner is None or self.owner.kind != REPLICA_KIND)


@dataclass(frozen=True, slots=True)
class Found:
    """It is there, and ours."""

    vm: VM


@dataclass(frozen=True, slots=True)
class Absent:
    """It is not there."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell now. Nothing that cannot be undone may rest on this."""

    why: str
    reason: str = "InventoryUnknown"
    """One UpperCamel word for the condition; ``Cloning`` while the clone task runs."""

    def __str__(self) -> str:
        return self.why


Presence = Found | Absent | Unknown


@dataclass(frozen=True, slots=True)
class Target:
    """Where a machine shall go, in the user's words: names or inventory paths."""

    datacenter: str
    folder: str
    template: str
    compute_cluster: str
    datastore: str
    network: str
    resource_pool: str | None = None
    datastore_is_cluster: bool = False
    """``datastore`` names a datastore cluster: ``Estate.each_datastore`` gives those in it."""
    storage_policy: str | None = None
    """Name of the storage policy that disks follow; with no ``datastore``, ``each_datastore`` of
    ``VCenter`` gives those that satisfy it."""
    path: str = "spec.placement.failureDomains[0]"
    """Path of the caller's failure domain, for faults; what all domains share stands above it."""
    more_networks: tuple[str, ...] = ()
    """Of further network cards, in order."""
    datastore_field: str = "datastore"
    """Field of the failure domain that names the datastore, such as ``datastores[1]``."""
    network_field: str = "network"
    """Field of the failure domain that names the network, such as ``moreNetworks[0].network``."""
    shared_path: str = ""
    """Path of what all domains share, where it is not what stands above the domain's."""

    def field_path(self, name: str) -> str:
        """Return the caller's path of one field of this class."""
        shared = name in ("datacenter", "folder", "template")
        base = (self.shared_path or self.path.rpartition(".")[0]) if shared else self.path
        named = {"datastore": self.datastore_field, "network": self.network_field}
        field = named.get(name) or to_camel(name)
        return f"{base}.{field}".lstrip(".")


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A ``Target`` in morefs, proven to fit together a moment ago."""

    datacenter: str
    folder: str
    template: Template
    compute_cluster: str
    resource_pool: str
    datastore: str
    network: NetworkBacking
    more_networks: tuple[NetworkBacking, ...] = ()
    """Of further network cards, in order."""
    storage_drs: str = ""
    """Name of the datastore cluster whose automated storage DRS moves disks of this datastore:
    it would undo the sharing of linked clones."""
    storage_profile: str = ""
    """Identifier of the storage policy that home and disks follow; empty: the datastore's own."""
    base_profile: str = ""
    """The same of what is cloned: a linked clone shares its disks, and how they are stored."""
    storage_copies: float | None = None
    """How often vSAN writes each byte by that policy; ``None`` without one."""

    @property
    def template_name(self) -> str:
        """Name of the template."""
        return self.template.name

    @property
    def can_link(self) -> bool:
        """Linked clones: the template has a snapshot, and its disks lie, and stay, there."""
        template = self.template
        return (
            not self.storage_drs
            and self.storage_profile == self.base_profile
            and template.snapshot is not None
            and bool(template.disks)
            and all(disk.datastore == self.datastore for disk in template.disks)
            and not template.has_independent_disks
        )


CloneMode = Literal["auto", "linked", "full"]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a VM gets of a host's processors (MHz) or memory (MiB)."""

    reservation: int = 0
    limit: int | None = None
    """``None``: none."""
    shares: str | int | None = None
    """Level or number; ``None``: as the template has it."""


@dataclass(frozen=True, slots=True)
class DiskStorage:
    """Where an extra disk may lie."""

    paths: Mapping[str, str]
    """Moref of each datastore -> how it is named; there is one at least."""
    names: Mapping[str, str]
    """Moref -> name, in vCenter's escaping."""
    profile: str = ""
    """Identifier of the storage policy that it follows; empty: the datastore's own."""
    copies: float | None = None
    """How often vSAN writes each byte by that policy; ``None`` without one."""


@dataclass(frozen=True, slots=True)
class NewDisk:
    """An empty disk to be made with a VM."""

    size_gib: int
    thin: bool = True
    datastore: str | None = None
    """Moref; ``None``: it lies, and is stored, as the VM's other disks are."""
    datastore_name: str = ""
    """Name of that datastore, in vCenter's escaping."""
    profile: str = ""
    """Identifier of the storage policy that it follows there."""


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """One VM to make. Name and UID are chosen and stored before this is asked for."""

    uid: str
    name: str
    target: ResolvedTarget
    mark: OwnerMark
    cpus: int | None = None
    """``None``: as many as the template."""
    memory_mib: int | None = None
    guestinfo: Mapping[str, str] = field(default_factory=dict, repr=False)
    disk_gib: int | None = None
    extra_disks: tuple[NewDisk, ...] = ()
    cpu_allocation: Allocation | None = None
    """``None``: as the template has it."""
    memory_allocation: Allocation | None = None
    host: str | None = None
    """Moref of the host; ``None`` leaves it to vCenter."""
    mode: CloneMode = "auto"
    disk_enable_uuid: bool = True
    rank: Rank = Rank.WORKER
    """Whose turn it is before others of its cluster, which the mark names."""


@dataclass(frozen=True, slots=True)
class TaskRef:
    """What was started. ``moref`` is ``None`` when there was nothing to start any more."""

    moref: str | None
    vm: str | None = None
    """Moref of the VM, when it is known already."""

    def __str__(self) -> str:
        """Name it as a condition's message does."""
        return f"vCenter task {self.moref}" if self.moref else "vCenter to show what is so already"


class TaskState(StrEnum):
    """How far a vCenter task is."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    LOST = "lost"
    """vCenter no longer knows it: it has restarted, or the task ended long ago."""


@dataclass(frozen=True, slots=True)
class Task:
    """A vCenter task as last pushed."""

    moref: str
    state: TaskState
    what: str = ""
    result: str | None = None
    """Moref of what was made."""
    error: MoorageError | None = None
    fault: str | None = None
    """Name of vSphere's fault, such as ``DuplicateName``."""

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more will come."""
        return self.state is not TaskState.RUNNING


@dataclass(frozen=True, slots=True)
class Counters:
    """What this account has cost its vCenter since it was connected."""

    calls: Mapping[str, int]
    logins: int
    connections_opened: int
    stream_returns: int
    stream_restarts: int
