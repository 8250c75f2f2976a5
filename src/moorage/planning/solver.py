"""Where in a vSphere estate each new machine goes: domain, datastore, address; without DRS a host.

One machine after the other, each beside all that were placed before it: so a plan that is carried
out in parts, or after a restart, comes to the same places as one that is carried out at once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from moorage.planning.address_choice import AddressChoice, GivenAddress

_MIB = 1024**2


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
class Reserved:
    """What is kept for a machine while it runs."""

    memory_mib: int = 0
    cpu_mhz: int = 0


NOTHING = Reserved()
"""Kept for machines that ask for nothing."""


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine goes."""

    domain: str
    datastore: str
    host: str | None = None
    """``None``: DRS chooses among the domain's hosts at power-on."""
    addresses: tuple[GivenAddress, ...] = ()
    """None: by DHCP."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A machine to be placed."""

    group: str
    """Machines of one group keep apart: the control plane, or one pool."""
    memory_mib: int
    disk_bytes: Mapping[str, int]
    """Datastore -> what the clone copies there, extra disks and its swap file left out."""
    domains: tuple[str, ...]
    extra_bytes: int = 0
    """Of its extra disks, wherever it goes."""
    given: Place | None = None
    """The only place that will do: what a plan promised."""
    reserved: Reserved = NOTHING


@dataclass(frozen=True, slots=True)
class Resident:
    """A machine of ours that is there, or was placed and is being made."""

    group: str
    domain: str
    host: str | None = None
    datastore: str | None = None
    memory_mib: int = 0
    """What the hosts' figures do not hold yet; 0 for one that runs."""
    disk_bytes: int = 0
    """What the datastores' figures do not hold yet."""
    reserved_mib: int = 0
    """Of the memory: its swap file is smaller by that."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A machine that fits nowhere, and why, domain by domain."""

    slot: Slot
    reasons: tuple[str, ...]


def solve(
    slots: Sequence[Slot],
    domains: Iterable[Domain],
    residents: Iterable[Resident] = (),
    addresses: AddressChoice | None = None,
) -> list[Place | Refusal]:
    """Place machines, in the order in which they are given.

    A domain has room when a usable host reaches its network and a usable datastore with space for
    the clone and its swap file (as large as the memory that is not reserved), and that host has
    at least as much memory as the machine. Memory that others use is no limit, as vSphere shares
    it out; it says which host is the better one. A resource pool with a limit takes no more
    machines than fit into that, nor do those below it. What is reserved for a machine has to be
    left in its resource pool.

    Taken is the domain with the fewest machines of the group, then the earlier one; the datastore
    that the clone copies least to, then the one with most space; the host with the fewest machines
    of the group, then the one with most free memory; the lowest free addresses.

    Args:
        slots: The machines; one with a place that is given goes there, or is refused.
        domains: All that slots name.
        residents: What is there already.
        addresses: Of all IP pools that domains name, those that were given already left out.
    """
    known = {domain.name: domain for domain in domains}
    tally = _Tally(addresses or AddressChoice())
    for one in residents:
        tally.add(one)
    answers: list[Place | Refusal] = []
    for slot in slots:
        answer = _place(slot, known, tally)
        answers.append(answer)
        if isinstance(answer, Place):
            disk_bytes = tally.bring(slot, known[answer.domain], answer.datastore)
            tally.add(
                Resident(
                    slot.group, answer.domain, answer.host, answer.datastore,
                    slot.memory_mib, disk_bytes, slot.reserved.memory_mib,
                )
            )  # fmt: skip
            for pool in known[answer.domain].pools:
                tally.pool_mib[pool.ref] += slot.memory_mib
                tally.reserved_mib[pool.ref] += slot.reserved.memory_mib
                tally.reserved_mhz[pool.ref] += slot.reserved.cpu_mhz
    return answers


@dataclass(slots=True)
class _Tally:
    """What the machines that are there, or were placed already, amount to."""

    addresses: AddressChoice
    in_domain: Counter[tuple[str, str]] = field(default_factory=Counter)
    on_host: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    memory_mib: Counter[str | None] = field(default_factory=Counter)
    """By host, what its own figure does not hold yet."""
    disk_bytes: Counter[str | None] = field(default_factory=Counter)
    """The same by datastore, swap files included."""
    pool_mib: Counter[str] = field(default_factory=Counter)
    """By resource pool, what was placed just now."""
    reserved_mib: Counter[str] = field(default_factory=Counter)
    """The same of what is reserved."""
    reserved_mhz: Counter[str] = field(default_factory=Counter)
    with_replica: set[str] = field(default_factory=set)
    """Datastores that one of those placed brings the template's replica to."""

    def copied(self, slot: Slot, store: Datastore) -> int:
        """Return what one more of these machines takes on a datastore, its swap file left out."""
        replica = 0 if store.ref in self.with_replica else store.replica_bytes
        return (slot.disk_bytes[store.ref] or replica) + slot.extra_bytes

    def bring(self, slot: Slot, domain: Domain, datastore: str) -> int:
        """Return the same of the one that is placed there now; later ones find its replica."""
        (store,) = (one for one in domain.datastores if one.ref == datastore)
        copied = self.copied(slot, store)
        if not slot.disk_bytes[datastore]:
            self.with_replica.add(datastore)
        return copied

    def add(self, one: Resident) -> None:
        self.in_domain[one.group, one.domain] += 1
        self.on_host[one.group, one.host] += 1
        self.memory_mib[one.host] += one.memory_mib
        swap_mib = one.memory_mib - one.reserved_mib
        self.disk_bytes[one.datastore] += one.disk_bytes + swap_mib * _MIB


