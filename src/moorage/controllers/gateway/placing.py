"""Where the next machines of a cluster go: vCenter as it is now, and the solver."""

from collections.abc import Sequence
from dataclasses import dataclass

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.place import targets_of_cluster
from moorage.controllers.gateway.zones import located_domains
from moorage.kit.errors import InvalidError, TerminalError, UnavailableError
from moorage.planning import Place, Refusal, Resident, Slot, solve
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import FailureDomain, MachineSize
from moorage.resources.machine import MachineSpec
from moorage.vsphere import ResolvedTarget, VCenter, copied_bytes

ROOM_AGAIN_S = 15.0
"""Room comes when somebody makes some, and nobody tells of it."""
_CONTROL_PLANE = ""
"""Group of the control plane; no pool can be called so."""


@dataclass(frozen=True, slots=True)
class Group:
    """Machines that keep apart from each other."""

    pool: str | None
    """``None`` is the control plane."""
    size: MachineSize | MachineSpec
    domains: Sequence[str]
    """Failure domains that they may go to."""
    machines: Sequence[Machine]
    """Those that there are, those being deleted included."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one machine goes."""

    domain: FailureDomain
    """With the one datastore that was chosen, and with region and zone."""
    host: str | None


@dataclass(frozen=True, slots=True)
class Placed:
    """Places for as many machines as have room, and why the others have none."""

    spots: tuple[Spot, ...]
    no_room: str = ""


async def place_machines(cluster: Cluster, group: Group, count: int, env: Env) -> Placed:
    """Choose places for new machines of one group; nothing is stored.

    Raises ``UnavailableError`` while vCenter cannot be asked, and ``TerminalError`` when the
    placement names what is not there, or tags of zones cannot be used.
    """
    if not count:
        return Placed(())
    vcenter = _vcenter(cluster.spec.account, env)
    located = await located_domains(cluster, env, group.domains)
    targets: dict[str, list[ResolvedTarget]] = {name: [] for name in group.domains}
    paths: dict[str, str] = {}
    for name, path, target in targets_of_cluster(cluster):
        if name in targets:
            try:
                resolved = await vcenter.resolve(target)
            except InvalidError as error:
                raise TerminalError("PlacementInvalid", str(error)) from error
            targets[name].append(resolved)
            paths[resolved.datastore] = path
    slot = Slot(
        group=group.pool or _CONTROL_PLANE,
        memory_mib=group.size.memory_mib,
        disk_bytes={
            target.datastore: copied_bytes(target, cluster.spec.clone_mode, group.size.disk_gib)
            for resolved in targets.values()
            for target in resolved
        },
        domains=tuple(group.domains),
    )
    staying = [_resident(machine) for machine in group.machines if not machine.is_deleting]
    domains = await vcenter.estate.domains(targets)
    answers = solve([slot] * count, domains, [*staying, *vcenter.estate.promised()])
    places = [answer for answer in answers if isinstance(answer, Place)]
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    vcenter.estate.promise(
        Resident(
            "", place.domain, place.host, place.datastore,
            slot.memory_mib, slot.disk_bytes[place.datastore],
        )
        for place in places
    )  # fmt: skip
    spots = tuple(
        Spot(
            located[place.domain].on_datastore(paths[place.datastore]),
            place.host,
        )
        for place in places
    )
    if not refused:
        return Placed(spots)
    why = "; ".join(refused[0].reasons)
    return Placed(spots, f"{len(refused)} of {count} new machines have no room: {why}")


def _vcenter(account: str, env: Env) -> VCenter:
    vcenter = env.accounts.get(account)
    if vcenter is None:
        raise UnavailableError(f"cloud account {account} is not connected")
    return vcenter


def _resident(machine: Machine) -> Resident:
    group = machine.spec.pool or _CONTROL_PLANE
    return Resident(group, machine.spec.failure_domain.name, machine.spec.host)
