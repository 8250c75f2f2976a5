"""A cluster's keys and API client, opened when needed and kept while the cluster lives.

Any replica may run the next pass of a cluster, so nothing here depends on who ran the last one.
"""

import time
from dataclasses import dataclass, field
from typing import Protocol

from moorage.bootstrap import ClusterPKI, gateway_client, server_url
from moorage.engine.store import Store
from moorage.kit.clock import Clock
from moorage.kit.errors import UnavailableError
from moorage.kit.seal import SealedEnvelope
from moorage.kube import Credentials, KubeClient, KubePool, NodeInfo
from moorage.resources import Cluster, ClusterKeys


class KeyOpener(Protocol):
    """What is needed of the vault."""

    def open_keys(self, cluster: Cluster, sealed: SealedEnvelope) -> bytes:
        """Return a cluster's keys; raises ``ForbiddenError``."""
        ...


@dataclass(slots=True)
class _Seen:
    at: float
    nodes: list[NodeInfo]


@dataclass(slots=True)
class ClusterAccess:
    """Keys and clients by cluster UID. One node list serves all who ask within its age."""

    pool: KubePool
    clock: Clock
    store: Store
    vault: KeyOpener
    _keys: dict[str, ClusterPKI] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    async def keys(self, cluster: Cluster) -> ClusterPKI | None:
        """Return a cluster's keys, opened the first time; ``None`` while there are none.

        Raises ``ForbiddenError`` when they were not sealed to this gateway.
        """
        uid = cluster.metadata.uid
        known = self._keys.get(uid)
        if known is not None:
            return known
        stored = await self.store.find(ClusterKeys, *cluster.key)
        if stored is None or stored.metadata.owner is None or stored.metadata.owner.uid != uid:
            return None
        plain = self.vault.open_keys(cluster, stored.spec.sealed)
        opened = self._keys[uid] = ClusterPKI.from_bytes(plain)
        return opened

    async def client(self, cluster: Cluster) -> KubeClient:
        """Return the API client; raises ``UnavailableError`` while there is nothing to talk to."""
        keys = await self.keys(cluster)
        endpoint = cluster.status.endpoint
        if keys is None or endpoint is None:
            raise UnavailableError("the cluster's keys or endpoint are not known yet")
        host, _, port = endpoint.rpartition(":")
        return await self.pool.client(
            cluster.metadata.uid,
            server_url(host.strip("[]"), int(port)),
            lambda: self._credentials(keys),
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

    async def nodes(self, cluster: Cluster, *, max_age_s: float) -> list[NodeInfo]:
        """Return the cluster's nodes, at most ``max_age_s`` seconds old."""
        uid = cluster.metadata.uid
        seen = self._seen.get(uid)
        now = time.monotonic()
        if seen is None or now - seen.at > max_age_s:
            nodes = await (await self.client(cluster)).list_nodes()
            seen = self._seen[uid] = _Seen(time.monotonic(), nodes)
        return seen.nodes

    def outdate_nodes(self, uid: str) -> None:
        """Have the nodes listed anew by who asks next: one of them was just deleted."""
        self._seen.pop(uid, None)

    async def forget(self, uid: str) -> None:
        """Close the client and drop the keys of a deleted cluster; may be repeated."""
        self._keys.pop(uid, None)
        self._seen.pop(uid, None)
        await self.pool.forget(uid)
