"""Found a cluster: keys, endpoint, control plane, join objects, layers; then say what it lacks."""

from moorage.bootstrap import generate
from moorage.controllers.gateway.accounts.clock import (
    MISSED_S,
    any_waits_for_clock,
    clock_disagreement,
)
from moorage.controllers.gateway.brake import LOOK_AGAIN_S
from moorage.controllers.gateway.clusters.choosing import ensure_machines
from moorage.controllers.gateway.clusters.endpoint import ensure_endpoint, ensure_no_endpoint
from moorage.controllers.gateway.clusters.handed import take_resealed
from moorage.controllers.gateway.env import Env, key_of, machines_of
from moorage.controllers.gateway.fence import assigned, ensure_epoch_written
from moorage.controllers.gateway.machines.apart import ensure_no_rules
from moorage.controllers.gateway.machines.inside import (
    ensure_api_reachable,
    ensure_join_prepared,
    ensure_layers,
)
from moorage.controllers.gateway.machines.records import pools_of
from moorage.controllers.gateway.placement.folder import ensure_folder, ensure_no_folder
from moorage.controllers.gateway.placement.following import waits_for_decision
from moorage.controllers.gateway.placement.placing import ROOM_AGAIN_S
from moorage.controllers.gateway.placement.resolved import ensure_placement
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import ForbiddenError
from moorage.resources import (
    Cluster,
    ClusterKeys,
    Machine,
    Metadata,
)
from moorage.resources.clusterkeys import ClusterKeysSpec
from moorage.resources.kubernetes import Role
from moorage.resources.meta import GATEWAY_FINALIZER


@step("KeysStored")
async def ensure_keys(cluster: Cluster, env: Env) -> Outcome:
    """Make the CAs once; no machine is made before the hub holds them in sealed form."""
    project, name, uid = cluster.metadata.project, cluster.metadata.name, cluster.metadata.uid
    stored = await env.store.find(ClusterKeys, project, name)
    if stored is None:
        skewed = await clock_disagreement(cluster.spec.account, env)
        if skewed is not None:
            return wait("ClockSkewed", f"no authorities are made yet: {skewed}", after=MISSED_S)
        made = generate(cluster.spec.key_type, name, env.clock.now())
        stored = await env.store.create(
            ClusterKeys(
                metadata=Metadata(
                    name=name, project=project, owner=cluster.owner(), route=env.gateway
                ),
                spec=ClusterKeysSpec(
                    cluster=name, sealed=await env.vault.seal_keys(cluster, made.to_bytes())
                ),
            )
        )
    if stored.metadata.owner is None or stored.metadata.owner.uid != uid:
        return wait("OldKeysRemain", "keys of a deleted cluster of this name are still here")
    try:
        keys = await env.access.keys(cluster)
    except ForbiddenError as error:
        stored = await take_resealed(cluster, stored, env, refused=error)
        keys = await env.access.keys(cluster)
    if keys is None:
        return wait("KeysNotOpened", "the keys are gone again; looked at once more", after=1)
    cluster.status.ca_certificate = keys.ca.certificate
    if await env.acknowledged() < stored.metadata.resource_version:
        return wait(
            "KeysNotMirrored",
            "the hub has not yet confirmed that it holds the sealed keys; is the link up?",
            after=0.2,
        )
    return DONE


@step("NodesReady")
async def ensure_nodes_ready(cluster: Cluster, env: Env) -> Outcome:
    """Hold each machine of the cluster against its node, and say what is missing."""
    machines = await machines_of(env, cluster)
    staying = [machine for machine in machines if not machine.is_deleting]
    nodes = await env.access.nodes(cluster, max_age_s=2.0)
    ready = {node.name for node in nodes if node.ready}
    for machine in staying:
        if machine.status.is_true("Ready") != (machine.metadata.name in ready):
            env.trigger("machine", key_of(machine))
    founders = [machine for machine in staying if machine.spec.role is Role.CONTROL_PLANE]
    cluster.status.nodes = len(nodes)
    cluster.status.nodes_ready = len(ready)
    cluster.status.control_plane_ready = sum(1 for m in founders if m.metadata.name in ready)
    # A node stays Ready in the API for most of a minute after its VM is gone.
    missing = [
        _why(machine)
        for machine in staying
        if machine.metadata.name not in ready or not machine.status.is_true("Ready")
    ]
    if missing:
        return wait(
            "ClockSkewed" if any_waits_for_clock(staying) else "NodesMissing",
            f"{len(staying) - len(missing)} of {len(staying)} nodes are Ready; "
            + "; ".join(missing),
            after=10,
        )
    for pool in await pools_of(env, cluster):
        have = sum(1 for machine in staying if machine.spec.pool == pool.spec.pool)
        if have != pool.spec.replicas:
            return wait(
                "PoolIncomplete",
                f"pool {pool.spec.pool} has {have} of {pool.spec.replicas} machines",
                after=ROOM_AGAIN_S,
            )
    env.stamp(cluster.status.timeline, "Ready")
    plan = cluster.status.plan
    return waits_for_decision(cluster) if plan is not None and plan.is_outdated else DONE


@step("DeletionPermitted")
async def ensure_permitted(cluster: Cluster, env: Env) -> Outcome:
    """Ask the deletion brake for the cluster with all of its machines, before one is touched."""
    held = await env.brake.hold_cluster(cluster)
    return DONE if held is None else wait("DeletionHeld", f"{held}", after=LOOK_AGAIN_S)


@step("MachinesGone")
async def ensure_no_machines(cluster: Cluster, env: Env) -> Outcome:
    machines = await machines_of(env, cluster)
    for machine in machines:
        if not machine.is_deleting:
            await env.store.request_deletion(Machine, *machine.key)
    if machines:
        names = ", ".join(machine.metadata.name for machine in machines)
        return wait("DeletingMachines", f"{len(machines)} machines remain: {names}", after=30)
    return DONE


@step("KeysDropped")
async def ensure_no_keys(cluster: Cluster, env: Env) -> Outcome:
    stored = await env.store.find(ClusterKeys, *cluster.key)
    if stored is not None:
        await env.store.delete(stored)
    await env.access.forget(cluster.metadata.uid)
    return DONE


def _why(machine: Machine) -> str:
    condition = machine.status.condition("Ready")
    reason = f"{condition.reason}: {condition.message}" if condition else "not begun"
    return f"{machine.metadata.name}: {reason}"


CLUSTER = StepReconciler(
    kind=Cluster,
    steps=(
        assigned(),
        ensure_placement,
        ensure_epoch_written,
        ensure_keys,
        ensure_folder,
        ensure_endpoint,
        ensure_machines,
        ensure_api_reachable,
        ensure_join_prepared,
        ensure_layers,
        ensure_nodes_ready,
    ),
    teardown=(
        assigned(),
        ensure_epoch_written,
        ensure_permitted,
        ensure_no_machines,
        ensure_no_rules,
        ensure_no_folder,
        ensure_no_endpoint,
        ensure_no_keys,
    ),
    finalizer=GATEWAY_FINALIZER,
)
