"""One client for each cluster, kept while its certificate is fresh."""

from collections.abc import Callable
from dataclasses import dataclass

from moorage.kit.clock import Clock, SystemClock
from moorage.kube.client import KubeClient
from moorage.kube.model import Credentials


@dataclass(slots=True)
class _Entry:
    client: KubeClient
    server: str
    renew_at: float
    """By the steady clock: a wall clock that is set back must not let a certificate run out."""
    retired: KubeClient | None = None
    """The client before: requests may still be under way on it."""


class KubePool:
    """Clients by cluster UID. Making one costs no request."""

    def __init__(self, *, timeout_s: float = 10.0, clock: Clock | None = None) -> None:
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._entries: dict[str, _Entry] = {}

    async def client(
        self, cluster_uid: str, server: str, credentials: Callable[[], Credentials]
    ) -> KubeClient:
        """Return the cluster's client; ``credentials`` is called only when a new one is needed.

        A new one is needed for another server, and when two thirds of the certificate's time
        are over.
        """
        now = self._clock.steady()
        entry = self._entries.get(cluster_uid)
        if entry is not None and entry.server == server and now < entry.renew_at:
            return entry.client
        fresh = credentials()
        client = KubeClient(server, fresh, timeout_s=self._timeout_s, clock=self._clock)
        self._entries[cluster_uid] = _Entry(
            client=client,
            server=server,
            renew_at=now + (fresh.expires_at - self._clock.now()).total_seconds() * 2 / 3,
            retired=entry.client if entry is not None else None,
        )
        if entry is not None and entry.retired is not None:
            await entry.retired.aclose()
        return client

    async def forget(self, cluster_uid: str) -> None:
        """Close a cluster's connections, as when it is deleted."""
        entry = self._entries.pop(cluster_uid, None)
        if entry is not None:
            await _close(entry)

    async def aclose(self) -> None:
        """Close all connections."""
        entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            await _close(entry)


async def _close(entry: _Entry) -> None:
    await entry.client.aclose()
    if entry.retired is not None:
        await entry.retired.aclose()
