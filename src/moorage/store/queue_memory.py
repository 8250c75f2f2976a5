"""The queue of work in the memory of the only process: for SQLite, opened exclusively.

Nothing of it outlives the process, and nothing has to: at its start a manager makes everything
due, because a process that was killed may have written what it then did not enqueue. And nobody
else could take a key: a lease ends when it is given back, never by time, so a pass that was
stopped for long goes on where it was. It counts by the clock that nobody sets: were it the wall
clock, all work would stand still for two hours after somebody had set that back by two.
"""

import secrets
from bisect import bisect_left, insort
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from moorage.engine.store import Lease, LeaseLostError, QueueDepth
from moorage.kit.clock import Clock
from moorage.store.database import Unit


@dataclass(slots=True)
class _Entry:
    due: float | None
    """When it was asked for, by the steady clock; during a lease: what was asked for meanwhile."""
    token: str | None = None
    attempts: int = 0


class _Line:
    """The keys of one controller; those that wait, in the order in which they are due."""

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}
        self.waiting: list[tuple[float, str]] = []

    def ask(self, key: str, due: float) -> None:
        """Make a key due, or due earlier."""
        entry = self.entries.get(key)
        if entry is None:
            self.entries[key] = _Entry(due)
            insort(self.waiting, (due, key))
        elif entry.due is None or due < entry.due:
            if entry.token is None:
                self._leave(key, entry)
                insort(self.waiting, (due, key))
            entry.due = due

    def take(self, now: float, token: str) -> tuple[str, int] | None:
        """Take the key that has been due for longest; return it with its attempts."""
        if not self.waiting or self.waiting[0][0] > now:
            return None
        _, key = self.waiting.pop(0)
        entry = self.entries[key]
        entry.token, entry.due = token, None
        return key, entry.attempts

    def give_back(self, key: str, entry: _Entry, due: float | None, attempts: int) -> None:
        """End a lease; the key goes when nobody wants it looked at again."""
        asked = [moment for moment in (entry.due, due) if moment is not None]
        if not asked:
            del self.entries[key]
            return
        entry.token, entry.due, entry.attempts = None, min(asked), attempts
        insort(self.waiting, (entry.due, key))

    def _leave(self, key: str, entry: _Entry) -> None:
        assert entry.due is not None  # noqa: S101 - what waits is due at some time
        del self.waiting[bisect_left(self.waiting, (entry.due, key))]


class MemoryQueue:
    """Implements the store's ``Queue``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    async def enqueue_many(self, items: Iterable[tuple[str, str]], due: datetime) -> None:
        """Make keys due, or due earlier."""
        at = self._at(due)
        for controller, key in items:
            self._lines.setdefault(controller, _Line()).ask(key, at)

    async def lease(
        self,
        controller: str,
        *,
        limit: int,
        ttl: timedelta,  # noqa: ARG002 - the other's shape
    ) -> list[Lease]:
        """Take keys that are due, those first that have been for longest."""
        line = self._lines.get(controller)
        now, token = self._now(), secrets.token_hex(16)
        taken: list[Lease] = []
        while line is not None and len(taken) < limit and (found := line.take(now, token)):
            taken.append(Lease(controller, found[0], token, found[1]))
        return taken

    async def finish(self, lease: Lease, due: datetime | None) -> None:
        """Give a lease back after success."""
        line, entry = self._held(lease)
        line.give_back(lease.key, entry, None if due is None else self._at(due), attempts=0)

    async def fail(self, lease: Lease, due: datetime) -> None:
        """Give a lease back after a failure."""
        line, entry = self._held(lease)
        line.give_back(lease.key, entry, self._at(due), attempts=lease.attempts + 1)

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back unfinished; those that were given back already are left alone."""
        for lease in leases:
            with suppress(LeaseLostError):
                line, entry = self._held(lease)
                line.give_back(lease.key, entry, self._now(), attempts=lease.attempts)

    async def extend(
        self,
        leases: Iterable[Lease],
        ttl: timedelta,  # noqa: ARG002 - the other's shape
    ) -> set[Lease]:
        """Return those that were not given back yet."""
        kept = set()
        for lease in leases:
            with suppress(LeaseLostError):
                self._held(lease)
                kept.add(lease)
        return kept

    async def check(self, unit: Unit, lease: Lease) -> None:  # noqa: ARG002 - the other's shape
        """Raise ``LeaseLostError`` unless the lease is held."""
        self._held(lease)

    async def leased(self, controllers: Iterable[str]) -> set[tuple[str, str]]:
        """Return controller and key of every lease that was not given back."""
        return {
            (name, key)
            for name in controllers
            for key, entry in (self._lines[name].entries if name in self._lines else {}).items()
            if entry.token is not None
        }

    async def next_due(self, controllers: Iterable[str]) -> datetime | None:
        """Return when the next key can be leased."""
        lines = [self._lines[name] for name in controllers if name in self._lines]
        first = min((line.waiting[0][0] for line in lines if line.waiting), default=None)
        return None if first is None else self._moment(first)

    async def depths(self) -> list[QueueDepth]:
        """Return how much is ready, by controller."""
        after_now = (self._now(), "\U0010ffff")
        found = []
        for controller, line in sorted(self._lines.items()):
            ready = bisect_left(line.waiting, after_now)
            if ready:
                found.append(QueueDepth(controller, ready, self._moment(line.waiting[0][0])))
        return found

    def _now(self) -> float:
        return round(self._clock.steady(), 6)

    def _at(self, moment: datetime) -> float:
        return round(self._clock.steady() + (moment - self._clock.now()).total_seconds(), 6)

    def _moment(self, at: float) -> datetime:
        return self._clock.now() + timedelta(seconds=at - self._now())

    def _held(self, lease: Lease) -> tuple[_Line, _Entry]:
        line = self._lines.get(lease.controller)
        entry = line.entries.get(lease.key) if line is not None else None
        if line is None or entry is None or entry.token != lease.token:
            raise LeaseLostError(
                f"the lease of {lease.controller} on {lease.key} was given back already"
            )
        return line, entry