def _place(slot: Slot, known: dict[str, Domain], tally: _Tally) -> Place | Refusal:
    if slot.given is not None:
        order = [name for name in slot.domains if name == slot.given.domain]
        if not order:
            return Refusal(slot, (f"{slot.given.domain}: not allowed any more",))
    else:
        order = sorted(slot.domains, key=lambda name: tally.in_domain[slot.group, name])
    reasons: list[str] = []
    for name in order:
        domain = known.get(name)
        found = "not known" if domain is None else _within(slot, _only(slot, domain), tally)
        if domain is not None and isinstance(found, Place):
            found = _with_addresses(slot, domain, found, tally)
        if isinstance(found, Place):
            return found
        reasons.append(f"{name}: {found}")
    return Refusal(slot, tuple(reasons))


def _only(slot: Slot, domain: Domain) -> Domain:
    """Return the domain with nothing in it but the place that is given, if one is."""
    given = slot.given
    if given is None:
        return domain
    return replace(
        domain,
        hosts=tuple(one for one in domain.hosts if given.host in (None, one.ref)),
        datastores=tuple(one for one in domain.datastores if one.ref == given.datastore),
    )


def _with_addresses(slot: Slot, domain: Domain, place: Place, tally: _Tally) -> Place | str:
    """Add the addresses that the machine gets; returns why there are none."""
    if not domain.ip_pools:
        return place
    wanted = slot.given.addresses if slot.given is not None else None
    found = tally.addresses.take_all(domain.ip_pools, wanted)
    return found if isinstance(found, str) else replace(place, addresses=found)


def _within(slot: Slot, domain: Domain, tally: _Tally) -> Place | str:
    """Choose inside one domain; returns why not, where nothing fits."""
    usable = [host for host in domain.hosts if not host.out_of_service]
    if not usable:
        return _none_usable(domain.hosts)
    networks = domain.more_networks | {domain.network}
    linked = [host for host in usable if networks <= host.networks]
    if not linked:
        return f"none of {_names(usable)} has the network{'s' if len(networks) > 1 else ''}"
    large = [host for host in linked if host.memory_mib >= slot.memory_mib]
    if not large:
        return f"{slot.memory_mib} MiB of memory are more than any of {_names(linked)} has"
    for pool in domain.pools:
        if lacking := _lacks(pool, slot, tally):
            return lacking
    why: list[str] = []
    room = {
        store.ref: int(store.free_bytes / store.copies) - tally.disk_bytes[store.ref]
        for store in domain.datastores
    }
    for store in sorted(
        domain.datastores, key=lambda one: (tally.copied(slot, one), -room[one.ref], one.name)
    ):
        reaching = [host for host in large if store.ref in host.datastores]
        swap_mib = slot.memory_mib - slot.reserved.memory_mib
        needed, free = tally.copied(slot, store) + swap_mib * _MIB, room[store.ref]
        if store.out_of_service:
            why.append(f"datastore {store.name} is {store.out_of_service}")
        elif not reaching:
            why.append(f"none of {_names(large)} reaches datastore {store.name}")
        elif free < needed:
            why.append(f"datastore {store.name} has {_gib(free)} free of {_gib(needed)} needed")
        else:
            host = _best_host(slot, reaching, tally).ref if domain.pins_host else None
            return Place(domain.name, store.ref, host)
    return "; ".join(why) or "it names no datastore"


def _lacks(pool: Pool, slot: Slot, tally: _Tally) -> str:
    """Return why a resource pool takes no such machine any more, else ``""``."""
    if pool.limit_mib is not None:
        left = pool.limit_mib - pool.used_mib - tally.pool_mib[pool.ref]
        if left < slot.memory_mib:
            return (
                f"resource pool {pool.name} has {max(0, left)} MiB left of its limit of "
                f"{pool.limit_mib} MiB, and {slot.memory_mib} MiB are needed"
            )
    if pool.unreserved is None:
        return ""
    asked = slot.reserved
    mib = pool.unreserved.memory_mib - tally.reserved_mib[pool.ref]
    if asked.memory_mib > mib:
        return (
            f"resource pool {pool.name} can reserve {max(0, mib)} MiB more, and "
            f"{asked.memory_mib} MiB are to be reserved"
        )
    mhz = pool.unreserved.cpu_mhz - tally.reserved_mhz[pool.ref]
    if asked.cpu_mhz > mhz:
        return (
            f"resource pool {pool.name} can reserve {max(0, mhz)} MHz more, and "
            f"{asked.cpu_mhz} MHz are to be reserved"
        )
    return ""


def _best_host(slot: Slot, hosts: Sequence[Host], tally: _Tally) -> Host:
    def key(host: Host) -> tuple[int, int, str]:
        used = host.memory_used_mib + tally.memory_mib[host.ref]
        return tally.on_host[slot.group, host.ref], used - host.memory_mib, host.name

    return min(hosts, key=key)


def _none_usable(hosts: Sequence[Host]) -> str:
    if not hosts:
        return "the compute cluster has no host"
    return "; ".join(f"host {host.name} is {host.out_of_service}" for host in hosts)


def _names(hosts: Sequence[Host]) -> str:
    return ", ".join(host.name for host in hosts)


def _gib(size: int) -> str:
    return f"{max(0, size) / 1024**3:.1f} GiB"
