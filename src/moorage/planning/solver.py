"""Where in a vSphere estate each new machine goes: domain, datastore, address; without DRS a host.

One machine after the other, each beside all that were placed before it: so a plan that is carried
out in parts, or after a restart, comes to the same places as one that is carried out at once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from moorage.planning.address_choice import AddressChoice
from moorage.planning.disks import gib, spread
from moorage.planning.estate import (
    Datastore,
    Domain,
    Host,
    Place,
    Pool,
    Refusal,
    Resident,
    Slot,
    loads,
)


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
    left in its resource pool and, where its host is chosen here, on that.

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
            domain = known[answer.domain]
            copied = tally.bring(slot, domain, answer.datastore)
            taken = loads(slot, answer, domain, copied)
            tally.add(Resident(slot.group, answer.domain, answer.host, taken))
    return answers


@dataclass(slots=True)
class _Tally:
    """What the machines that are there, or were placed already, amount to."""

    addresses: AddressChoice
    in_domain: Counter[tuple[str, str]] = field(default_factory=Counter)
    on_host: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    size_bytes: Counter[str] = field(default_factory=Counter)
    """By datastore, what its own figure does not hold yet."""
    memory_mib: Counter[str] = field(default_factory=Counter)
    """The same by host and by resource pool."""
    reserved_mib: Counter[str] = field(default_factory=Counter)
    """The same of what is reserved."""
    reserved_mhz: Counter[str] = field(default_factory=Counter)
    with_replica: set[str] = field(default_factory=set)
    """Datastores that one of those placed brings the template's replica to."""

    def copied(self, slot: Slot, store: Datastore) -> int:
        """Return what is copied to a datastore for one more of these machines."""
        replica = 0 if store.ref in self.with_replica else store.replica_bytes
        return slot.disk_bytes[store.ref] or replica

    def bring(self, slot: Slot, domain: Domain, datastore: str) -> int:
        """Return the same of the one that is placed there now; later ones find its replica."""
        (store,) = (one for one in domain.datastores if one.ref == datastore)
        copied = self.copied(slot, store)
        if not slot.disk_bytes[datastore]:
            self.with_replica.add(datastore)
        return copied

    def room(self, domain: Domain) -> dict[str, int]:
        """Return what datastores have left; one with several factors counts with the largest."""
        left: dict[str, int] = {}
        for store in (*domain.datastores, *domain.disk_datastores):
            free = int(store.free_bytes / store.copies) - self.size_bytes[store.ref]
            left[store.ref] = min(free, left.get(store.ref, free))
        return left

    def add(self, one: Resident) -> None:
        self.in_domain[one.group, one.domain] += 1
        self.on_host[one.group, one.host] += 1
        for ref, load in one.loads.items():
            self.size_bytes[ref] += load.size_bytes
            self.memory_mib[ref] += load.memory_mib
            self.reserved_mib[ref] += load.reserved.memory_mib
            self.reserved_mhz[ref] += load.reserved.cpu_mhz


def _place(slot: Slot, known: dict[str, Domain], tally: _Tally) -> Place | Refusal:
    if slot.given is not None:
        order = [name for name in slot.domains if name == slot.given.domain]
        if not order:
            return Refusal(slot, (f"{slot.given.domain}: not allowed any more",))
        if len(slot.given.disks) != len(slot.disks):
            return Refusal(slot, (f"{slot.given.domain}: it has other extra disks now",))
        slot = _with_given_disks(slot, slot.given)
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


def _with_given_disks(slot: Slot, given: Place) -> Slot:
    """Return the machine with each extra disk where it has to be, or nowhere."""
    disks = [
        disk
        if disk.datastores is None
        else replace(disk, datastores=tuple(one for one in disk.datastores if one == datastore))
        for disk, datastore in zip(slot.disks, given.disks, strict=True)
    ]
    return replace(slot, disks=tuple(disks))


def _with_addresses(slot: Slot, domain: Domain, place: Place, tally: _Tally) -> Place | str:
    """Add the addresses that the machine gets; returns why there are none."""
    if not domain.ip_pools:
        return place
    wanted = slot.given.addresses if slot.given is not None else None
    found = tally.addresses.take_all(domain.ip_pools, wanted)
    return found if isinstance(found, str) else replace(place, addresses=found)


def _within(slot: Slot, domain: Domain, tally: _Tally) -> Place | str:
    """Choose inside one domain; returns why not, where nothing fits."""
    hosts = _able_hosts(slot, domain, tally)
    if isinstance(hosts, str):
        return hosts
    for pool in domain.pools:
        if lacking := _lacks(pool, slot, tally):
            return lacking
    return _on_datastore(slot, domain, hosts, tally)


def _able_hosts(slot: Slot, domain: Domain, tally: _Tally) -> list[Host] | str:
    """Return the hosts that can run the machine; why there is none, where there is none."""
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
    # Where DRS chooses, it moves others away to make room for what is reserved.
    keeping = [host for host in large if not domain.pins_host or _keeps(host, slot, tally)]
    if not keeping:
        asked = f"{slot.reserved.memory_mib} MiB and {slot.reserved.cpu_mhz} MHz"
        return f"none of {_names(large)} can reserve {asked} more"
    return keeping


def _keeps(host: Host, slot: Slot, tally: _Tally) -> bool:
    """Tell whether a host can reserve what the machine asks for."""
    if host.unreserved is None:
        return True
    mib = host.unreserved.memory_mib - tally.reserved_mib[host.ref]
    mhz = host.unreserved.cpu_mhz - tally.reserved_mhz[host.ref]
    return slot.reserved.memory_mib <= mib and slot.reserved.cpu_mhz <= mhz


def _on_datastore(slot: Slot, domain: Domain, hosts: Sequence[Host], tally: _Tally) -> Place | str:
    """Choose datastores, and the host where nobody else does; returns why not."""
    why: list[str] = []
    room = tally.room(domain)
    beside = {one.ref: one for one in (*domain.disk_datastores, *domain.datastores)}
    for store in sorted(
        domain.datastores, key=lambda one: (tally.copied(slot, one), -room[one.ref], one.name)
    ):
        reaching = [host for host in hosts if store.ref in host.datastores]
        needed = tally.copied(slot, store) + slot.beside_bytes + slot.swap_bytes
        free = room[store.ref]
        if store.out_of_service:
            why.append(f"datastore {store.name} is {store.out_of_service}")
        elif not reaching:
            why.append(f"none of {_names(hosts)} reaches datastore {store.name}")
        elif free < needed:
            why.append(f"datastore {store.name} has {gib(free)} free of {gib(needed)} needed")
        else:
            left = {**room, store.ref: free - needed}
            found = spread(slot.disks, store.ref, beside, reaching, left)
            if isinstance(found, str):
                why.append(found)
                continue
            disks, able = found
            host = _best_host(slot, able, tally).ref if domain.pins_host else None
            return Place(domain.name, store.ref, host, disks=disks)
    return "; ".join(dict.fromkeys(why)) or "it names no datastore"


def _lacks(pool: Pool, slot: Slot, tally: _Tally) -> str:
    """Return why a resource pool takes no such machine any more, else ``""``."""
    if pool.limit_mib is not None:
        left = pool.limit_mib - pool.used_mib - tally.memory_mib[pool.ref]
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
