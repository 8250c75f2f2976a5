"""``moorage clusters``: create and operate Kubernetes clusters."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from moorage.cli.context import Context, output_format, stderr
from moorage.cli.documents import faults_of, read_documents
from moorage.cli.kubeconfig import make_kubeconfig
from moorage.cli.live import follow_cluster, follow_deletion
from moorage.cli.output import age, describe_resource, phase, show_document, show_list, show_one
from moorage.kit.errors import InvalidError
from moorage.resources import Cluster, Machine, NodePool
from moorage.resources.nodepool import PoolShape, pool_resource_name

app = App(name="clusters", help="Create and operate Kubernetes clusters.")

_CREATE_TIMEOUT_S = 1800.0


@app.command
async def apply(
    *,
    file: Annotated[Path, Parameter(name=["--file", "-f"])],
    dry_run: bool = False,
    wait: bool = False,
    timeout_s: float = _CREATE_TIMEOUT_S,
) -> int:
    """Create or update clusters from a YAML file. Applying twice changes nothing.

    A pool that the file does not name is left alone: absence never means delete.

    Examples:
        moorage clusters apply -f cluster.yaml --wait

    Args:
        file: YAML with documents of kind Cluster; - for standard input.
        dry_run: Validate and admit only; nothing is stored.
        wait: Stay until every node is Ready, with a live view.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    documents = read_documents(file, "Cluster")
    for document in documents:
        check_document(document)
    return await _apply(documents, dry_run=dry_run, wait=wait, timeout_s=timeout_s)


@app.command
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

    Examples:
        moorage clusters create demo --account prod --version v1.34.4 --datacenter dc1 \
            --folder clusters --template templates/ubuntu-kube-v1.34.4 \
            --failure-domain cc1,ds1,nodes,pool-a --control-plane 3 --workers 2 --wait

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
    check_document(document)
    return await _apply([document], dry_run=dry_run, wait=wait, timeout_s=timeout_s)


@app.command(name="list")
async def list_(
    *, selector: Annotated[str | None, Parameter(name=["--selector", "-l"])] = None
) -> None:
    """List the clusters of the project.

    Args:
        selector: Label selector, such as env=prod,tier!=test.
    """
    context = Context.current()
    async with context.api() as api:
        items = await api.list(Cluster, project=context.project, selector=selector)
    show_list(
        items,
        (
            ("NAME", lambda c: c.metadata.name),
            ("STATE", phase),
            ("VERSION", lambda c: c.status.kubernetes_version or c.spec.kubernetes_version),
            ("ENDPOINT", lambda c: c.status.endpoint or "-"),
            ("NODES", lambda c: f"{c.status.nodes_ready}/{c.status.nodes}"),
            ("AGE", lambda c: age(c.metadata.created_at)),
        ),
    )


@app.command
async def describe(name: str) -> None:
    """Show a cluster, its machines, and what each waits for.

    Args:
        name: Name of the cluster.
    """
    context = Context.current()
    async with context.api() as api:
        cluster = await api.get(Cluster, name, project=context.project)
        pools = await api.list(NodePool, project=context.project)
        machines = await api.list(Machine, project=context.project)
    facts: list[tuple[str, Any]] = [
        ("account", cluster.spec.account),
        ("version", cluster.status.kubernetes_version or cluster.spec.kubernetes_version),
        ("endpoint", cluster.status.endpoint),
        ("layers", ", ".join(cluster.status.layers.values())),
        ("nodes", f"{cluster.status.nodes_ready} of {cluster.status.nodes} Ready"),
    ]
    facts += [
        (f"pool {p.spec.pool}", f"{p.status.ready} of {p.spec.replicas} Ready, {phase(p)}")
        for p in pools
        if p.spec.cluster == name
    ]
    for machine in machines:
        if machine.spec.cluster == name:
            ready = machine.status.condition("Ready")
            why = f": {ready.message}" if ready and ready.status != "True" else ""
            domain = machine.spec.failure_domain.name
            facts.append((machine.metadata.name, f"{phase(machine)} in {domain}{why}"))
    show_one(cluster, lambda: describe_resource(cluster, facts))


