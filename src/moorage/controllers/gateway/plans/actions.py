"""A plan's actions: what was chosen, in the words of the cluster's document."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from moorage.controllers.gateway.clusters.choosing import Survey
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.records import machine_name
from moorage.controllers.gateway.placement.placing import Sites, place_again
from moorage.controllers.gateway.plans.subject import Subject
from moorage.kit.ids import new_uid
from moorage.planning import Choice, NewMachine
from moorage.resources import IPAddress, Machine
from moorage.resources.kubernetes import Role
from moorage.resources.plan import PlannedDisk, PlannedMachine, PlannedReplica

Claims = Mapping[str, Sequence[str]]
"""UID of a machine or cluster -> its addresses, as ``pool/address``."""


async def claims_of(subject: Subject, env: Env) -> Claims:
    """Return the addresses that the cluster and all of its machines hold now."""
    machines = [*subject.machines, *subject.lost]
    uids = [subject.cluster.metadata.uid, *(one.metadata.uid for one in machines)]
    return {
        uid: [
            f"{one.spec.pool}/{one.spec.address}"
            for one in await env.store.list(IPAddress, owner=uid)
        ]
        for uid in filter(None, uids)
    }


async def actions_of(
    subject: Subject, seen: Survey, choice: Choice, claims: Claims, env: Env
) -> tuple[list[PlannedMachine], list[str]]:
    """Return what becomes of each machine: control plane first, then pools by name.

    New machines get their UID, and so their name, here. Also returned is which of those that stay
    cannot be anywhere, and why.
    """
    gone: dict[str | None, list[Machine]] = defaultdict(list)
    ending = [one.machine for one in choice.delete if one.machine.has_to_end]
    for machine in (*choice.leaving, *ending, *subject.lost):
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
    homeless: list[str] = []
    for machine in choice.keep:
        placed = await _placed_anew(machine, subject, env)
        if isinstance(placed, str):
            homeless.append(f"{machine.metadata.name}: {placed}")
        else:
            why = "as asked" if placed is machine else "it could not be where it was planned"
            actions.append(_known(placed, "keep", why, claims, env))
    actions += [_known(one, "delete", why, claims, env) for one, why in goes]
    return sorted(actions, key=_order), homeless


def replicas_of(seen: Survey, choice: Choice) -> list[PlannedReplica]:
    """Return the replicas of the template that would be made, by the datastores' names."""
    sites = seen.sites
    if sites is None:
        return []
    made = [
        PlannedReplica(
            name=sites.sources[store].replica,
            datastore=sites.paths[store],
            datastore_ref=store,
            bytes_to_copy=size,
        )
        for store, size in seen.copies(choice).replicas.items()
    ]
    return sorted(made, key=lambda one: one.datastore)


async def _placed_anew(machine: Machine, subject: Subject, env: Env) -> Machine | str:
    """Return a machine that stays, with another place where its planned one could not be had.

    Or why there is none.
    """
    if machine.status.off_plan is None:
        return machine
    others = [one for one in subject.machines if one.spec.pool == machine.spec.pool]
    others = [one for one in others if one.key != machine.key]
    spot = await place_again(machine, subject.cluster, others, env, only_look=True)
    if isinstance(spot, str):
        return spot
    placed = machine.copy_deep()
    spot.take(placed)
    return placed


def _new(
    new: NewMachine, subject: Subject, seen: Survey, sites: Sites, gone: list[Machine]
) -> PlannedMachine:
    cluster, place = subject.cluster, new.place
    domain = sites.located[place.domain]
    uid = new_uid()
    old = gone.pop(0) if gone else None
    hosts = {host.ref: host.name for one in sites.domains for host in one.hosts}
    copied = seen.group(new.pool).disk_bytes[place.datastore]
    datastore = sites.paths[place.datastore]
    size = next((one.spec for one in subject.pools if one.spec.pool == new.pool), None)
    disks = (size or cluster.spec.control_plane).extra_disks
    why = "more are asked for than there are"
    if old is not None:
        lost = any(one.metadata.uid == old.metadata.uid for one in subject.lost)
        why = "its host is supposed to fail" if lost else "the other is being deleted"
        why = "the other cannot be made" if old.has_to_end else why
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
        datastore=datastore,
        datastore_ref=place.datastore,
        storage_policy=domain.storage_policy,
        network=domain.network,
        addresses=[f"{one.pool}/{one.address}" for one in place.addresses],
        template=cluster.spec.placement.template,
        clone_mode="full" if copied else "linked",
        replica=(sites.sources[place.datastore].replica or None) if not copied else None,
        bytes_to_copy=copied,
        extra_disks=[
            PlannedDisk(
                size_gib=disk.size_gib,
                thin=disk.thin,
                datastore=path or datastore,
                datastore_ref=ref,
                storage_policy=disk.storage_policy,
            )
            for disk, path, ref in zip(
                disks, sites.spot(place, disks).disks, place.disks, strict=True
            )
        ],
        reason=why,
    )


def _known(
    machine: Machine, action: Literal["keep", "delete"], why: str, claims: Claims, env: Env
) -> PlannedMachine:
    spec = machine.spec
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
        storage_policy=spec.failure_domain.storage_policy,
        network=spec.failure_domain.network,
        addresses=[*claims.get(machine.metadata.uid, ())],
        template=spec.template,
        extra_disks=[
            PlannedDisk(
                size_gib=disk.size_gib,
                thin=disk.thin,
                datastore=disk.placed_on or spec.failure_domain.storage()[0],
                storage_policy=disk.storage_policy,
            )
            for disk in spec.extra_disks
        ],
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
