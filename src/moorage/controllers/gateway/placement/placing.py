"""What planning has to know of a cluster's failure domains: names looked up, vCenter as it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.disks import disk_places
from moorage.controllers.gateway.placement.place import each_target, vcenter_of
from moorage.controllers.gateway.placement.zones import located_domains
from moorage.controllers.gateway.templates.sources import LinkSource, link_source
from moorage.kit.errors import InvalidError, TerminalError
from moorage.planning import (
    ELSEWHERE,
    Load,
    Place,
    Refusal,
    Resident,
    Slot,
    group_name,
    loads,
    resident_of,
    solve,
)
from moorage.planning.estate import NOTHING, Domain, Reserved
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import FailureDomain
from moorage.resources.machine import MachineDisk, MachineSpec
from moorage.resources.size import ExtraDisk, MachineSize
from moorage.vsphere import DiskStorage, ResolvedTarget, VCenter, copied_bytes

ROOM_AGAIN_S = 15.0
"""Room comes when somebody makes some, and nobody tells of it."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one machine goes."""

    domain: FailureDomain
    """With the one datastore that was chosen, and with region and zone."""
    host: str | None
    disks: tuple[str | None, ...] = ()
    """How the datastore of each extra disk is named that has a place of its own."""

    def placed(self, disks: Iterable[ExtraDisk]) -> list[MachineDisk]:
        """Return extra disks as a machine here has them."""
        return [
            MachineDisk(
                size_gib=disk.size_gib,
                thin=disk.thin,
                datastore=disk.datastore,
                storage_policy=disk.storage_policy,
                placed_on=path,
            )
            for disk, path in zip(disks, self.disks, strict=True)
        ]

    def take(self, machine: Machine) -> bool:
        """Let a machine go here; tells whether it was to go elsewhere."""
        spec = machine.spec
        before = spec.failure_domain, spec.host, spec.extra_disks
        after = self.domain, self.host, self.placed(spec.extra_disks)
        spec.failure_domain, spec.host, spec.extra_disks = after
        return before != after


@dataclass(frozen=True, slots=True)
class Sites:
    """Failure domains of one cluster, in the words of its document and in vCenter's."""

    domains: tuple[Domain, ...]
    located: Mapping[str, FailureDomain]
    """By name, with the region and zone that new nodes get."""
    targets: Mapping[str, Sequence[ResolvedTarget]]
    """By name; one for each datastore."""
    paths: Mapping[str, str]
    """Moref of a datastore -> how the document names it."""
    disk_paths: Mapping[str, str]
    """The same of those of extra disks with a place of their own."""
    sources: Mapping[str, LinkSource]
    """Moref of a datastore -> what linked clones there would hang on."""

    def template_digest(self) -> str:
        """Return the digest of the template that all machines are made of."""
        targets = [one for several in self.targets.values() for one in several]
        return targets[0].template.digest if targets else ""

    def spot(self, place: Place, disks: Iterable[ExtraDisk]) -> Spot:
        """Return a place as a Machine with such extra disks holds it."""
        domain = self.located[place.domain].on_datastore(self.paths[place.datastore])
        paths = [
            self.disk_paths[ref] if disk.has_own_place else None
            for disk, ref in zip(disks, place.disks, strict=True)
        ]
        return Spot(domain, place.host, tuple(paths))

    def disk_bytes(
        self, cluster: Cluster, size: MachineSize | MachineSpec, domains: Iterable[str]
    ) -> dict[str, int]:
        """Return what a clone copies to each datastore of some failure domains.

        Raises ``TerminalError`` where no such clone can be made.
        """
        return {
            target.datastore: copied_bytes(
                target,
                cluster.spec.clone_mode,
                size.disk_gib,
                replicas=self.sources[target.datastore].is_permitted,
            )
            for name in domains
            for target in self.targets.get(name, ())
        }


def reserved_by(size: MachineSize | MachineSpec) -> Reserved:
    """Return what is kept for a machine of some size."""
    memory, cpu = size.memory_allocation, size.cpu_allocation
    return Reserved(memory.reservation_mib if memory else 0, cpu.reservation_mhz if cpu else 0)


