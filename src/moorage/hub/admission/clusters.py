"""Is this cluster, with these node pools, possible here? Every fault at once."""

from collections.abc import Iterator, Sequence

from moorage.hub.admission.estate import Estate, cluster_key
from moorage.hub.admission.networks import network_faults
from moorage.kit.errors import FieldFault
from moorage.planning.addresses import by_family, needed_by, share_out
from moorage.resources import Cluster, NodePool
from moorage.resources.cluster import ClusterSpec
from moorage.resources.kubernetes import KubernetesVersion
from moorage.resources.meta import Document
from moorage.resources.nodepool import NodePoolSpec
from moorage.resources.references import pool_paths

CONTROL_PLANE_WORD = "cp"
"""Stands in machine names where workers have their pool's name."""

_FIXED = {
    "account": "is fixed: the machines live in that account's vCenter",
    "placement.datacenter": "is fixed: the machines live there",
    "placement.folder": "is fixed: the machines are looked for there",
    "placement.folderPerCluster": "is fixed: the machines are looked for there",
    "network": "is fixed: kubeadm founded the cluster with it",
    "endpoint": "is fixed: certificates and kubeconfigs name it",
    "keyType": "is fixed: the certificate authorities were made with it",
    "cloudProvider": "is fixed: the nodes were joined with it",
}
_SHAPE = (
    "cpus",
    "memoryMib",
    "diskGib",
    "extraDisks",
    "cpuAllocation",
    "memoryAllocation",
    "labels",
    "taints",
)
_NO_ROLLOUT = (
    "cannot change on machines that exist, and replacing them one by one is not in this release"
)


def cluster_faults(
    cluster: Cluster,
    pools: Sequence[NodePool],
    estate: Estate,
    *,
    before: Cluster | None = None,
    more: Sequence[NodePool] = (),
) -> list[FieldFault]:
    """Return every fault of a cluster about to be stored.

    ``pools`` are the node pools that stay as they are, ``more`` those stored with the cluster
    (judged by ``pool_faults``): together they are all.
    """
    spec = cluster.spec
    faults = [*(_changes(before.spec, spec) if before else ()), *_references(cluster, estate)]
    faults += network_faults(cluster, estate)
    faults += _head_room(cluster, [*pools, *more], estate, before=before)
    domains = {domain.name for domain in spec.placement.failure_domains}
    for pool in pools:
        lost = sorted(set(pool.spec.failure_domains) - domains)
        if lost:
            faults.append(
                FieldFault(
                    "spec.placement.failureDomains",
                    f"node pool {pool.spec.pool} uses {', '.join(lost)}: change the pool first",
                )
            )
    return faults


def pool_faults(
    pool: NodePool,
    cluster: Cluster | None,
    estate: Estate,
    *,
    before: NodePool | None = None,
    others: Sequence[NodePool] = (),
    path: str = "spec",
    with_head_room: bool = True,
) -> list[FieldFault]:
    """Return every fault of one node pool.

    ``others`` are the cluster's other pools; ``path`` leads to the pool's fields in what the
    client sent.
    """
    spec = pool.spec
    if cluster is None:
        return [FieldFault("spec.cluster", f"there is no cluster {spec.cluster} in this project")]
    faults = []
    if before is None and cluster.is_deleting:
        faults.append(FieldFault("spec.cluster", f"cluster {spec.cluster} is being deleted"))
    if spec.pool == CONTROL_PLANE_WORD:
        faults.append(
            FieldFault(
                f"{path}.pool" if path == "spec" else f"{path}.name",
                f"{CONTROL_PLANE_WORD!r} stands for the control plane",
            )
        )
    if before is not None:
        faults += _pool_changes(before.spec, spec, path)
    known = {domain.name for domain in cluster.spec.placement.failure_domains}
    faults += _pool_domains(pool, known, path)
    if with_head_room and (before is None or spec.replicas > before.spec.replicas):
        faults += _head_room(cluster, [*others, pool], estate, before=cluster)
    return faults


def _references(cluster: Cluster, estate: Estate) -> Iterator[FieldFault]:
    spec = cluster.spec
    account = estate.accounts.get(spec.account)
    if account is None or account.is_deleting:
        known = ", ".join(sorted(estate.accounts)) or "none"
        yield FieldFault("spec.account", f"there is no account {spec.account} (there are: {known})")
    for path, name in pool_paths(spec):
        pool = estate.ip_pools.get(name)
        if pool is None or pool.is_deleting:
            known = ", ".join(sorted(estate.ip_pools)) or "none"
            yield FieldFault(path, f"there is no IP pool {name} (there are: {known})")
            continue
        if account is not None and pool.spec.gateway != account.spec.gateway:
            yield FieldFault(
                path,
                f"IP pool {name} belongs to gateway {pool.spec.gateway}, but account "
                f"{spec.account} to {account.spec.gateway}: use a pool of that gateway",
            )
        if not pool.spec.restrict_to_single_cluster:
            continue
        others = estate.tally.users_of_pool(name) - {cluster_key(cluster)}
        if others:
            yield FieldFault(
                path,
                f"IP pool {name} is restricted to a single cluster and serves "
                f"{', '.join(sorted(others))}: use another pool",
            )


