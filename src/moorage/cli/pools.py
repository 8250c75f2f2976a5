"""``moorage pools``: the node pools of clusters."""

import sys
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from moorage.cli.context import Context, stderr
from moorage.cli.documents import faults_of
from moorage.cli.live import follow_cluster, follow_deletion
from moorage.cli.output import phase, show_list
from moorage.kit.errors import InvalidError
from moorage.resources import Metadata, NodePool
from moorage.resources.nodepool import NodePoolSpec, pool_resource_name

app = App(name="pools", help="Node pools: the worker machines of clusters.")


@app.command(name="list")
async def list_(cluster: str | None = None) -> None:
    """List node pools.

    Args:
        cluster: Only those of this cluster.
    """
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
        ),
    )


@app.command
async def add(
    cluster: str,
    pool: str,
    *,
    replicas: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    cpus: int = 2,
    memory_mib: int = 4096,
    failure_domain: list[str] | None = None,
    wait: bool = False,
    timeout_s: float = 1800,
) -> int:
    """Add a node pool to a cluster.

    Examples:
        moorage pools add demo big --replicas 3 --cpus 8 --memory-mib 32768

    Args:
        cluster: Name of the cluster.
        pool: Name of the new pool.
        replicas: How many nodes.
        cpus: Processors of each machine.
        memory_mib: Memory of each machine in MiB.
        failure_domain: Failure domain of the cluster; may be repeated; all by default.
        wait: Stay until the pool is ready.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    try:
        spec = NodePoolSpec(
            cluster=cluster,
            pool=pool,
            replicas=replicas,
            cpus=cpus,
            memory_mib=memory_mib,
            failure_domains=failure_domain or [],
        )
    except ValidationError as error:
        raise InvalidError(f"pool {pool} is not valid", faults_of(error)) from error
    context = Context.current()
    name = pool_resource_name(cluster, pool)
    async with context.api() as api:
        await api.create(NodePool(metadata=Metadata(name=name, project=context.project), spec=spec))
        stderr().print(f"pool {pool} added to {cluster}")
        if not wait:
            return 0
        return await follow_cluster(api, cluster, project=context.project, timeout_s=timeout_s)


@app.command
async def delete(
    cluster: str, pool: str, *, yes: bool = False, wait: bool = False, timeout_s: float = 1800
) -> int:
    """Drain and delete all machines of a pool, and the pool.

    Args:
        cluster: Name of the cluster.
        pool: Name of the pool.
        yes: Do not ask again.
        wait: Stay until all is gone.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    if not yes and (
        not sys.stdin.isatty() or input(f"Delete pool {pool}? Type its name: ") != pool
    ):
        raise InvalidError(f"deleting {pool} destroys its machines: add --yes, or type its name")
    context = Context.current()
    name = pool_resource_name(cluster, pool)
    async with context.api() as api:
        await api.delete(NodePool, name, project=context.project)
        stderr().print(f"pool {pool} of {cluster} is being deleted")
        if not wait:
            return 0
        return await follow_deletion(
            api, NodePool, name, project=context.project, timeout_s=timeout_s
        )
