"""What planning has to know of a cluster's failure domains: names looked up, vCenter as it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.place import each_target
from moorage.controllers.gateway.sources import replica_to_make
from moorage.controllers.gateway.zones import located_domains
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
from moorage.planning.solver import Domain
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
    without_replicas: frozenset[str] = frozenset()
    """Morefs of datastores where the account may not make replicas of the template."""

    def spot(self, place: Place) -> Spot:
        """Return a place as a Machine holds it."""
        datastore = self.paths[place.datastore]
        return Spot(self.located[place.domain].on_datastore(datastore), place.host)

    def disk_bytes(
        self, cluster: Cluster, size: MachineSize | MachineSpec, domains: Iterable[str]
    ) -> dict[str, int]:
        """Return what a clone takes at once on each datastore of some failure domains.

        Raises ``TerminalError`` where no such clone can be made.
        """
        return {
            target.datastore: size.extra_bytes()
            + copied_bytes(
                target,
                cluster.spec.clone_mode,
                size.disk_gib,
                replicas=target.datastore not in self.without_replicas,
            )
            for name in domains
            for target in self.targets.get(name, ())
        }


async def look_at_sites(cluster: Cluster, names: Iterable[str], env: Env) -> Sites:
    """Look at these failure domains of a cluster, as they are now.

    Raises ``UnavailableError`` while vCenter cannot be asked, and ``TerminalError`` when the
    placement names what is not there, or tags of zones cannot be used.
    """
    wanted = set(names)
    vcenter = vcenter_of(cluster.spec.account, env)
    located = await located_domains(cluster, env, wanted)
    targets: dict[str, list[ResolvedTarget]] = {}
    paths: dict[str, str] = {}
    for name, path, target in each_target(cluster, vcenter):
        if name in wanted:
            try:
                resolved = await vcenter.resolve(target)
            except InvalidError as error:
                raise TerminalError("PlacementInvalid", str(error)) from error
            targets.setdefault(name, []).append(resolved)
            paths[resolved.datastore] = path
    replicas = {
        target.datastore: await replica_to_make(cluster.spec.account, target, env)
        for resolved in targets.values()
        for target in resolved
    }
    domains = tuple(
        replace(
            domain,
            ip_pools=_static_cards(located[domain.name]),
            datastores=tuple(
                replace(store, replica_bytes=replicas[store.ref] or 0)
                for store in domain.datastores
            ),
        )
        for domain in await vcenter.estate.domains(targets)
    )
    without = frozenset(store for store, size in replicas.items() if size is None)
    return Sites(domains, located, targets, paths, without)


def promise(vcenter: VCenter, placed: Iterable[tuple[Place, int, Mapping[str, int]]]) -> None:
    """Let every cluster's placement count what was just placed.

    Args:
        vcenter: Whose figures do not hold it yet.
        placed: Place, MiB of memory, and what the clone takes on which datastore.
    """
    vcenter.estate.promise(
        Resident(
            ELSEWHERE, place.domain, place.host, place.datastore,
            memory_mib, disk_bytes[place.datastore],
        )
        for place, memory_mib, disk_bytes in placed
    )  # fmt: skip


async def place_again(
    machine: Machine, cluster: Cluster, others: Iterable[Machine], env: Env
) -> Spot | str:
    """Choose datastore and host of one machine anew, in its own failure domain.

    Its address stays. Returns why there is no room; raises like ``look_at_sites``.

    Args:
        machine: Of which nothing is cloned.
        cluster: The machine's.
        others: The other machines of its pool.
        env: As for steps.
    """
    name, spec = machine.spec.failure_domain.name, machine.spec
    sites = await look_at_sites(cluster, [name], env)
    vcenter = vcenter_of(cluster.spec.account, env)
    disk_bytes = sites.disk_bytes(cluster, spec, [name])
    slot = Slot(group_name(spec.pool), spec.memory_mib, disk_bytes, (name,))
    domains = [replace(domain, ip_pools=()) for domain in sites.domains]
    there = [resident_of(one) for one in others if not one.is_deleting]
    (answer,) = solve([slot], domains, [*there, *vcenter.estate.promised()])
    if isinstance(answer, Refusal):
        return "; ".join(answer.reasons)
    promise(vcenter, [(answer, spec.memory_mib, disk_bytes)])
    return sites.spot(answer)


def vcenter_of(account: str, env: Env) -> VCenter:
    """Return the account's vCenter; raises ``UnavailableError``."""
    vcenter = env.accounts.get(account)
    if vcenter is None:
        raise UnavailableError(f"cloud account {account} is not connected")
    return vcenter


def _static_cards(domain: FailureDomain) -> tuple[tuple[str, ...], ...]:
    return tuple(pools for _, pools in domain.cards() if pools)
