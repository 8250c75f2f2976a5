"""``moorage clusters``: create and operate Kubernetes clusters."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.moves import MOVE_EXAMPLES, move
from moorage.cli.plans import PLAN_EXAMPLES
from moorage.cli.plans import plan as plan_cluster
from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError

if TYPE_CHECKING:
    from moorage.resources import NodePool

app = App(name="clusters", help="Create and operate Kubernetes clusters.")
app.command(move, help_epilogue=MOVE_EXAMPLES)
app.command(plan_cluster, name="plan", help_epilogue=PLAN_EXAMPLES)

_CREATE_TIMEOUT_S = 1800.0
_SHOWN = 20


@app.command(
    help_epilogue=examples(
        "moorage clusters apply -f cluster.yaml --wait",
        "moorage clusters apply -f cluster.yaml --dry-run",
        "cat *.yaml | moorage clusters apply -f -",
        "moorage clusters apply --plan demo-7hk2m4x9qd --wait",
    )
)
async def apply(
    *,
    file: Annotated[
        Path | None, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)
    ] = None,
    plan: str | None = None,
    dry_run: bool = False,
    wait: bool = False,
    timeout_s: float = _CREATE_TIMEOUT_S,
) -> int:
    """Create or update clusters from a YAML file. Applying twice changes nothing.

    A pool that the file does not name is left alone: absence never means delete.

    Args:
        file: YAML with documents of kind Cluster; - for standard input.
        plan: Apply this plan instead: what `moorage clusters plan` has shown, or nothing.
        dry_run: Validate and admit only; nothing is stored.
        wait: Stay until every node is Ready, with a live view.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.documents import check_cluster, read_documents
    from moorage.cli.plans import apply_by_name

    if (file is None) == (plan is None):
        raise InvalidError("give either --file or --plan")
    if plan is not None:
        return await apply_by_name(plan, dry_run=dry_run, wait=wait, timeout_s=timeout_s)
    assert file is not None  # noqa: S101 - one of them is given
    documents = read_documents(file, "Cluster")
    for document in documents:
        check_cluster(document)
    return await _apply(documents, dry_run=dry_run, wait=wait, timeout_s=timeout_s)


