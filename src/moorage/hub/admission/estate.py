"""What admission looks at: the resources around the one that is written. No I/O here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from moorage.resources import (
    CloudAccount,
    Cluster,
    Gateway,
    IPAddress,
    IPPool,
    NodePool,
    Secret,
)
from moorage.resources.cluster import ClusterSpec, EndpointType
from moorage.resources.ippool import IPPoolSpec


@dataclass(frozen=True, slots=True)
class Estate:
    """A consistent picture: all of one gateway's, and the hub-wide kinds by name."""

    gateways: Mapping[str, Gateway] = field(default_factory=dict)
    accounts: Mapping[str, CloudAccount] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ip_pools: Mapping[str, IPPool] = field(default_factory=dict)
    clusters: Sequence[Cluster] = ()
    """Of every project."""
    node_pools: Sequence[NodePool] = ()
    addresses: Sequence[IPAddress] = ()
    recovery_key_id: str | None = None
    """``key_id`` of the installation's recovery key, once there is one."""
    _pools: dict[str, list[NodePool]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Asked for each cluster of the estate: a search through all pools would be quadratic.
        pools: dict[str, list[NodePool]] = {}
        for pool in self.node_pools:
            if pool.metadata.owner and not pool.is_deleting:
                pools.setdefault(pool.metadata.owner.uid, []).append(pool)
        object.__setattr__(self, "_pools", pools)

    def pools_of(self, cluster: Cluster) -> list[NodePool]:
        """Return the node pools of a cluster, those being deleted left out."""
        return self._pools.get(cluster.metadata.uid, [])

    def claims(self, ip_pool: str) -> list[IPAddress]:
        """Return the addresses that the gateway has claimed from a pool."""
        return [address for address in self.addresses if address.spec.pool == ip_pool]

    def users_of_pool(self, ip_pool: str) -> set[str]:
        """Return ``project/name`` of the clusters that name the pool or hold its addresses."""
        named = {cluster_key(c) for c in self.clusters if ip_pool in c.spec.ip_pools()}
        return named | {claim.spec.cluster for claim in self.claims(ip_pool)}


def cluster_key(cluster: Cluster) -> str:
    """Return ``project/name``, as IPAddress names a cluster."""
    return f"{cluster.metadata.project}/{cluster.metadata.name}"


def vip_pool(spec: ClusterSpec) -> str | None:
    """Return the pool that a claimed VIP comes from."""
    return spec.endpoint.ip_pool or spec.placement.failure_domains[0].ip_pool


def network_of(pool: IPPoolSpec) -> IPv4Network:
    """Return the network that the pool's addresses live in."""
    return IPv4Network((pool.router, pool.prefix_length), strict=False)


def needed_addresses(
    spec: ClusterSpec, groups: Sequence[tuple[int, Sequence[str]]]
) -> Counter[str]:
    """Return how many addresses a cluster takes from each IP pool.

    ``groups`` are (replicas, failure domains) of the control plane and of each node pool;
    machines spread evenly, the earlier domains first. One more for each IP pool that machines
    use lets a machine be replaced by making the new one first.
    """
    domains = {domain.name: domain.ip_pool for domain in spec.placement.failure_domains}
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
    from_pool = vip_pool(spec)
    if spec.endpoint.type is EndpointType.VIP and spec.endpoint.host is None and from_pool:
        needed[from_pool] += 1
    return needed


def needed_by(cluster: Cluster, pools: Sequence[NodePool]) -> Counter[str]:
    """Return how many addresses a stored cluster takes from each IP pool."""
    plane = cluster.spec.control_plane
    groups: list[tuple[int, Sequence[str]]] = [(plane.replicas, plane.failure_domains)]
    groups += [(pool.spec.replicas, pool.spec.failure_domains) for pool in pools]
    return needed_addresses(cluster.spec, groups)
