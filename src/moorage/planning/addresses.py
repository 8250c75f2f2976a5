"""Which address comes next, and how many a cluster takes from which IP pools: the one rule."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from moorage.planning.placement import choose_failure_domains
from moorage.resources import Cluster, IPPool, NodePool
from moorage.resources.cluster import ClusterSpec, EndpointType
from moorage.resources.ippool import IPPoolSpec
from moorage.resources.spans import Address, address_of

Pools = tuple[str, ...]
"""IP pools of one family, in the order in which they are asked for an address."""


class Source(NamedTuple):
    """Where addresses come from."""

    pools: Pools
    """In order; of both families, perhaps."""
    is_vip: bool = False
    """One address, of the first pool's family. A network card takes one of each family."""


class Shape(NamedTuple):
    """The part of a cluster that says where its addresses come from."""

    domains: tuple[tuple[str, tuple[Source, ...]], ...]
    """Failure domains, in order, each with what a machine there takes."""
    vip: Source | None
    """Where the VIP is claimed from, if it is."""


class Group(NamedTuple):
    """The control plane or a node pool."""

    replicas: int
    domains: tuple[str, ...]
    """Names of failure domains; empty means all."""


def free_addresses(pool: IPPoolSpec, taken: Collection[Address]) -> Iterator[Address]:
    """Yield the addresses of the pool that are not taken, the lowest first."""
    held = {int(address) for address in taken}
    version = pool.version
    return (address_of(number, version) for number in pool.numbers() if number not in held)


def shape_of(spec: ClusterSpec) -> Shape:
    """Return what the count needs of a cluster."""
    endpoint = spec.endpoint
    claims_vip = endpoint.type is EndpointType.VIP and endpoint.host is None
    vip = spec.vip_pools() if claims_vip else ()
    domains = (
        (domain.name, tuple(Source(pools) for _, pools in domain.cards() if pools))
        for domain in spec.placement.failure_domains
    )
    return Shape(tuple(domains), Source(vip, is_vip=True) if vip else None)


def control_plane_of(spec: ClusterSpec) -> Group:
    """Return the control plane as a group."""
    return Group(spec.control_plane.replicas, tuple(spec.control_plane.failure_domains))


def group_of(pool: NodePool) -> Group:
    """Return a node pool as a group."""
    return Group(pool.spec.replicas, tuple(pool.spec.failure_domains))


def needed_addresses(shape: Shape, groups: Iterable[Group]) -> Counter[Source]:
    """Return how many addresses a cluster takes from where, as if each failure domain had room.

    One more for each source of machines lets a machine be replaced by making the new one first.
    """
    domains = dict(shape.domains)
    needed: Counter[Source] = Counter()
    for replicas, names in groups:
        allowed = [name for name in names if name in domains] or list(domains)
        for name, machines in Counter(choose_failure_domains(allowed, (), replicas)).items():
            needed.update(dict.fromkeys(domains[name], machines))
    for source in list(needed):
        needed[source] += 1
    if shape.vip is not None:
        needed[shape.vip] += 1
    return needed


def needed_by(cluster: Cluster, pools: Sequence[NodePool]) -> Counter[Source]:
    """Return how many addresses a cluster with these node pools takes from where."""
    groups = [control_plane_of(cluster.spec), *map(group_of, pools)]
    return needed_addresses(shape_of(cluster.spec), groups)


def by_family(wanted: Mapping[Source, int], versions: Mapping[str, int]) -> Counter[Pools]:
    """Return how many addresses are taken from which pools of one family.

    ``versions`` says which IP version each known pool is of; others are left out.
    """
    split: Counter[Pools] = Counter()
    for source, count in wanted.items():
        known = [name for name in source.pools if name in versions]
        families = dict.fromkeys(versions[name] for name in known)
        for version in list(families)[:1] if source.is_vip else families:
            split[tuple(name for name in known if versions[name] == version)] += count
    return split


def share_out(wanted: Mapping[Pools, int], free: dict[str, int]) -> Counter[Pools]:
    """Take addresses off ``free`` as machines do, and return how many cannot be had.

    Each takes from the first of its pools that has one. Those with most pools to choose from are
    counted first, as they may well come first: what is left is left in any case.
    """
    lacking: Counter[Pools] = Counter()
    for pools, count in sorted(wanted.items(), key=lambda one: (-len(one[0]), one[0])):
        left = count
        for name in pools:
            taken = min(left, max(0, free.get(name, 0)))
            if taken:
                free[name] -= taken
                left -= taken
        if left:
            lacking[pools] = left
    return lacking


def free_in(pool: IPPool, claimed: int) -> int:
    """Return how many addresses a pool can give beside those that are claimed.

    Those that somebody else uses are not claimed, and cannot be given.
    """
    return max(0, pool.spec.usable() - len(pool.status.conflicts) - claimed)
