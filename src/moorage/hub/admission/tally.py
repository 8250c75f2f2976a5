"""What clusters take: addresses of IP pools, endpoints, accounts. No I/O here."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

from moorage.hub.admission.needs import (
    Group,
    Shape,
    control_plane_of,
    group_of,
    needed_addresses,
    shape_of,
)
from moorage.resources import KINDS, Cluster, IPAddress, IPPool, NodePool
from moorage.resources.cluster import ClusterStatus
from moorage.resources.spans import holds
from moorage.store.codec import Stored, decode
from moorage.store.view import View


class Claim(NamedTuple):
    """An address that a gateway has claimed."""

    ip_pool: str
    cluster: str
    """``project/name``."""
    address: IPv4Address
    route: str


@dataclass(slots=True)
class _Entry:
    """One cluster, in as little memory as will do: there may be ten thousand."""

    key: str
    route: str
    account: str
    shape: Shape
    ip_pools: frozenset[str]
    control_plane: Group
    host: str | None
    """Endpoint that was asked for."""
    endpoint: str | None = None
    """Endpoint that the gateway has seen."""
    needed: Counter[str] | None = field(default=None)
    """Counted when it is asked for."""


class Tally(View):
    """Of every cluster of every gateway. What it says is of the last ``bring_up_to_date``."""

    kinds = frozenset(kind.kind_name() for kind in (Cluster, NodePool, IPAddress))

    def __init__(self) -> None:
        super().__init__()
        self._clusters: dict[str, _Entry] = {}
        self._groups: dict[str, dict[str, Group]] = {}
        """Owner's UID -> pool's UID -> what it asks for; without pools that are being deleted."""
        self._owners: dict[str, str] = {}
        """Node pool's UID -> owner's."""
        self._claims: dict[str, dict[str, Claim]] = {}
        """IP pool -> UID -> claim."""
        self._claimed_from: dict[str, str] = {}
        """UID of a claim -> IP pool."""
        self._shared: dict[Shape, Shape] = {}

    def put_status(self, row: Stored) -> None:
        """Take in what a cluster's gateway has seen."""
        if row.kind == Cluster.kind_name():
            status = ClusterStatus.model_validate_json(row.status)
            self._clusters[row.uid].endpoint = status.endpoint

    def put(self, row: Stored) -> None:
        """Take a cluster, node pool or address in."""
        resource = decode(KINDS[row.kind], row)
        meta = resource.metadata
        match resource:
            case Cluster(spec=spec):
                shape = shape_of(spec)
                self._clusters[meta.uid] = _Entry(
                    key=f"{meta.project}/{meta.name}",
                    route=meta.route,
                    account=spec.account,
                    shape=self._shared.setdefault(shape, shape),
                    ip_pools=frozenset(spec.ip_pools()),
                    control_plane=control_plane_of(spec),
                    host=None if spec.endpoint.host is None else str(spec.endpoint.host),
                    endpoint=resource.status.endpoint,
                )
            case NodePool():
                self.drop(resource.kind, meta.uid)
                if meta.owner is not None and not resource.is_deleting:
                    self._groups.setdefault(meta.owner.uid, {})[meta.uid] = group_of(resource)
                    self._owners[meta.uid] = meta.owner.uid
                    self._count_again(meta.owner.uid)
            case IPAddress(spec=claim):
                self.drop(resource.kind, meta.uid)
                if claim.released_at is not None:
                    return  # held back, which is no use of it
                made = Claim(claim.pool, claim.cluster, claim.address, meta.route)
                self._claims.setdefault(claim.pool, {})[meta.uid] = made
                self._claimed_from[meta.uid] = claim.pool

    def drop(self, kind: str, uid: str) -> None:
        """Take a resource out."""
        if kind == Cluster.kind_name():
            self._clusters.pop(uid, None)
        elif kind == NodePool.kind_name() and (owner := self._owners.pop(uid, None)):
            del self._groups[owner][uid]
            if not self._groups[owner]:
                del self._groups[owner]
            self._count_again(owner)
        elif kind == IPAddress.kind_name() and (pool := self._claimed_from.pop(uid, None)):
            del self._claims[pool][uid]

    def needed(self, uid: str) -> Counter[str]:
        """Return how many addresses a stored cluster takes from each IP pool."""
        entry = self._clusters.get(uid)
        return Counter() if entry is None else self._needed(uid, entry)

    def promised(self, ip_pool: str) -> dict[str, int]:
        """Return how many addresses of a pool each cluster needs, claimed or not."""
        return {
            entry.key: self._needed(uid, entry)[ip_pool]
            for uid, entry in self._clusters.items()
            if ip_pool in entry.ip_pools
        }

    def claims(self, ip_pool: str) -> Iterable[Claim]:
        """Return the addresses that gateways have claimed from a pool."""
        return self._claims.get(ip_pool, {}).values()

    def claimed(self, pool: IPPool) -> Counter[str]:
        """Return how many addresses each cluster holds of those that the pool may give."""
        spans = pool.spec.spans()
        return Counter(
            claim.cluster
            for claim in self.claims(pool.metadata.name)
            if holds(spans, int(claim.address))
        )

    def users_of_pool(self, ip_pool: str) -> set[str]:
        """Return ``project/name`` of the clusters that name the pool or hold its addresses."""
        named = {entry.key for entry in self._clusters.values() if ip_pool in entry.ip_pools}
        return named | {claim.cluster for claim in self.claims(ip_pool)}

    def users_of_account(self, account: str) -> list[str]:
        """Return ``project/name`` of the clusters that use a cloud account."""
        return sorted(e.key for e in self._clusters.values() if e.account == account)

    def clusters_of(self, gateway: str) -> list[str]:
        """Return ``project/name`` of the clusters that a gateway owns."""
        return sorted(e.key for e in self._clusters.values() if e.route == gateway)

    def at_endpoint(self, host: str, gateway: str) -> Iterator[str]:
        """Yield ``project/name`` of the gateway's clusters with that endpoint."""
        for entry in self._clusters.values():
            known = (entry.host, (entry.endpoint or "").rpartition(":")[0])
            if entry.route == gateway and host in known:
                yield entry.key

    def claims_of(self, address: IPv4Address, gateway: str) -> Iterator[Claim]:
        """Yield the gateway's claims of an address, from whichever pool."""
        for claims in self._claims.values():
            for claim in claims.values():
                if claim.address == address and claim.route == gateway:
                    yield claim

    def _needed(self, uid: str, entry: _Entry) -> Counter[str]:
        if entry.needed is None:
            groups = [entry.control_plane, *self._groups.get(uid, {}).values()]
            entry.needed = needed_addresses(entry.shape, groups)
        return entry.needed

    def _count_again(self, uid: str) -> None:
        if (entry := self._clusters.get(uid)) is not None:
            entry.needed = None
