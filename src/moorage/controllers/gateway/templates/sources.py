"""What a machine is cloned from: its template, or a replica of it on the machine's datastore."""

from dataclasses import dataclass
from itertools import count

import structlog

from moorage.controllers.gateway.env import REPLICA_FINALIZER, Env, key_of
from moorage.engine import Wait, wait
from moorage.kit.errors import ConflictError
from moorage.kit.ids import new_uid
from moorage.resources import Cluster, Machine, Metadata, TemplateReplica
from moorage.resources.machine import MachineSpec
from moorage.resources.replica import (
    LABEL_FAMILY,
    LABEL_REPLICA,
    TemplateReplicaSpec,
    family_name,
    replica_name,
)
from moorage.vsphere import (
    Found,
    ResolvedTarget,
    VCenter,
    needs_replica,
)

log = structlog.get_logger(__name__)

NOT_PERMITTED = "ReplicasNotPermitted"
"""Reason of a replica that the account may not make; full clones are made in its place."""
_LOOK_AGAIN_S = 15.0
"""A machine that waits is woken when its replica is there, unless another process made it."""


@dataclass(frozen=True, slots=True)
class LinkSource:
    """What linked clones on one datastore would hang on now."""

    replica: str = ""
    """Name of the template's replica there; empty: the template itself, or nothing can be linked.
    """
    bytes_to_copy: int = 0
    """How much the first of them copies for all others: 0 when the replica is there."""
    is_permitted: bool = True
    """Whether the account may make replicas there."""


async def clone_source(
    machine: Machine, cluster: Cluster, target: ResolvedTarget, vcenter: VCenter, env: Env
) -> ResolvedTarget | Wait:
    """Return the target with what is to be cloned; or what the machine has to wait for.

    The replica that it needs is asked for once, whoever needs it too. From then on the machine
    bears its name as a label: a replica is not taken away while any machine does.
    """
    spec = machine.spec
    if not needs_replica(target, spec.clone_mode, spec.disk_gib):
        return target
    replica = await replica_for(target, _spec(spec, cluster, target), vcenter, env)
    if not await _refer(machine, replica, env):
        return _wait_for(replica, machine, target, env)
    seen = vcenter.find(replica.metadata.uid, moref=replica.status.vm)
    if not replica.status.is_true("Ready") or not isinstance(seen, Found):
        env.trigger("replica", key_of(replica))
        return _wait_for(replica, machine, target, env)
    source = await vcenter.replicas.source(target, seen.vm.moref)
    if source is not None:
        return source
    log.warning("template replica is of no use any more", replica=replica.metadata.name)
    await env.store.request_deletion(TemplateReplica, *replica.key)
    return _wait_for(replica, machine, target, env)


async def replica_for(
    target: ResolvedTarget, wanted: TemplateReplicaSpec, vcenter: VCenter, env: Env
) -> TemplateReplica:
    """Return the replica to use or to wait for; where there is none it is asked for as ``wanted``.

    Whoever asks for the same, at the same time too, gets the same one.
    """
    family = _family(wanted.account, target, env)
    replicas = await _replicas(family, env)
    replica = _choose(replicas, vcenter)
    if replica is not None:
        return replica
    return await _ask_for(_free_name(family, replicas), family, wanted, vcenter, env)


async def link_source(
    account: str, target: ResolvedTarget, vcenter: VCenter, env: Env
) -> LinkSource:
    """Return what ``clone_source`` would come to for a linked clone; nothing is asked for."""
    if target.can_link:
        return LinkSource()
    family = _family(account, target, env)
    replicas = await _replicas(family, env)
    if any(_is_not_permitted(one) for one in replicas):
        return LinkSource(is_permitted=False)
    replica = _choose(replicas, vcenter)
    if replica is None:
        return LinkSource(_free_name(family, replicas), target.template.committed_bytes)
    is_there = replica.status.vm is not None
    return LinkSource(replica.metadata.name, 0 if is_there else target.template.committed_bytes)


async def _replicas(family: str, env: Env) -> list[TemplateReplica]:
    return await env.store.list(TemplateReplica, labels={LABEL_FAMILY: family})


def _free_name(family: str, replicas: list[TemplateReplica]) -> str:
    """Return a name that none of these replicas has: who asks too comes to the same one."""
    taken = {one.metadata.name for one in replicas}
    names = (replica_name(family, ordinal) for ordinal in count(1))
    return next(name for name in names if name not in taken)


