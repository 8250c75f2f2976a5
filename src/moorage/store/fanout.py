"""Changes to the watchers of this process, merged for those that are slow."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

import anyio

from moorage.engine.store import RESYNC, Change

_MOST_WAITING = 10_000


class Subscription:
    """What waits for one watcher: the last change of each resource, in order of arrival."""

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._waiting: dict[tuple[str, str], Change] = {}
        self._arrived = anyio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """Return the next change, as soon as there is one."""
        while not self._waiting:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.pop(next(iter(self._waiting)))

    def drain(self) -> list[Change]:
        """Return at once what waits, and take it off."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting

    def put(self, change: Change) -> None:
        """Add a change; one of the same resource that still waits is merged into it."""
        key = (change.kind, change.uid)
        earlier = self._waiting.pop(key, None)
        if earlier is not None:
            newest = max(earlier, change, key=lambda one: one.resource_version)
            change = newest._replace(spec_changed=earlier.spec_changed or change.spec_changed)
        if (RESYNC.kind, RESYNC.uid) in self._waiting or len(self._waiting) >= self._most_waiting:
            self._waiting.clear()
            change = RESYNC
        self._waiting[change.kind, change.uid] = change
        self._arrived.set()


class Fanout:
    """All watchers of one store."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Have changes delivered from now on, until the block ends."""
        subscription = Subscription()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def publish(self, changes: Iterable[Change]) -> None:
        """Deliver changes that are committed."""
        for change in changes:
            for subscription in self._subscriptions:
                subscription.put(change)
