"""All machines of a cluster at once: which are made and where, which go, which stay.

One snapshot, one answer: a Plan shows it, and the pass of the cluster carries it out. The control
plane is first, then the pools in the order of their names; so an address, or the last room on a
datastore, goes to the same machine whoever asks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moorage.planning.address_choice import AddressChoice, GivenAddress, PoolAddresses
from moorage.planning.estate import NOTHING, Disk, Domain, Place, Refusal, Reserved, Resident, Slot
from moorage.planning.rollout import PoolPlan, founds, plan_control_plane, plan_pool
from moorage.planning.solver import solve
from moorage.resources.machine import Machine
from moorage.resources.spans import Address

_CONTROL_PLANE = ""
"""Group of the control plane; no pool can be called so."""
ELSEWHERE = "*"
"""Group of machines that take room but keep apart from none of the cluster's."""


NO_ROOM = "NoRoom"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no machine of a group can be made, whatever room there is."""

    reason: str
    """One UpperCamel word that a user can search for."""
    message: str


@dataclass(frozen=True, slots=True)
class Group:
    """The control plane or a node pool: machines that keep apart from each other."""

    pool: str | None
    """``None`` is the control plane."""
    replicas: int
    memory_mib: int
    domains: tuple[str, ...]
    """Failure domains that its machines may go to."""
    disk_bytes: Mapping[str, int]
    """Datastore -> what a clone copies there; all datastores of ``domains`` are in it."""
    disks: tuple[Disk, ...] = ()
    """Extra disks of each."""
    fault: Fault | None = None
    is_founded: bool = True
    """Of the control plane: whether the cluster's API has ever answered."""
    reserved: Reserved = NOTHING
    """For each."""


@dataclass(frozen=True, slots=True)
class Vip:
    """The address of a cluster's API, which has to be claimed yet."""

    pools: tuple[str, ...]
    """Asked in this order."""
    wanted: Address | None = None
    """Only this one will do."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A cluster, and the estate that it lives in, at one moment."""

    groups: Sequence[Group]
    """Control plane and pools, in any order. Machines of other pools are left alone."""
    machines: Sequence[Machine]
    """All of the cluster, those being deleted among them."""
    domains: Sequence[Domain] = ()
    promised: Sequence[Resident] = ()
    """What was placed lately, of all clusters, and is in no figure of the domains yet."""
    ip_pools: Sequence[PoolAddresses] = ()
    vip: Vip | None = None
    """``None``: there is nothing to claim, or it is claimed already."""


@dataclass(frozen=True, slots=True)
class NewMachine:
    """A machine to be made."""

    pool: str | None
    ordinal: int
    """Among the new ones of its group, from 1: until it is made it has no name."""
    place: Place
    founds: bool = False
    """It is the first of the control plane."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A machine to be deleted."""

    machine: Machine
    why: str


@dataclass(frozen=True, slots=True)
class Shortage:
    """Machines of one group that cannot be made."""

    pool: str | None
    count: int
    asked: int
    """How many machines the group shall have in all."""
    why: str
    reason: str = NO_ROOM

    def __str__(self) -> str:
        """Say it as a condition's message does."""
        if self.reason != NO_ROOM:
            return self.why
        return f"{self.count} of {self.asked} machines have no room: {self.why}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of a cluster's machines."""

    create: tuple[NewMachine, ...] = ()
    delete: tuple[Removal, ...] = ()
    keep: tuple[Machine, ...] = ()
    leaving: tuple[Machine, ...] = ()
    """Those whose deletion goes on already."""
    shortages: tuple[Shortage, ...] = ()
    endpoint: GivenAddress | None = None
    """For the cluster's API."""
    no_endpoint: str = ""
    """Why it gets none, though it needs one."""

    def shortage(self, pool: str | None) -> Shortage | None:
        """Return what a group lacks room for, if anything."""
        return next((one for one in self.shortages if one.pool == pool), None)


def in_order(groups: Sequence[Group]) -> list[Group]:
    """Return the groups in the order in which their machines are chosen."""
    return sorted(groups, key=lambda group: (group.pool is not None, group.pool or ""))


def changes_of(group: Group, machines: Sequence[Machine]) -> PoolPlan:
    """Return how many machines a group lacks, and which of the cluster's are too many in it."""
    own = [one for one in machines if one.spec.pool == group.pool and not one.has_to_end]
    if group.pool is None:
        lacking = plan_control_plane(group.replicas, own, is_founded=group.is_founded)
        return PoolPlan(create=lacking)
    return plan_pool(group.replicas, own)