def _choose(replicas: list[TemplateReplica], vcenter: VCenter) -> TemplateReplica | None:
    """Return the replica to use or to wait for; ``None`` when another one has to be made."""
    staying = [one for one in replicas if not one.is_deleting and not _is_cut_off(one, vcenter)]
    going = [one for one in replicas if one.is_deleting and not _is_held(one)]
    staying.sort(key=lambda one: not one.status.is_true("Ready"))
    return next(iter(staying + going), None)


def _is_held(replica: TemplateReplica) -> bool:
    """Tell whether it shall go and cannot, because something still hangs on its disks."""
    unused = replica.status.condition("Unused")
    return unused is not None and unused.status == "False"


def _is_cut_off(replica: TemplateReplica, vcenter: VCenter) -> bool:
    """Tell whether it is on a host that vCenter cannot clone from now."""
    host = replica.status.host
    return host is not None and bool(vcenter.estate.out_of_service(host))


def _is_not_permitted(replica: TemplateReplica) -> bool:
    ready = replica.status.condition("Ready")
    return ready is not None and ready.reason == NOT_PERMITTED


def _family(account: str, target: ResolvedTarget, env: Env) -> str:
    return family_name(
        target.template_name,
        gateway=env.gateway,
        account=account,
        digest=target.template.digest,
        datastore_ref=target.datastore,
        profile=target.storage_profile,
    )


async def _ask_for(
    name: str, family: str, spec: TemplateReplicaSpec, vcenter: VCenter, env: Env
) -> TemplateReplica:
    """Store that a replica is to be made, unless somebody else has done so.

    One that was made before this gateway lost its store is known by its name and mark again.
    """
    before = vcenter.replicas.left_behind(name)
    uid = before.owner.uid if before is not None and before.owner is not None else new_uid()
    replica = TemplateReplica(
        metadata=Metadata(
            name=name,
            uid=uid,
            labels={LABEL_FAMILY: family},
            finalizers=[REPLICA_FINALIZER],
            route=env.gateway,
        ),
        spec=spec,
    )
    try:
        return await env.store.create(replica)
    except ConflictError:
        return await env.store.get(TemplateReplica, "", name)


def _spec(spec: MachineSpec, cluster: Cluster, target: ResolvedTarget) -> TemplateReplicaSpec:
    domain = spec.failure_domain
    return TemplateReplicaSpec(
        account=spec.account,
        source=target.template.moref,
        digest=target.template.digest,
        datastore_ref=target.datastore,
        datacenter=spec.datacenter,
        folder=cluster.spec.placement.folder,  # one of the cluster's own goes with the cluster
        template=spec.template,
        compute_cluster=domain.compute_cluster,
        resource_pool=domain.resource_pool,
        datastore=domain.storage()[0],
        storage_policy=target.storage_profile or None,
        network=domain.network,
        host=spec.host,
    )


def _wait_for(
    replica: TemplateReplica, machine: Machine, target: ResolvedTarget, env: Env
) -> ResolvedTarget | Wait:
    """Wait for a replica; where the account may not make it, do without, if that is allowed."""
    ready = replica.status.condition("Ready")
    if machine.spec.clone_mode == "auto" and _is_not_permitted(replica):
        return target
    if replica.status.clone_failed:
        machine.status.clone_failed = True  # another datastore may have room
    env.index.wait_for_replica(replica.metadata.name, key_of(machine))
    said = f": {ready.reason}, {ready.message}" if ready is not None else ""
    return wait(
        "WaitingForTemplateReplica",
        f"template {target.template_name} is copied to datastore {replica.spec.datastore} once, "
        f"as {replica.metadata.name}, for linked clones{said}",
        after=_LOOK_AGAIN_S,
    )


async def _refer(machine: Machine, replica: TemplateReplica, env: Env) -> bool:
    """Note that the machine needs this replica, before anything hangs on it.

    False when the replica is being taken away: whoever does that looks at the labels later.
    """
    name = replica.metadata.name
    async with env.store.transaction() as store:
        found = await store.find(TemplateReplica, "", name)
        if found is None or found.is_deleting:
            return False
        if machine.metadata.labels.get(LABEL_REPLICA) != name:
            machine.metadata.labels[LABEL_REPLICA] = name
            version = machine.metadata.resource_version
            machine.metadata = (await store.put_spec(machine, if_version=version)).metadata
    return True
