"""``moorage pools``: the node pools of clusters."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples, say

app = App(name="pools", help="Node pools: the worker machines of clusters.")


@app.command(name="list", help_epilogue=examples("moorage pools list demo"))
async def list_(cluster: str | None = None) -> None:
    """List node pools.

    Args:
        cluster: Only those of this cluster.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import NodePool
    from moorage.resources.phase import phase

    context = Context.current()
    async with context.api() as api:
        items = await api.list(NodePool, project=context.project)
    show_list(
        [pool for pool in items if cluster in (None, pool.spec.cluster)],
        (
            ("CLUSTER", lambda p: p.spec.cluster),
            ("POOL", lambda p: p.spec.pool),
            ("STATE", phase),
            ("READY", lambda p: f"{p.status.ready}/{p.spec.replicas}"),
            ("SIZE", lambda p: f"{p.spec.cpus} CPU, {p.spec.memory_mib} MiB"),
            ("DOMAINS", lambda p: ", ".join(p.spec.failure_domains) or "(all)"),
        ),
    )


@app.command(
    help_epilogue=examples("moorage pools add demo big --replicas 3 --cpus 8 --memory-mib 32768")
)
async def add(
    cluster: str,
    pool: str,
    *,
    replicas: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    cpus: int = 2,
    memory_mib: int = 4096,
    disk_gib: int | None = None,
    failure_domain: list[str] | None = None,
    wait: bool = False,
    timeout_s: float = 1800,
) -> int:
    """Add a node pool to a cluster.

    Args:
        cluster: Name of the cluster.
        pool: Name of the new pool.
        replicas: How many nodes.
        cpus: Processors of each machine.
        memory_mib: Memory of each machine in MiB.
        disk_gib: System disk in GiB; by default the template's size.
        failure_domain: Failure domain of the cluster; may be repeated; all by default.
        wait: Stay until the pool is ready.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.cli.live import follow_cluster
    from moorage.resources import NodePool
    from moorage.resources.nodepool import pool_resource_name

    context = Context.current()
    spec = {
        "cluster": cluster,
        "pool": pool,
        "replicas": replicas,
        "cpus": cpus,
        "memoryMib": memory_mib,
        "diskGib": disk_gib,
        "failureDomains": failure_domain or [],
    }
    metadata = {"name": pool_resource_name(cluster, pool), "project": context.project}
    wanted = build(NodePool, f"pool {pool}", {"metadata": metadata, "spec": spec})
    async with context.api() as api:
        await api.create(wanted)
        say(f"pool {pool} added to {cluster}")
        if not wait:
            return 0
        return await follow_cluster(api, cluster, project=context.project, timeout_s=timeout_s)


@app.command(help_epilogue=examples("moorage pools delete demo big --wait"))
async def delete(
    cluster: str, pool: str, *, yes: bool = False, wait: bool = False, timeout_s: float = 1800
) -> int:
    """Drain and delete all machines of a pool, and the pool.

    Args:
        cluster: Name of the cluster.
        pool: Name of the pool.
        yes: Do not ask for the name again.
        wait: Stay until all is gone.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.ask import confirm_name
    from moorage.cli.context import Context
    from moorage.cli.live import follow_deletion
    from moorage.resources import NodePool
    from moorage.resources.nodepool import pool_resource_name

    context = Context.current()
    name = pool_resource_name(cluster, pool)
    async with context.api() as api:
        await api.get(NodePool, name, project=context.project)
        if not yes:
            confirm_name("pool", pool, f"of {cluster} and all of its machines")
        await api.delete(NodePool, name, project=context.project)
        say(f"pool {pool} of {cluster} is being deleted")
        if not wait:
            return 0
        return await follow_deletion(
            api, NodePool, name, project=context.project, timeout_s=timeout_s
        )
