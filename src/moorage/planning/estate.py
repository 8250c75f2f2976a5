"""A vSphere estate, and what is placed in it, as planning sees both."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from moorage.planning.address_choice import GivenAddress

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is kept for a machine while it runs."""

    memory_mib: int = 0
    cpu_mhz: int = 0


NOTHING = Reserved()
"""Kept for machines that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Host:
    """An ESXi host that machines can run on."""

    ref: str
    name: str
    memory_mib: int
    memory_used_mib: int
    """Consumed now, by whatever runs there."""
    datastores: frozenset[str]
    networks: frozenset[str]
    out_of_service: str = ""
    """Why it takes no machine now, such as ``in maintenance mode``; empty when it does."""
    unreserved: Reserved | None = None
    """What it can still keep for machines; ``None``: not known, or of no interest."""


@dataclass(frozen=True, slots=True)
class Datastore:
    """A datastore that disks can lie on."""

    ref: str
    name: str
    capacity_bytes: int
    free_bytes: int
    out_of_service: str = ""
    copies: float = 1.0
    """How often it writes each byte, of which its free space knows nothing: 2 on vSAN, whose
    default policy mirrors; another storage policy says otherwise."""
    replica_bytes: int = 0
    """What the first clone there that copies nothing itself brings along for all others: the
    replica of their template, which is not there yet."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A resource pool that sets limits, or whose reservations matter."""

    ref: str
    name: str
    limit_mib: int | None = None
    """Of memory; ``None``: no limit of its own."""
    used_mib: int = 0
    unreserved: Reserved | None = None
    """What machines directly in it can still have reserved, from the pools above it too, where it
    may take from those; ``None``: not known, or of no interest."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A failure domain, as it is in vCenter now."""

    name: str
    hosts: tuple[Host, ...]
    datastores: tuple[Datastore, ...]
    """Those that the domain allows."""
    network: str
    pins_host: bool
    """Nobody else spreads machines over hosts: DRS is not fully automated."""
    pools: tuple[Pool, ...] = ()
    """That of the machines, and those above it. None: nothing limits them but the hosts."""
    ip_pools: tuple[tuple[str, ...], ...] = ()
    """Where machines here get their addresses from: of each card with static ones, in order."""
    more_networks: frozenset[str] = frozenset()
    """Of further cards; a host has to reach them too."""
    disk_datastores: tuple[Datastore, ...] = ()
    """Those that extra disks with a place of their own may lie on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine goes."""

    domain: str
    datastore: str
    host: str | None = None
    """``None``: DRS chooses among the domain's hosts at power-on."""
    addresses: tuple[GivenAddress, ...] = ()
    """None: by DHCP."""
    disks: tuple[str, ...] = ()
    """Datastore of each extra disk, in their order."""


@dataclass(frozen=True, slots=True)
class Disk:
    """An extra disk of a machine."""

    size_bytes: int
    datastores: tuple[str, ...] | None = None
    """It lies on one of these; ``None``: beside the machine's other disks."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A machine to be placed."""

    group: str
    """Machines of one group keep apart: the control plane, or one pool."""
    memory_mib: int
    disk_bytes: Mapping[str, int]
    """Datastore -> what the clone copies there, extra disks and its swap file left out."""
    domains: tuple[str, ...]
    disks: tuple[Disk, ...] = ()
    """Its extra disks."""
    given: Place | None = None
    """The only place that will do: what a plan promised."""
    reserved: Reserved = NOTHING

    @property
    def swap_bytes(self) -> int:
        """Size of its swap file: as large as the memory that is not reserved."""
        return (self.memory_mib - self.reserved.memory_mib) * _MIB

    @property
    def beside_bytes(self) -> int:
        """Size of the extra disks that lie beside its others."""
        return sum(disk.size_bytes for disk in self.disks if disk.datastores is None)


@dataclass(frozen=True, slots=True)
class Load:
    """What a machine takes of one host, datastore or resource pool."""

    size_bytes: int = 0
    memory_mib: int = 0
    reserved: Reserved = NOTHING


def loads(slot: Slot, place: Place, domain: Domain, copied_bytes: int) -> dict[str, Load]:
    """Return what a machine takes at its place, by what it takes it of.

    Args:
        slot: The machine.
        place: Where it goes.
        domain: The failure domain of that.
        copied_bytes: What is copied to its datastore, a replica that comes with it included.
    """
    sizes = {place.datastore: copied_bytes + slot.beside_bytes + slot.swap_bytes}
    for disk, datastore in zip(slot.disks, place.disks, strict=False):
        if disk.datastores is not None:
            sizes[datastore] = sizes.get(datastore, 0) + disk.size_bytes
    found = {datastore: Load(size_bytes=size) for datastore, size in sizes.items()}
    for ref in [*([place.host] if place.host else []), *(pool.ref for pool in domain.pools)]:
        found[ref] = Load(memory_mib=slot.memory_mib, reserved=slot.reserved)
    return found


@dataclass(frozen=True, slots=True)
class Resident:
    """A machine of ours that is there, or was placed and is being made."""

    group: str
    domain: str
    host: str | None = None
    loads: Mapping[str, Load] = field(default_factory=dict)
    """What the figures of hosts, datastores and resource pools do not hold yet; nothing of one
    that runs."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A machine that fits nowhere, and why, domain by domain."""

    slot: Slot
    reasons: tuple[str, ...]
