"""Keep as many worker machines as a node pool asks for."""

from moorage.controllers.gateway.accounts.clock import any_waits_for_clock
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.fence import assigned
from moorage.controllers.gateway.machines.apart import ensure_no_rule_of_pool, keep_apart
from moorage.controllers.gateway.machines.records import role_of
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import TerminalError
from moorage.resources import Cluster, Machine, NodePool
from moorage.resources.meta import GATEWAY_FINALIZER


@step("ClusterPrepared")
async def ensure_cluster_prepared(pool: NodePool, env: Env) -> Outcome:
    """Wait only for keys and endpoint: workers boot while the first control plane does."""
    cluster = await env.store.find(Cluster, pool.metadata.project, pool.spec.cluster)
    if cluster is None:
        return wait("ClusterNotFound", f"cluster {pool.spec.cluster} is not here yet")
    if cluster.is_deleting:
        return wait("ClusterDeleting", f"cluster {pool.spec.cluster} is being deleted")
    if not cluster.status.is_true("EndpointClaimed"):
        ready = cluster.status.condition("Ready")
        why = f"{ready.reason}: {ready.message}" if ready else "not begun"
        return wait("ClusterNotPrepared", f"cluster {pool.spec.cluster}: {why}")
    known = {domain.name for domain in cluster.spec.placement.failure_domains}
    unknown = sorted(set(pool.spec.failure_domains) - known)
    if unknown:
        raise TerminalError(
            "FailureDomainNotFound",
            f"spec.failureDomains names {', '.join(unknown)}; the cluster has "
            f"{', '.join(sorted(known))}",
        )
    return DONE


@step("MachinesExist")
async def ensure_machines(pool: NodePool, env: Env) -> Outcome:
    """Say what is lacking: the pass of the cluster makes and deletes the machines of all pools."""
    cluster = await env.store.get(Cluster, pool.metadata.project, pool.spec.cluster)
    machines = await role_of(env, cluster, pool.spec.pool)
    leaving = sum(1 for machine in machines if machine.is_deleting)
    pool.status.replicas = len(machines) - leaving
    await keep_apart(cluster, pool, machines, env)
    lacking = pool.spec.replicas - pool.status.replicas
    if lacking > 0:
        for why in cluster.status.unplaced:
            if why.pool == pool.spec.pool:
                return wait(why.reason, why.message)
        return wait("MachinesMissing", f"the next pass of the cluster makes {lacking} machines")
    if leaving or lacking < 0:
        many = leaving + max(0, -lacking)
        return wait("ScalingDown", f"{many} machines are drained and deleted", after=30)
    return DONE


@step("NodesReady")
async def ensure_ready(pool: NodePool, env: Env) -> Outcome:
    cluster = await env.store.get(Cluster, pool.metadata.project, pool.spec.cluster)
    machines = await role_of(env, cluster, pool.spec.pool)
    pool.status.ready = sum(1 for machine in machines if machine.status.is_true("Ready"))
    if pool.status.ready < pool.spec.replicas:
        return wait(
            "ClockSkewed" if any_waits_for_clock(machines) else "NodesMissing",
            f"{pool.status.ready} of {pool.spec.replicas} nodes are Ready",
        )
    return DONE


@step("MachinesGone")
async def ensure_no_machines(pool: NodePool, env: Env) -> Outcome:
    cluster = await env.store.find(Cluster, pool.metadata.project, pool.spec.cluster)
    if cluster is None:
        return DONE
    machines = await role_of(env, cluster, pool.spec.pool)
    for machine in machines:
        if not machine.is_deleting:
            await env.store.request_deletion(Machine, *machine.key)
    if machines:
        return wait("DeletingMachines", f"{len(machines)} machines remain", after=30)
    return DONE


NODEPOOL = StepReconciler(
    kind=NodePool,
    steps=(assigned(), ensure_cluster_prepared, ensure_machines, ensure_ready),
    teardown=(
        assigned(),
        ensure_no_machines,
        ensure_no_rule_of_pool,
    ),
    finalizer=GATEWAY_FINALIZER,
)