def _head_room(
    cluster: Cluster, pools: Sequence[NodePool], estate: Estate, *, before: Cluster | None
) -> Iterator[FieldFault]:
    """Count what others hold or will take against what each IP pool can give."""
    pools_here = estate.ip_pools
    versions = {name: pool.spec.version for name, pool in pools_here.items()}
    wanted = by_family(needed_by(cluster, pools), versions)
    known = by_family(estate.tally.needed(before.metadata.uid), versions) if before else {}
    if all(count <= known.get(names, 0) for names, count in wanted.items()):
        return
    room = estate.tally.room_for(cluster_key(cluster), cluster.spec.ip_pools(), pools_here)
    for names in share_out(wanted, dict(room)):
        if wanted[names] <= known.get(names, 0):
            continue
        usable = sum(pools_here[name].spec.usable() for name in names)
        taken = usable - sum(room[name] for name in names)
        which = (
            f"IP pool {names[0]} has" if len(names) == 1 else f"IP pools {', '.join(names)} have"
        )
        yield FieldFault(
            _path_of_pool(cluster.spec, names[0]),
            f"{which} {usable} addresses, {taken} of them taken by other clusters; this one needs "
            f"{wanted[names]} (machines, endpoint, and one more to replace a machine): widen the "
            "pool, name another one beside it, or ask for fewer machines",
        )


def _path_of_pool(spec: ClusterSpec, name: str) -> str:
    found = (path for path, named in pool_paths(spec) if named == name)
    return next(found, "spec.endpoint.ipPool")


def _changes(before: ClusterSpec, after: ClusterSpec) -> Iterator[FieldFault]:
    old, new = before.document(), after.document()
    for path, why in _FIXED.items():
        if _at(old, path) != _at(new, path):
            yield FieldFault(f"spec.{path}", f"{why} (it is {_short(_at(old, path))})")
    # More pools may come after the first ones: the endpoint has its address.
    was, now = before.vip_pools(), after.vip_pools()
    if was != now[: len(was)] and before.endpoint == after.endpoint:
        yield FieldFault(
            "spec.placement.failureDomains[0]"
            + (".ipPools" if len(now) > 1 or len(was) > 1 else ".ipPool"),
            f"is fixed: the endpoint comes from it (it is {', '.join(was)})",
        )
    yield from _version(before.kubernetes_version, after.kubernetes_version)
    if after.control_plane.replicas < before.control_plane.replicas:
        yield FieldFault(
            "spec.controlPlane.replicas",
            f"cannot shrink from {before.control_plane.replicas} to {after.control_plane.replicas}",
        )
    for field in _SHAPE:
        path = f"controlPlane.{field}"
        if _at(old, path) != _at(new, path):
            yield FieldFault(f"spec.{path}", f"{_NO_ROLLOUT} (it is {_short(_at(old, path))})")


def _version(before: str, after: str) -> Iterator[FieldFault]:
    old, new = KubernetesVersion.parse(before), KubernetesVersion.parse(after)
    path = "spec.kubernetesVersion"
    if new < old:
        yield FieldFault(path, f"cannot go back from {old} to {new}: Kubernetes has no downgrade")
    elif (new.major, new.minor) > (old.major, old.minor + 1):
        step = f"v{old.major}.{old.minor + 1}"
        yield FieldFault(path, f"{new} skips a minor release: from {old} the next one is {step}")
    elif new != old:
        yield FieldFault(
            path,
            f"cannot change from {old} to {new}: upgrading a running cluster is not in this "
            "release; make a new cluster of that version",
        )


def _pool_changes(before: NodePoolSpec, after: NodePoolSpec, path: str) -> Iterator[FieldFault]:
    for field in ("cluster", "pool"):
        if getattr(before, field) != getattr(after, field):
            yield FieldFault(f"{path}.{field}", f"is fixed (it is {getattr(before, field)})")
    if before.replicas == 0:
        return
    old, new = before.document(), after.document()
    for field in _SHAPE:
        if _at(old, field) != _at(new, field):
            yield FieldFault(
                f"{path}.{field}",
                f"{_NO_ROLLOUT}: make another pool, or scale this one to 0 first "
                f"(it is {_short(_at(old, field))})",
            )


def _pool_domains(pool: NodePool, known: set[str], path: str) -> Iterator[FieldFault]:
    for index, name in enumerate(pool.spec.failure_domains):
        if name not in known:
            yield FieldFault(
                f"{path}.failureDomains[{index}]",
                f"the cluster has no failure domain {name} (it has {', '.join(sorted(known))})",
            )


def _at(document: Document, path: str) -> object:
    value: object = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _short(value: object) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"  # noqa: PLR2004 - one line of a terminal
