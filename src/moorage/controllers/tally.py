"""What clusters take: addresses of IP pools, endpoints, accounts. For hub and gateway alike."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from moorage.engine.store import Store
from moorage.planning.addresses import (
    Group,
    Pools,
    Shape,
    Source,
    by_family,
    control_plane_of,
    free_in,
    group_of,
    needed_addresses,
    shape_of,
    share_out,
)
from moorage.resources import KINDS, Cluster, IPAddress, IPPool, NodePool
from moorage.resources.cluster import ClusterStatus
from moorage.resources.spans import Address
from moorage.store import SqlOperations
from moorage.store.codec import Stored, decode
from moorage.store.view import View


class Claim(NamedTuple):
    """An address that a gateway has claimed."""

    ip_pool: str
    cluster: str
    """``project/name``."""
    address: Address
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
    needed: Counter[Source] | None = field(default=None)
    """Counted when it is asked for."""
    missing: Counter[Pools] | None = field(default=None)
    """Of those needed, what is not claimed; counted when it is asked for."""


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
        self._held: dict[str, Counter[str]] = {}
        """``project/name`` of a cluster -> IP pool -> how many addresses it holds."""
        self._uids: dict[str, str] = {}
        """``project/name`` -> the cluster's UID."""
        self._versions: dict[str, int] = {}
        """IP versions of the pools, as they were when what is missing was counted."""
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
                self._uids[f"{meta.project}/{meta.name}"] = meta.uid
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
                self._hold(made, 1)

    def drop(self, kind: str, uid: str) -> None:
        """Take a resource out."""
        if kind == Cluster.kind_name():
            gone = self._clusters.pop(uid, None)
            if gone is not None and self._uids.get(gone.key) == uid:
                del self._uids[gone.key]
        elif kind == NodePool.kind_name() and (owner := self._owners.pop(uid, None)):
            del self._groups[owner][uid]
            if not self._groups[owner]:
                del self._groups[owner]
            self._count_again(owner)
        elif kind == IPAddress.kind_name() and (pool := self._claimed_from.pop(uid, None)):
            self._hold(self._claims[pool].pop(uid), -1)

    def needed(self, uid: str) -> Counter[Source]:
        """Return how many addresses a stored cluster takes from where."""
        entry = self._clusters.get(uid)
        return Counter() if entry is None else self._needed(uid, entry)

    def room_for(
        self, key: str, names: Collection[str], pools: Mapping[str, IPPool]
    ) -> dict[str, int]:
        """Return how many addresses pools have for one cluster, once all others have theirs.

        Args:
            key: ``project/name`` of the cluster; what it holds already is counted as room.
            names: The pools that it takes addresses from.
            pools: All that there are, by name.

        Returns:
            The room of these pools, and of others that share users with them.
        """
        self._read_versions(pools)
        linked = self._linked(names)
        held = self._held.get(key, Counter())
        free = {
            name: free_in(pools[name], len(self._claims.get(name, ())) - held[name])
            for name in linked
            if name in pools
        }
        share_out(self._missing_of(linked, but=key), free)
        return free

    def reserved(self, name: str, pools: Mapping[str, IPPool]) -> int:
        """Return how many free addresses of a pool clusters will still take."""
        self._read_versions(pools)
        linked = self._linked({name})
        free = {
            one: free_in(pools[one], len(self._claims.get(one, ())))
            for one in linked
            if one in pools
        }
        before = free.get(name, 0)
        share_out(self._missing_of(linked), free)
        return before - free.get(name, 0)

    def claims(self, ip_pool: str) -> Collection[Claim]:
        """Return the addresses that gateways have claimed from a pool."""
        return self._claims.get(ip_pool, {}).values()

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
            known = (entry.host, (entry.endpoint or "").rpartition(":")[0].strip("[]"))
            if entry.route == gateway and host in known:
                yield entry.key

    def claims_of(self, address: Address, gateway: str) -> Iterator[Claim]:
        """Yield the gateway's claims of an address, from whichever pool."""
        for claims in self._claims.values():
            for claim in claims.values():
                if claim.address == address and claim.route == gateway:
                    yield claim

    def _needed(self, uid: str, entry: _Entry) -> Counter[Source]:
        if entry.needed is None:
            groups = [entry.control_plane, *self._groups.get(uid, {}).values()]
            entry.needed = needed_addresses(entry.shape, groups)
        return entry.needed

    def _missing_of(self, linked: Collection[str], *, but: str = "") -> Counter[Pools]:
        """Return what clusters that use some pools still have to claim."""
        total: Counter[Pools] = Counter()
        for uid, entry in self._clusters.items():
            if entry.key == but or entry.ip_pools.isdisjoint(linked):
                continue
            if entry.missing is None:
                needed = by_family(self._needed(uid, entry), self._versions)
                entry.missing = share_out(needed, dict(self._held.get(entry.key, {})))
            total.update(entry.missing)
        return total

    def _linked(self, names: Collection[str]) -> set[str]:
        """Return these pools, with all that are named together with one of them, and so on."""
        linked = set(names)
        left = {entry.ip_pools for entry in self._clusters.values()}
        while joined := {one for one in left if not linked.isdisjoint(one)}:
            left -= joined
            linked.update(*joined)
        return linked

    def _read_versions(self, pools: Mapping[str, IPPool]) -> None:
        versions = {name: pool.spec.version for name, pool in pools.items()}
        if versions != self._versions:
            self._versions = versions
            for entry in self._clusters.values():
                entry.missing = None

    def _hold(self, claim: Claim, change: int) -> None:
        held = self._held.setdefault(claim.cluster, Counter())
        held[claim.ip_pool] += change
        if not held[claim.ip_pool]:
            del held[claim.ip_pool]
        if not held:
            del self._held[claim.cluster]
        if (entry := self._clusters.get(self._uids.get(claim.cluster, ""))) is not None:
            entry.missing = None

    def _count_again(self, uid: str) -> None:
        if (entry := self._clusters.get(uid)) is not None:
            entry.needed = entry.missing = None


async def tally_of(store: Store) -> Tally:
    """Return the tally of a store, up to date; ask for it before a transaction writes."""
    assert isinstance(store, SqlOperations)  # noqa: S101 - hub's and gateway's stores have views
    return await store.view(Tally)