@app.command(
    help_epilogue=examples(
        "moorage clusters create demo --account prod --version v1.34.4 --datacenter dc1 \\\n"
        "    --folder clusters --template templates/ubuntu-kube-v1.34.4 \\\n"
        "    --failure-domain cc1,ds1,nodes,pool-a --failure-domain cc2,ds1,nodes,pool-a \\\n"
        "    --control-plane 3 --workers 2 --wait",
    )
)
async def create(
    name: str,
    *,
    account: str,
    version: str,
    datacenter: str,
    folder: str,
    template: str,
    failure_domain: list[str],
    control_plane: Literal[1, 3, 5] = 1,
    workers: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    cpus: int = 2,
    memory_mib: int = 4096,
    endpoint: str | None = None,
    ssh_key: list[str] | None = None,
    dry_run: bool = False,
    wait: bool = False,
    timeout_s: float = _CREATE_TIMEOUT_S,
) -> int:
    """Create a cluster from flags; `apply -f` knows every field.

    Args:
        name: Name of the cluster.
        account: Cloud account whose vCenter is used.
        version: Kubernetes version, such as v1.34.4.
        datacenter: Datacenter.
        folder: VM folder for the machines.
        template: Template to clone.
        failure_domain: COMPUTE_CLUSTER,DATASTORE,NETWORK[,IP_POOL]; may be repeated.
        control_plane: Number of control-plane machines.
        workers: Number of worker machines.
        cpus: Processors of each machine.
        memory_mib: Memory of each machine in MiB.
        endpoint: Address of the Kubernetes API; from the first IP pool by default.
        ssh_key: Public key that may log in to the nodes; may be repeated.
        dry_run: Validate and admit only.
        wait: Stay until every node is Ready.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.documents import check_cluster

    size = {"cpus": cpus, "memoryMib": memory_mib}
    document: dict[str, Any] = {
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {
            "account": account,
            "kubernetesVersion": version,
            "placement": {
                "datacenter": datacenter,
                "folder": folder,
                "template": template,
                "failureDomains": [_domain(text, i) for i, text in enumerate(failure_domain, 1)],
            },
            "endpoint": {"host": endpoint} if endpoint else {},
            "controlPlane": {"replicas": control_plane, **size},
            "node": {"sshKeys": ssh_key or []},
        },
        "nodePools": [{"name": "workers", "replicas": workers, **size}] if workers else [],
    }
    check_cluster(document)
    return await _apply([document], dry_run=dry_run, wait=wait, timeout_s=timeout_s, new=True)


@app.command(
    name="list",
    help_epilogue=examples(
        "moorage clusters list", "moorage clusters list -l env=prod,tier!=test -o yaml"
    ),
)
async def list_(
    *, selector: Annotated[str | None, Parameter(name=["--selector", "-l"])] = None
) -> None:
    """List the clusters of the project.

    Args:
        selector: Label selector, such as env=prod,tier!=test.
    """
    from moorage.cli.clusterview import founders
    from moorage.cli.context import Context
    from moorage.cli.output import age, show_list
    from moorage.resources import Cluster
    from moorage.resources.phase import phase

    context = Context.current()
    async with context.api() as api:
        items = await api.list(Cluster, project=context.project, selector=selector)
    show_list(
        items,
        (
            ("NAME", lambda c: c.metadata.name),
            ("STATE", phase),
            ("VERSION", lambda c: c.status.kubernetes_version or c.spec.kubernetes_version),
            ("CONTROL PLANE", founders),
            ("NODES", lambda c: f"{c.status.nodes_ready}/{c.status.nodes}"),
            ("ENDPOINT", lambda c: c.status.endpoint or "-"),
            ("ACCOUNT", lambda c: c.spec.account),
            ("AGE", lambda c: age(c.metadata.created_at)),
        ),
    )


@app.command(
    help_epilogue=examples(
        "moorage clusters describe demo",
        "moorage clusters describe demo --all",
        "moorage clusters describe demo -o yaml",
    )
)
async def describe(name: str, *, all_: Annotated[bool, Parameter(name="--all")] = False) -> None:
    """Show a cluster, its machines, and what each waits for.

    Of many machines those that wait are shown first, and at most 20.

    Args:
        name: Name of the cluster.
        all_: Show every machine.
    """
    from moorage.cli.clusterview import describe_cluster
    from moorage.cli.context import Context
    from moorage.cli.live import machines_of
    from moorage.cli.output import show_one
    from moorage.resources import Cluster, NodePool

    context = Context.current()
    async with context.api() as api:
        cluster = await api.get(Cluster, name, project=context.project)
        pools = [
            p for p in await api.list(NodePool, project=context.project) if p.spec.cluster == name
        ]
        machines = await machines_of(api, name, context.project)
    limit = len(machines) if all_ else _SHOWN
    show_one(cluster, lambda: describe_cluster(cluster, pools, machines, limit))


@app.command(help_epilogue=examples("moorage clusters scale demo workers --replicas 5 --wait"))
async def scale(
    cluster: str,
    pool: str,
    *,
    replicas: Annotated[int, Parameter(validator=Number(gte=0))],
    wait: bool = False,
    timeout_s: float = _CREATE_TIMEOUT_S,
) -> int:
    """Set how many nodes a node pool has.

    Args:
        cluster: Name of the cluster.
        pool: Name of the node pool.
        replicas: How many nodes to keep.
        wait: Stay until the pool is ready.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.context import Context
    from moorage.cli.live import follow_cluster
    from moorage.resources import NodePool
    from moorage.resources.nodepool import pool_resource_name

    def resize(found: "NodePool") -> None:
        found.spec.replicas = replicas

    context = Context.current()
    async with context.api() as api:
        name = pool_resource_name(cluster, pool)
        await api.change_spec(NodePool, name, resize, project=context.project)
        say(f"pool {pool} of {cluster} is asked for {replicas} nodes")
        if not wait:
            return 0
        return await follow_cluster(api, cluster, project=context.project, timeout_s=timeout_s)


