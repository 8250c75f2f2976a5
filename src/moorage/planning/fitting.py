"""How many more clusters of one kind fit? The same solver, asked again and again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moorage.planning.address_choice import AddressChoice
from moorage.planning.choosing import ELSEWHERE, Snapshot, in_order, slot_of
from moorage.planning.estate import Domain, Place, Refusal, Resident, Slot, loads
from moorage.planning.solver import solve


@dataclass(frozen=True, slots=True)
class Fitting:
    """The answer."""

    clusters: int
    limited_by: str
    """What the next one lacks; empty when the count was ended before."""
    by_memory: int
    """How many before hosts have to share out more memory than they have."""


def how_many_fit(snapshot: Snapshot, most: int) -> Fitting:
    """Count how many clusters fit beside what there is; machines of the snapshot are not its own.

    Args:
        snapshot: With the groups of one cluster, and everything that it may use.
        most: Where the count ends.
    """
    groups = in_order(snapshot.groups)
    fault = next((group.fault for group in groups if group.fault is not None), None)
    needed = sum(group.replicas * group.memory_mib for group in groups)
    by_memory = _free_memory(snapshot.domains) // max(1, needed)
    if fault is not None:
        return Fitting(0, fault.message, by_memory)
    addresses = AddressChoice(snapshot.ip_pools)
    residents = [*snapshot.promised]
    domains = {domain.name: domain for domain in snapshot.domains}
    for count in range(most):
        if snapshot.vip is not None:
            endpoint = addresses.take_one(snapshot.vip.pools)
            if isinstance(endpoint, str):
                return Fitting(count, f"the API of one more has no address: {endpoint}", by_memory)
        slots = [slot_of(group) for group in groups for _ in range(group.replicas)]
        answers = solve(slots, domains.values(), residents, addresses)
        for answer in answers:
            if isinstance(answer, Refusal):
                return Fitting(count, "; ".join(answer.reasons), by_memory)
        residents += _settled(slots, answers, domains)
    return Fitting(most, "", by_memory)


def _settled(
    slots: Sequence[Slot], answers: Sequence[Place | Refusal], domains: Mapping[str, Domain]
) -> list[Resident]:
    """Return machines that take room, and keep apart from none of the next cluster's."""
    return [
        Resident(
            ELSEWHERE,
            place.domain,
            place.host,
            loads(slot, place, domains[place.domain], slot.disk_bytes[place.datastore]),
        )
        for slot, place in zip(slots, answers, strict=True)
        if isinstance(place, Place)
    ]


def _free_memory(domains: Sequence[Domain]) -> int:
    """Return how much memory usable hosts have left, each counted once, in MiB."""
    hosts = {host.ref: host for domain in domains for host in domain.hosts}
    return sum(
        max(0, host.memory_mib - host.memory_used_mib)
        for host in hosts.values()
        if not host.out_of_service
    )
