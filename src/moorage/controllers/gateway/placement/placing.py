"""What planning has to know of a cluster's failure domains: names looked up, vCenter as it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import each_target
from moorage.controllers.gateway.placement.zones import located_domains
from moorage.controllers.gateway.templates.sources import LinkSource, link_source
from moorage.kit.errors import InvalidError, TerminalError, UnavailableError
from moorage.planning import (
    ELSEWHERE,
    Place,
    Refusal,
    Resident,
    Slot,
    group_name,
    resident_of,
    solve,
)
from moorage.planning.solver import NOTHING, Domain, Reserved
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import FailureDomain
from moorage.resources.machine import MachineSpec
from moorage.resources.size import MachineSize
from moorage.vsphere import ResolvedTarget, VCenter, copied_bytes

ROOM_AGAIN_S = 15.0
"""Room comes when somebody makes some, and nobody tells of it."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one machine goes."""

    domain: FailureDomain
    """With the one datastore that was chosen, and with region and zone."""
    host: str | None


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
    sources: Mapping[str, LinkSource]
    """Moref of a datastore -> what linked clones there would hang on."""

    def template_digest(self) -> str:
        """Return the digest of the template that all machines are made of."""
        targets = [one for several in self.targets.values() for one in several]
        return targets[0].template.digest if targets else ""

    def spot(self, place: Place) -> Spot:
        """Return a place as a Machine holds it."""
        datastore = self.paths[place.datastore]
        return Spot(self.located[place.domain].on_datastore(datastore), place.host)

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
    cluster: Cluster, names: Iterable[str], env: Env, *, reserving: bool = False
) -> Sites:
    """Look at these failure domains of a cluster, as they are now.

    With ``reserving`` also at what resource pools can still reserve.

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
        for domain in await vcenter.estate.domains(targets, reserving=reserving)
    )
    return Sites(domains, located, targets, paths, sources)


def promise(vcenter: VCenter, sites: Sites, placed: Iterable[tuple[Place, Slot]]) -> None:
    """Let every cluster's placement count what was just placed, replicas of the template too.

    Args:
        vcenter: Whose figures do not hold it yet.
        sites: Where it was placed.
        placed: Places, and what goes there.
    """
    brought: set[str] = set()
    residents: list[Resident] = []
    for place, slot in placed:
        copied = slot.disk_bytes[place.datastore]
        if not copied and place.datastore not in brought:
            brought.add(place.datastore)
            copied = sites.sources[place.datastore].bytes_to_copy
        taken = copied + slot.extra_bytes
        residents.append(
            Resident(
                ELSEWHERE, place.domain, place.host, place.datastore, slot.memory_mib, taken
            )
        )  # fmt: skip
    vcenter.estate.promise(residents)


@dataclass(frozen=True, slots=True)
class Planned:
    """Where a plan says that one machine goes, in its words."""

    plan: str
    """UID of the plan."""
    datastore: str
    host: str | None
    """Moref; ``None``: any."""


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
    sites = await look_at_sites(cluster, [name], env, reserving=reserved != NOTHING)
    vcenter = vcenter_of(cluster.spec.account, env)
    given = None
    if planned is not None:
        stores = [ref for ref, path in sites.paths.items() if path == planned.datastore]
        if not stores:
            return f"datastore {planned.datastore} is not one of failure domain {name} any more"
        given = Place(name, stores[0], planned.host)
    slot = Slot(
        group_name(spec.pool),
        spec.memory_mib,
        sites.disk_bytes(cluster, spec, [name]),
        (name,),
        spec.extra_bytes(),
        given,
        reserved,
    )
    domains = [replace(domain, ip_pools=()) for domain in sites.domains]
    there = [resident_of(one) for one in others if not one.is_deleting]
    # What was promised lately has this machine in it, and may be in fresh figures too. It must not
    # outdate a plan: whether a planned place has room, figures alone say, and then vCenter.
    promised = vcenter.estate.promised() if planned is None else []
    (answer,) = solve([slot], domains, [*there, *promised])
    if isinstance(answer, Refusal):
        return "; ".join(answer.reasons)
    if not only_look:
        promise(vcenter, sites, [(answer, slot)])
    return sites.spot(answer)


def vcenter_of(account: str, env: Env) -> VCenter:
    """Return the account's vCenter; raises ``UnavailableError``."""
    vcenter = env.accounts.get(account)
    if vcenter is None:
        raise UnavailableError(f"cloud account {account} is not connected")
    return vcenter


def _static_cards(domain: FailureDomain) -> tuple[tuple[str, ...], ...]:
    return tuple(pools for _, pools in domain.cards() if pools)
