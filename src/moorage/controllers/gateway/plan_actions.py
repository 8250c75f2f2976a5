"""A plan's actions: what was chosen, in the words of the cluster's document."""

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from moorage.controllers.gateway.choosing import Survey
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines import machine_name
from moorage.controllers.gateway.placing import Sites
from moorage.kit.ids import new_uid
from moorage.planning import Choice, NewMachine
from moorage.resources import IPAddress, Machine
from moorage.resources.kubernetes import Role
from moorage.resources.plan import PlannedMachine

if TYPE_CHECKING:
    from moorage.controllers.gateway.plan import Subject


async def actions_of(
    subject: "Subject", seen: Survey, choice: Choice, env: Env
) -> list[PlannedMachine]:
    """Return what becomes of each machine: control plane first, then pools by name.

    New machines get their UID, and so their name, here.
    """
    gone: dict[str | None, list[Machine]] = defaultdict(list)
    for machine in (*choice.leaving, *subject.lost):
        gone[machine.spec.pool].append(machine)
    actions = [
        _new(new, subject, seen, seen.sites, gone[new.pool])
        for new in choice.create
        if seen.sites is not None
    ]
    replaced = {one.replaces for one in actions}
    goes = [(one.machine, one.why) for one in choice.delete]
    goes += [
        (one, "its deletion goes on already")
        for one in choice.leaving
        if one.metadata.name not in replaced
    ]
    actions += [await _known(one, "keep", "as asked", env) for one in choice.keep]
    actions += [await _known(one, "delete", why, env) for one, why in goes]
    return sorted(actions, key=_order)


def _new(
    new: NewMachine, subject: "Subject", seen: Survey, sites: Sites, gone: list[Machine]
) -> PlannedMachine:
    cluster, place = subject.cluster, new.place
    domain = sites.located[place.domain]
    uid = new_uid()
    old = gone.pop(0) if gone else None
    hosts = {host.ref: host.name for one in sites.domains for host in one.hosts}
    copied = seen.group(new.pool).disk_bytes[place.datastore]
    why = "more are asked for than there are"
    if old is not None:
        lost = any(one.metadata.uid == old.metadata.uid for one in subject.lost)
        why = "its host is supposed to fail" if lost else "the other is being deleted"
    elif new.founds:
        why = "it founds the cluster"
    return PlannedMachine(
        action="replace" if old is not None else "create",
        role=Role.WORKER if new.pool is not None else Role.CONTROL_PLANE,
        pool=new.pool,
        ordinal=new.ordinal,
        machine=machine_name(cluster.metadata.name, new.pool, uid),
        uid=uid,
        replaces=old.metadata.name if old is not None else None,
        failure_domain=place.domain,
        compute_cluster=domain.compute_cluster,
        host=hosts.get(place.host) if place.host else None,
        host_ref=place.host,
        datastore=sites.paths[place.datastore],
        datastore_ref=place.datastore,
        network=domain.network,
        addresses=[f"{one.pool}/{one.address}" for one in place.addresses],
        template=cluster.spec.placement.template,
        clone_mode="full" if copied else "linked",
        bytes_to_copy=copied,
        reason=why,
    )


async def _known(
    machine: Machine, action: Literal["keep", "delete"], why: str, env: Env
) -> PlannedMachine:
    spec = machine.spec
    addresses = await env.store.list(IPAddress, owner=machine.metadata.uid)
    vcenter = env.accounts.get(spec.account)
    host = vcenter.estate.host_name(spec.host) if vcenter is not None and spec.host else None
    return PlannedMachine(
        action=action,
        role=spec.role,
        pool=spec.pool,
        machine=machine.metadata.name,
        uid=machine.metadata.uid,
        failure_domain=spec.failure_domain.name,
        compute_cluster=spec.failure_domain.compute_cluster,
        host=host,
        host_ref=spec.host,
        datastore=spec.failure_domain.storage()[0],
        network=spec.failure_domain.network,
        addresses=[f"{one.spec.pool}/{one.spec.address}" for one in addresses],
        template=spec.template,
        reason=why,
    )


def _order(action: PlannedMachine) -> tuple[bool, str, bool, int, str]:
    is_old = action.ordinal is None
    return (
        action.pool is not None,
        action.pool or "",
        not is_old,
        action.ordinal or 0,
        action.machine,
    )
