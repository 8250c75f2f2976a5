"""A cluster's keys and API client, opened when needed and kept while the cluster lives."""

import time
from dataclasses import dataclass, field

from moorage.bootstrap import ClusterPKI, gateway_client, server_url
from moorage.kit.clock import Clock
from moorage.kit.errors import UnavailableError
from moorage.kube import Credentials, KubeClient, KubePool, NodeInfo


@dataclass(slots=True)
class _Seen:
    at: float
    nodes: list[NodeInfo]


@dataclass(slots=True)
class ClusterAccess:
    """Keys and clients by cluster UID. One node list serves all who ask within its age."""

    pool: KubePool
    clock: Clock
    join_offers: dict[str, bool] = field(default_factory=dict)
    """Cluster UID -> whether the encrypted CA keys are known to lie in the cluster."""
    _keys: dict[str, ClusterPKI] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def remember_keys(self, uid: str, keys: ClusterPKI) -> None:
        """Keep a cluster's opened keys in memory."""
        self._keys[uid] = keys

    def keys(self, uid: str) -> ClusterPKI | None:
        """Return a cluster's keys once its own reconciler has opened them."""
        return self._keys.get(uid)

    async def client(self, uid: str, endpoint: str | None) -> KubeClient:
        """Return the API client; raises ``UnavailableError`` while there is nothing to talk to."""
        keys = self._keys.get(uid)
        if keys is None or endpoint is None:
            raise UnavailableError("the cluster's keys or endpoint are not known yet")
        host, _, port = endpoint.rpartition(":")
        return await self.pool.client(
            uid, server_url(host.strip("[]"), int(port)), lambda: self._credentials(keys)
        )

    def _credentials(self, keys: ClusterPKI) -> Credentials:
        signed = gateway_client(keys, now=self.clock.now())
        if signed.key is None:
            raise UnavailableError("the gateway's client certificate was signed without a key")
        return Credentials(
            ca=keys.ca.certificate,
            certificate=signed.certificate,
            key=signed.key,
            expires_at=signed.expires_at,
        )

    async def nodes(self, uid: str, endpoint: str | None, *, max_age_s: float) -> list[NodeInfo]:
        """Return the cluster's nodes, at most ``max_age_s`` seconds old."""
        seen = self._seen.get(uid)
        now = time.monotonic()
        if seen is None or now - seen.at > max_age_s:
            nodes = await (await self.client(uid, endpoint)).list_nodes()
            seen = self._seen[uid] = _Seen(time.monotonic(), nodes)
        return seen.nodes

    def outdate_nodes(self, uid: str) -> None:
        """Have the nodes listed anew by who asks next: one of them was just deleted."""
        self._seen.pop(uid, None)

    async def forget(self, uid: str) -> None:
        """Close the client and drop the keys of a deleted cluster."""
        self._keys.pop(uid, None)
        self._seen.pop(uid, None)
        self.join_offers.pop(uid, None)
        await self.pool.forget(uid)