@app.command
async def scale(
    cluster: str,
    pool: str,
    *,
    replicas: Annotated[int, Parameter(validator=Number(gte=0))],
    wait: bool = False,
    timeout_s: float = _CREATE_TIMEOUT_S,
) -> int:
    """Set how many nodes a node pool has.

    Examples:
        moorage clusters scale demo workers --replicas 5 --wait

    Args:
        cluster: Name of the cluster.
        pool: Name of the node pool.
        replicas: How many nodes to keep.
        wait: Stay until the pool is ready.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    context = Context.current()
    async with context.api() as api:
        name = pool_resource_name(cluster, pool)
        found = await api.get(NodePool, name, project=context.project)
        found.spec.replicas = replicas
        await api.put_spec(found)
        stderr().print(f"{cluster}/{pool} asked for {replicas} nodes")
        if not wait:
            return 0
        return await follow_cluster(api, cluster, project=context.project, timeout_s=timeout_s)


@app.command
async def kubeconfig(
    name: str,
    *,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    server: str | None = None,
    ttl_hours: Annotated[float, Parameter(validator=Number(gt=0, lte=168))] = 8,
    timeout_s: float = 60,
) -> None:
    """Get a short-lived kubeconfig. The private key is made here and never leaves.

    Examples:
        moorage clusters kubeconfig demo > demo.kubeconfig
        KUBECONFIG=demo.kubeconfig kubectl get nodes

    Args:
        name: Name of the cluster.
        file: Where to write it, readable by you only; standard output by default.
        server: Another address that leads to the API, such as https://127.0.0.1:6443.
        ttl_hours: Life of the certificate.
        timeout_s: How long to wait for the gateway's signature.
    """
    context = Context.current()
    async with context.api() as api:
        text = await make_kubeconfig(
            api, context, name, server=server, ttl_s=ttl_hours * 3600, timeout_s=timeout_s
        )
    if file is None:
        sys.stdout.write(text)
        return
    write_private(file, text)
    stderr().print(f"kubeconfig of {name} written to {file}")


@app.command
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
    context = Context.current()
    async with context.api() as api:
        await api.get(Cluster, name, project=context.project)
        if not yes:
            if not sys.stdin.isatty():
                raise InvalidError(f"deleting {name} destroys its machines: add --yes")
            if input("Type the name of the cluster to delete it with its machines: ") != name:
                raise InvalidError("the name does not match; nothing was deleted")
        await api.delete(Cluster, name, project=context.project)
        stderr().print(f"cluster {name} is being deleted")
        if not wait:
            return 0
        return await follow_deletion(
            api, Cluster, name, project=context.project, timeout_s=timeout_s
        )


def check_document(document: dict[str, Any]) -> None:
    """Raise ``InvalidError`` with every fault that the document alone shows."""
    faults = []
    body = {key: value for key, value in document.items() if key != "nodePools"}
    try:
        Cluster.model_validate(body)
    except ValidationError as error:
        faults += list(faults_of(error))
    for index, pool in enumerate(document.get("nodePools") or []):
        shape = {k: v for k, v in pool.items() if k != "name"} if isinstance(pool, dict) else pool
        try:
            PoolShape.model_validate(shape)
        except ValidationError as error:
            faults += [type(f)(f"nodePools[{index}].{f.path}", f.message) for f in faults_of(error)]
    if faults:
        name = document.get("metadata", {}).get("name", "?")
        raise InvalidError(f"cluster {name} is not valid", tuple(faults))


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, as a whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


async def _apply(
    documents: list[dict[str, Any]], *, dry_run: bool, wait: bool, timeout_s: float
) -> int:
    context = Context.current()
    names = [str(document["metadata"]["name"]) for document in documents]
    async with context.api() as api:
        answers = []
        for document in documents:
            project = document["metadata"].get("project") or context.project
            answers.append(await api.apply_cluster(document, project=project, dry_run=dry_run))
        if output_format() != "table" and not wait:
            show_document(answers[0] if len(answers) == 1 else answers)
        for name in names:
            stderr().print(f"cluster {name} " + ("would be accepted" if dry_run else "applied"))
        if dry_run or not wait:
            return 0
        codes = [
            await follow_cluster(api, name, project=context.project, timeout_s=timeout_s)
            for name in names
        ]
    return max(codes)


def _domain(text: str, number: int) -> dict[str, Any]:
    match [part.strip() for part in text.split(",")]:
        case [cluster, datastore, network, *pool] if len(pool) <= 1 and cluster and network:
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