@app.command(
    help_epilogue=examples(
        "moorage clusters kubeconfig demo > demo.kubeconfig",
        "moorage clusters kubeconfig demo --file demo.kubeconfig --ttl-hours 1",
        "kubectl --kubeconfig demo.kubeconfig get nodes",
    )
)
async def kubeconfig(
    name: str,
    *,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    server: str | None = None,
    ttl_hours: Annotated[float, Parameter(validator=Number(gte=1 / 60, lte=168))] = 8,
    timeout_s: float = 60,
) -> None:
    """Get a short-lived kubeconfig. The private key is made here and never leaves.

    Args:
        name: Name of the cluster.
        file: Where to write it, readable by you only; standard output by default.
        server: Another address that leads to the API, such as https://127.0.0.1:6443.
        ttl_hours: Life of the certificate.
        timeout_s: How long to wait for the gateway's signature.
    """
    from moorage.cli.config import write_private
    from moorage.cli.context import Context
    from moorage.cli.kubeconfig import make_kubeconfig

    context = Context.current()
    async with context.api() as api:
        text = await make_kubeconfig(
            api,
            context,
            name,
            server=server,
            ttl_s=max(60, round(ttl_hours * 3600)),
            timeout_s=timeout_s,
        )
    if file is None:
        sys.stdout.write(text)
        return
    write_private(file, text)
    say(f"kubeconfig of {name} written to {file}")


@app.command(help_epilogue=examples("moorage clusters delete demo --wait"))
async def delete(
    name: str,
    *,
    yes: bool = False,
    wait: bool = False,
    timeout_s: float = _CREATE_TIMEOUT_S,
) -> int:
    """Delete a cluster with its machines, disks and addresses.

    Args:
        name: Name of the cluster.
        yes: Do not ask for the name again.
        wait: Stay until all is gone.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.ask import confirm_name
    from moorage.cli.context import Context
    from moorage.cli.live import follow_deletion
    from moorage.resources import Cluster

    context = Context.current()
    async with context.api() as api:
        await api.get(Cluster, name, project=context.project)
        if not yes:
            confirm_name("cluster", name, "and all of its machines and their disks")
        await api.delete(Cluster, name, project=context.project)
        say(f"cluster {name} is being deleted")
        if not wait:
            return 0
        return await follow_deletion(
            api, Cluster, name, project=context.project, timeout_s=timeout_s
        )


async def _apply(
    documents: list[dict[str, Any]],
    *,
    dry_run: bool,
    wait: bool,
    timeout_s: float,
    new: bool = False,
) -> int:
    """Send all documents, then follow all: a fault in a later one stops before the waiting."""
    import time

    from moorage.cli.context import Context
    from moorage.cli.live import follow_cluster
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format

    context = Context.current()
    sent: list[tuple[str, str]] = []
    async with context.api() as api:
        answers = []
        for document in documents:
            project = document["metadata"].get("project") or context.project
            answers.append(
                await api.apply_cluster(document, project=project, dry_run=dry_run, new=new)
            )
            sent.append((str(project), str(document["metadata"]["name"])))
            word = "would be accepted" if dry_run else "created" if new else "applied"
            say(f"cluster {sent[-1][1]} {word}")
        if output_format() != "table" and not wait:
            show_document(answers[0] if len(answers) == 1 else answers)
        if dry_run or not wait:
            return 0
        end = time.monotonic() + timeout_s
        codes = []
        for project, name in sent:
            left = max(0.0, end - time.monotonic())
            codes.append(await follow_cluster(api, name, project=project, timeout_s=left))
    return max(codes)


def _domain(text: str, number: int) -> dict[str, Any]:
    match [part.strip() for part in text.split(",")]:
        case [cluster, datastore, network, *pool] if len(pool) <= 1 and all(
            (cluster, datastore, network, *pool)
        ):
            domain = {
                "name": f"fd{number}",
                "computeCluster": cluster,
                "datastore": datastore,
                "network": network,
            }
            return {**domain, "ipPool": pool[0]} if pool else domain
    raise InvalidError(
        f"--failure-domain {text!r}: give COMPUTE_CLUSTER,DATASTORE,NETWORK[,IP_POOL]"
    )