def choose(snapshot: Snapshot, given: Mapping[str | None, Sequence[Place]] | None = None) -> Choice:
    """Choose all machines of a cluster, and the address of its API before them.

    Args:
        snapshot: What there is, and what is wanted.
        given: By pool, places that were promised to its new machines, in their order: each goes
            there or is refused.
    """
    machines, promised = snapshot.machines, given or {}
    slots: list[Slot] = []
    owners: list[Group] = []
    delete: list[Removal] = []
    shortages: list[Shortage] = []
    for group in in_order(snapshot.groups):
        changes = changes_of(group, machines)
        delete += [Removal(one, _why(group, one, machines)) for one in changes.delete]
        delete += [
            Removal(one, "it cannot be made: another comes in its place")
            for one in machines
            if one.spec.pool == group.pool and one.has_to_end and not one.is_deleting
        ]
        lacking, fault = changes.create, group.fault
        if fault is not None and lacking:
            shortages.append(
                Shortage(group.pool, lacking, group.replicas, fault.message, fault.reason)
            )
            continue
        for index in range(lacking):
            places = promised.get(group.pool, ())
            place = places[index] if index < len(places) else None
            slots.append(slot_of(group, place))
            owners.append(group)
    addresses = AddressChoice(snapshot.ip_pools)
    vip = snapshot.vip
    endpoint = None if vip is None else addresses.take_one(vip.pools, vip.wanted)
    there = [resident_of(one) for one in machines if not (one.is_deleting or one.has_to_end)]
    answers = solve(
        slots,
        snapshot.domains,
        [*there, *snapshot.promised],
        addresses,
    )
    create, refused = _sorted_out(owners, answers, machines)
    doomed = {removal.machine.metadata.uid for removal in delete}
    return Choice(
        create=create,
        delete=tuple(delete),
        keep=tuple(
            one for one in machines if not one.is_deleting and one.metadata.uid not in doomed
        ),
        leaving=tuple(one for one in machines if one.is_deleting),
        shortages=(*shortages, *refused),
        endpoint=endpoint if isinstance(endpoint, GivenAddress) else None,
        no_endpoint=endpoint if isinstance(endpoint, str) else "",
    )


def resident_of(machine: Machine) -> Resident:
    """Return a machine that is there, or was chosen, as the solver counts it."""
    spec = machine.spec
    return Resident(group_name(spec.pool), spec.failure_domain.name, spec.host)


def group_name(pool: str | None) -> str:
    """Return the solver's name of a pool, or of the control plane."""
    return pool or _CONTROL_PLANE


def slot_of(group: Group, given: Place | None = None) -> Slot:
    """Return a new machine of a group as the solver takes it."""
    return Slot(
        group_name(group.pool),
        group.memory_mib,
        group.disk_bytes,
        group.domains,
        group.disks,
        given,
        group.reserved,
    )


def _sorted_out(
    owners: Sequence[Group], answers: Sequence[Place | Refusal], machines: Sequence[Machine]
) -> tuple[tuple[NewMachine, ...], list[Shortage]]:
    """Return the new machines, and for each group that lacks room how many have none."""
    create: list[NewMachine] = []
    refused: dict[str | None, list[Refusal]] = {}
    ordinals: Counter[str | None] = Counter()
    founders = [machine for machine in machines if machine.spec.pool is None]
    ever = all(group.is_founded for group in owners if group.pool is None)
    is_founded = not founds(founders, is_founded=ever)
    for group, answer in zip(owners, answers, strict=True):
        ordinals[group.pool] += 1
        if isinstance(answer, Refusal):
            refused.setdefault(group.pool, []).append(answer)
            continue
        is_first = group.pool is None and not is_founded
        is_founded = is_founded or is_first
        create.append(NewMachine(group.pool, ordinals[group.pool], answer, is_first))
    asked = {group.pool: group.replicas for group in owners}
    return tuple(create), [
        Shortage(pool, len(ones), asked[pool], "; ".join(ones[0].reasons))
        for pool, ones in refused.items()
    ]


def _why(group: Group, machine: Machine, machines: Sequence[Machine]) -> str:
    there = sum(1 for one in machines if one.spec.pool == group.pool and not one.is_deleting)
    which = (
        "it has not become a node"
        if machine.status.node_name is None
        else f"the youngest in {machine.spec.failure_domain.name}, which has most"
    )
    return f"pool {group.pool} shrinks from {there} to {group.replicas} machines: {which}"
