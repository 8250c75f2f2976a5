"""How many addresses a cluster takes from which IP pool. Pure arithmetic."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from moorage.resources import Cluster, NodePool
from moorage.resources.cluster import ClusterSpec, EndpointType


class Shape(NamedTuple):
    """The part of a cluster that says where its addresses come from."""

    domains: tuple[tuple[str, str | None], ...]
    """Failure domains, in order, each with its IP pool."""
    vip_from: str | None
    """Pool that the VIP is claimed from, if it is."""


class Group(NamedTuple):
    """The control plane or a node pool."""

    replicas: int
    domains: tuple[str, ...]
    """Names of failure domains; empty means all."""


def shape_of(spec: ClusterSpec) -> Shape:
    """Return what the count needs of a cluster."""
    claims_vip = spec.endpoint.type is EndpointType.VIP and spec.endpoint.host is None
    domains = ((domain.name, domain.ip_pool) for domain in spec.placement.failure_domains)
    return Shape(tuple(domains), vip_pool(spec) if claims_vip else None)


def control_plane_of(spec: ClusterSpec) -> Group:
    """Return the control plane as a group."""
    return Group(spec.control_plane.replicas, tuple(spec.control_plane.failure_domains))


def group_of(pool: NodePool) -> Group:
    """Return a node pool as a group."""
    return Group(pool.spec.replicas, tuple(pool.spec.failure_domains))


def vip_pool(spec: ClusterSpec) -> str | None:
    """Return the pool that a claimed VIP comes from."""
    return spec.endpoint.ip_pool or spec.placement.failure_domains[0].ip_pool


def needed_addresses(shape: Shape, groups: Sequence[Group]) -> Counter[str]:
    """Return how many addresses a cluster takes from each IP pool.

    Machines of a group spread evenly, the earlier domains first. One more for each IP pool that
    machines use lets a machine be replaced by making the new one first.
    """
    domains = dict(shape.domains)
    needed: Counter[str] = Counter()
    for replicas, names in groups:
        allowed = [name for name in names if name in domains] or list(domains)
        share, rest = divmod(replicas, len(allowed))
        for index, name in enumerate(allowed):
            pool = domains[name]
            count = share + (1 if index < rest else 0)
            if pool and count:
                needed[pool] += count
    for pool in list(needed):
        needed[pool] += 1
    if shape.vip_from:
        needed[shape.vip_from] += 1
    return needed


def needed_by(cluster: Cluster, pools: Sequence[NodePool]) -> Counter[str]:
    """Return how many addresses a cluster with these node pools takes from each IP pool."""
    groups = [control_plane_of(cluster.spec), *map(group_of, pools)]
    return needed_addresses(shape_of(cluster.spec), groups)
