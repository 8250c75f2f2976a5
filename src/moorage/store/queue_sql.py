"""The queue of work that several processes share. A lease is one conditional ``UPDATE``.

``ready_at`` says when a key may be leased: when it is due, or, while it is leased, when the
lease ends. ``due`` says when it was asked for; a lease clears it, so that what stands there
afterwards was asked for during the lease.

All processes go by one clock, PostgreSQL's own: what they ask for is sent as time from now, so
that two machines whose clocks differ cannot both hold a key, nor wait for each other's hours.
"""

import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from moorage.engine.store import Lease, LeaseLostError, QueueDepth
from moorage.kit.clock import Clock
from moorage.store import tables
from moorage.store.database import Unit

W = tables.work.c
_NEVER: Final = timedelta(days=365_000)
_NOTHING: Final = timedelta(0)
_MICROSECOND: Final = timedelta(microseconds=1)
_AT_ONCE: Final = 500
"""Keys in one statement. Given many sets of parameters instead, psycopg sends a pipeline, after
which PostgreSQL (15, tried) does not end the transaction of a process that has stopped."""

_TOKEN = select(W.token).where(W.controller == bindparam("controller"), W.key == bindparam("key"))
_TOKEN_LOCKED = _TOKEN.with_for_update()
# Not clock_timestamp(): for that, which changes from row to row, no index is used.
_SERVER_NOW = cast(func.extract("epoch", func.statement_timestamp()) * 1_000_000, BigInteger)