async def look_at_sites(
    cluster: Cluster,
    names: Iterable[str],
    env: Env,
    *,
    reserving: bool = False,
    for_disks: Sequence[DiskStorage] = (),
) -> Sites:
    """Look at these failure domains of a cluster, as they are now.

    With ``reserving`` also at what resource pools can still reserve, and always at where extra
    disks may lie.

    Raises ``UnavailableError`` while vCenter cannot be asked, and ``TerminalError`` when the
    placement names what is not there, or tags of zones cannot be used.
    """
    wanted = set(names)
    vcenter = vcenter_of(cluster.spec.account, env)
    located = await located_domains(cluster, env, wanted)
    targets: dict[str, list[ResolvedTarget]] = {}
    paths: dict[str, str] = {}
    for name, path, target in await each_target(cluster, vcenter):
        if name in wanted:
            try:
                resolved = await vcenter.resolve(target)
            except InvalidError as error:
                raise TerminalError("PlacementInvalid", str(error)) from error
            targets.setdefault(name, []).append(resolved)
            paths[resolved.datastore] = path
    sources = {
        target.datastore: await link_source(cluster.spec.account, target, vcenter, env)
        for resolved in targets.values()
        for target in resolved
    }
    domains = tuple(
        replace(
            domain,
            ip_pools=_static_cards(located[domain.name]),
            datastores=tuple(
                replace(store, replica_bytes=sources[store.ref].bytes_to_copy)
                for store in domain.datastores
            ),
        )
        for domain in await vcenter.estate.domains(
            targets, reserving=reserving, for_disks=for_disks
        )
    )
    disk_paths = {moref: path for one in for_disks for moref, path in one.paths.items()}
    return Sites(domains, located, targets, paths, disk_paths, sources)


def promise(vcenter: VCenter, sites: Sites, placed: Iterable[tuple[str, Place, Slot]]) -> None:
    """Let every cluster's placement count what was just placed, replicas of the template too.

    Args:
        vcenter: Whose figures do not hold it yet.
        sites: Where it was placed.
        placed: UIDs of machines, their places, and what goes there.
    """
    replicas: dict[str, Resident] = {}
    residents: dict[str, Resident] = {}
    domains = {domain.name: domain for domain in sites.domains}
    for uid, place, slot in placed:
        copied, source = slot.disk_bytes[place.datastore], sites.sources[place.datastore]
        if not copied and source.bytes_to_copy:
            brought = {place.datastore: Load(size_bytes=source.bytes_to_copy)}
            replicas[source.replica] = Resident(ELSEWHERE, place.domain, loads=brought)
        taken = loads(slot, place, domains[place.domain], copied)
        residents[uid] = Resident(ELSEWHERE, place.domain, place.host, taken)
    vcenter.estate.promised.add(residents)
    vcenter.estate.promised.add(replicas, by_name=True)


@dataclass(frozen=True, slots=True)
class Planned:
    """Where a plan says that one machine goes, in its words."""

    plan: str
    """UID of the plan."""
    datastore: str
    host: str | None
    """Moref; ``None``: any."""
    disks: tuple[str, ...] = ()
    """Datastores of the extra disks."""


async def place_again(
    machine: Machine,
    cluster: Cluster,
    others: Iterable[Machine],
    env: Env,
    planned: Planned | None = None,
    *,
    only_look: bool = False,
) -> Spot | str:
    """Choose datastore and host of one machine anew, in its own failure domain.

    Its address stays. Returns why there is no room; raises like ``look_at_sites``.

    Args:
        machine: Of which nothing is cloned.
        cluster: The machine's.
        others: The other machines of its pool.
        env: As for steps.
        planned: The only place that will do.
        only_look: Nobody else has to count it: it is not placed.
    """
    name, spec = machine.spec.failure_domain.name, machine.spec
    reserved = reserved_by(spec)
    vcenter = vcenter_of(cluster.spec.account, env)
    disks = await disk_places(cluster, spec, [name], env)
    sites = await look_at_sites(
        cluster, [name], env, reserving=reserved != NOTHING, for_disks=disks.storage
    )
    given = None
    if planned is not None:
        stores = [ref for ref, path in sites.paths.items() if path == planned.datastore]
        if not stores:
            return f"datastore {planned.datastore} is not one of failure domain {name} any more"
        refs = {path: ref for ref, path in {**sites.disk_paths, **sites.paths}.items()}
        given = Place(
            name, stores[0], planned.host, disks=tuple(refs.get(one, "") for one in planned.disks)
        )
    slot = Slot(
        group_name(spec.pool),
        spec.memory_mib,
        sites.disk_bytes(cluster, spec, [name]),
        (name,),
        disks.disks,
        given,
        reserved,
    )
    domains = [replace(domain, ip_pools=()) for domain in sites.domains]
    there = [resident_of(one) for one in others if not one.is_deleting]
    # Others were placed beside it: they must not outdate its plan. Whether a planned place has
    # room, figures alone say, and then vCenter.
    uid = machine.metadata.uid
    promised = vcenter.estate.promised.residents(but=uid) if planned is None else []
    (answer,) = solve([slot], domains, [*there, *promised])
    if isinstance(answer, Refusal):
        return "; ".join(answer.reasons)
    if not only_look:
        promise(vcenter, sites, [(uid, answer, slot)])
    return sites.spot(answer, spec.extra_disks)


def _static_cards(domain: FailureDomain) -> tuple[tuple[str, ...], ...]:
    return tuple(pools for _, pools in domain.cards() if pools)