class SqlQueue:
    """Implements the store's ``Queue`` on its database.

    Args:
        clock: This process's own: moments are given and returned by it.
        by_server: Whether leases go by the database's clock instead, which all processes share.
        reading: Opens a unit that reads.
        writing: Opens a unit that writes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        by_server: bool,
        reading: Callable[[], AbstractAsyncContextManager[Unit]],
        writing: Callable[[], AbstractAsyncContextManager[Unit]],
    ) -> None:
        self._clock = clock
        self._by_server = by_server
        self._reading = reading
        self._writing = writing

    async def enqueue_many(self, items: Iterable[tuple[str, str]], due: datetime) -> None:
        """Make keys due, or due earlier; in one order, so that two of these cannot deadlock."""
        asked = sorted(set(items))
        if not asked:
            return
        at = self._moment(due - self._clock.now())
        async with self._writing() as unit:
            for begin in range(0, len(asked), _AT_ONCE):
                rows = [
                    {"controller": name, "key": key, "due": at, "attempts": 0, "ready_at": at}
                    for name, key in asked[begin : begin + _AT_ONCE]
                ]
                base = unit.insert(tables.work).values(rows)
                new = base.excluded.due
                earlier = case((or_(W.due.is_(None), W.due > new), new), else_=W.due)
                statement: Insert = base.on_conflict_do_update(
                    index_elements=[W.controller, W.key],
                    set_={
                        "due": earlier,
                        "ready_at": case((W.token.is_(None), earlier), else_=W.ready_at),
                    },
                )
                await unit.execute(statement)

    async def lease(self, controller: str, *, limit: int, ttl: timedelta) -> list[Lease]:
        """Take keys that are ready, those first that have been for longest."""
        token, now = secrets.token_hex(16), self._moment(_NOTHING)
        picked = (
            select(W.key)
            .where(W.controller == controller, W.ready_at <= now)
            .order_by(W.ready_at, W.key)
            .limit(limit)
            .with_for_update(skip_locked=True)  # SQLite has no such thing, nor the need
            .cte("picked")
        )
        async with self._writing() as unit:
            rows = await unit.execute(
                update(tables.work)
                .where(W.controller == controller, W.ready_at <= now)
                .where(W.key.in_(select(picked.c.key)))
                .values(token=token, ready_at=self._moment(ttl), due=None)
                .returning(W.key, W.attempts)
            )
            return sorted(Lease(controller, row.key, token, row.attempts) for row in rows)

    async def finish(self, lease: Lease, due: datetime | None) -> None:
        """Give a lease back; the key goes when it is not due again."""
        async with self._writing() as unit:
            if due is None:
                gone = await unit.execute(
                    delete(tables.work).where(_is_held(lease), W.due.is_(None))
                )
                if gone.rowcount:
                    return
            await self._give_back(unit, lease, due, attempts=0)

    async def fail(self, lease: Lease, due: datetime) -> None:
        """Give a lease back and count a failure."""
        async with self._writing() as unit:
            await self._give_back(unit, lease, due, attempts=lease.attempts + 1)

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back unfinished; those that were lost are left alone."""
        now = self._moment(_NOTHING)
        async with self._writing() as unit:
            await unit.execute(
                update(tables.work)
                .where(_TRIPLE.in_([(one.controller, one.key, one.token) for one in leases]))
                .values(token=None, due=now, ready_at=now)
            )

    async def extend(self, leases: Iterable[Lease], ttl: timedelta) -> set[Lease]:
        """Hold leases for longer, never for less; return those that were not lost."""
        asked = {(one.controller, one.key, one.token): one for one in leases}
        end = self._moment(ttl)
        async with self._writing() as unit:
            rows = await unit.execute(
                update(tables.work)
                .where(_TRIPLE.in_(sorted(asked)))
                .values(ready_at=case((W.ready_at > end, W.ready_at), else_=end))
                .returning(W.controller, W.key, W.token)
            )
            return {asked[row.controller, row.key, row.token] for row in rows}

    async def check(self, unit: Unit, lease: Lease) -> None:
        """Raise ``LeaseLostError`` unless the token holds; it holds until the unit ends."""
        if lease in unit.confirmed:
            return
        query = _TOKEN_LOCKED if unit.is_postgresql else _TOKEN
        found = await unit.execute(query, {"controller": lease.controller, "key": lease.key})
        if found.scalar_one_or_none() != lease.token:
            raise _lost(lease)
        unit.confirmed.add(lease)

    async def leased(self, controllers: Iterable[str]) -> set[tuple[str, str]]:
        """Return controller and key of every lease that has not ended."""
        query = select(W.controller, W.key).where(
            W.controller.in_(list(controllers)),
            W.token.is_not(None),
            W.ready_at > self._moment(timedelta(0)),
        )
        async with self._reading() as unit:
            return {(row.controller, row.key) for row in await unit.execute(query)}

    async def next_due(self, controllers: Iterable[str]) -> datetime | None:
        """Return when the next key can be leased."""
        query = select(self._own(func.min(W.ready_at))).where(W.controller.in_(list(controllers)))
        async with self._reading() as unit:
            return self._read((await unit.execute(query)).scalar_one())

    async def depths(self) -> list[QueueDepth]:
        """Return how much is ready, by controller."""
        query = (
            select(W.controller, func.count(), self._own(func.min(W.ready_at)))
            .where(W.ready_at <= self._moment(_NOTHING))
            .group_by(W.controller)
            .order_by(W.controller)
        )
        async with self._reading() as unit:
            rows: Iterable[Any] = await unit.execute(query)
            return [
                QueueDepth(name, due, self._read(oldest) or self._clock.now())
                for name, due, oldest in rows
            ]

    async def _give_back(
        self, unit: Unit, lease: Lease, due: datetime | None, *, attempts: int
    ) -> None:
        at = self._moment(_NEVER if due is None else due - self._clock.now())
        earlier = case((or_(W.due.is_(None), W.due > at), at), else_=W.due)
        result = await unit.execute(
            update(tables.work)
            .where(_is_held(lease))
            .values(token=None, attempts=attempts, due=earlier, ready_at=earlier)
        )
        if not result.rowcount:
            raise _lost(lease)

    # One clock for all

    def _moment(self, after: timedelta) -> ColumnElement[Any]:
        """Return the moment that is ``after`` from now, as the table has it."""
        if self._by_server:
            later = _SERVER_NOW + bindparam(None, after // _MICROSECOND, BigInteger)
            return type_coerce(later, tables.Instant)
        return bindparam(None, self._clock.now() + after, tables.Instant)

    def _own(self, moment: ColumnElement[Any]) -> ColumnElement[int]:
        """Return how many microseconds a moment lies ahead, or with one clock the moment."""
        stored = type_coerce(moment, BigInteger)
        return stored - _SERVER_NOW if self._by_server else stored

    def _read(self, found: int | None) -> datetime | None:
        """Return a moment by this process's clock, of what ``_own`` selected."""
        if found is None:
            return None
        began = self._clock.now() if self._by_server else datetime(1970, 1, 1, tzinfo=UTC)
        return began + found * _MICROSECOND


_TRIPLE = tuple_(W.controller, W.key, W.token)


def _is_held(held: Lease) -> ColumnElement[bool]:
    return and_(W.controller == held.controller, W.key == held.key, W.token == held.token)


def _lost(held: Lease) -> LeaseLostError:
    return LeaseLostError(
        f"the lease of {held.controller} on {held.key} ended, and somebody else took the key"
    )
