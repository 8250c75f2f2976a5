"""The queue of work that several processes share. A lease is one conditional ``UPDATE``.

``ready_at`` says when a key may be leased: when it is due, or, while it is leased, when the
lease ends. ``due`` says when it was asked for; a lease clears it, so that what stands there
afterwards was asked for during the lease.
"""

import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Insert,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from moorage.engine.store import Lease, LeaseLostError, QueueDepth
from moorage.kit.clock import Clock
from moorage.store import tables
from moorage.store.database import Unit

W = tables.work.c
_NEVER = datetime.max.replace(tzinfo=UTC)

# Statements of every pass are built once: building one costs as much as running it.
_GIVEN = bindparam("given", type_=tables.Instant)
_EARLIER = case((or_(W.due.is_(None), W.due > _GIVEN), _GIVEN), else_=W.due)
_GIVE_BACK = (
    update(tables.work)
    .where(
        W.controller == bindparam("of_controller"),
        W.key == bindparam("of_key"),
        W.token == bindparam("of_token"),
    )
    .values(token=None, attempts=bindparam("attempts"), due=_EARLIER, ready_at=_EARLIER)
)
_TOKEN = select(W.token).where(W.controller == bindparam("controller"), W.key == bindparam("key"))
_TOKEN_LOCKED = _TOKEN.with_for_update()
_DEPTHS = (
    select(W.controller, func.count(), func.min(W.ready_at, type_=tables.Instant))
    .where(W.ready_at <= bindparam("now", type_=tables.Instant))
    .group_by(W.controller)
    .order_by(W.controller)
)


class SqlQueue:
    """Implements the store's ``Queue`` on its database."""

    def __init__(
        self,
        clock: Clock,
        *,
        reading: Callable[[], AbstractAsyncContextManager[Unit]],
        writing: Callable[[], AbstractAsyncContextManager[Unit]],
    ) -> None:
        self._clock = clock
        self._reading = reading
        self._writing = writing

    async def enqueue_many(self, items: Iterable[tuple[str, str]], due: datetime) -> None:
        """Make keys due, or due earlier; in one order, so that two of these cannot deadlock."""
        rows = [
            {"controller": controller, "key": key, "due": due, "attempts": 0, "ready_at": due}
            for controller, key in sorted(set(items))
        ]
        if not rows:
            return
        async with self._writing() as unit:
            base = unit.insert(tables.work)
            new = base.excluded.due
            earlier = case((or_(W.due.is_(None), W.due > new), new), else_=W.due)
            statement: Insert = base.on_conflict_do_update(
                index_elements=[W.controller, W.key],
                set_={
                    "due": earlier,
                    "ready_at": case((W.token.is_(None), earlier), else_=W.ready_at),
                },
            )
            await unit.execute(statement, rows)

    async def lease(self, controller: str, *, limit: int, ttl: timedelta) -> list[Lease]:
        """Take keys that are ready, those first that have been for longest."""
        token, now = secrets.token_hex(16), self._clock.now()
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
                .values(token=token, ready_at=now + ttl, due=None)
                .returning(W.key, W.attempts)
            )
            return sorted(
                Lease(controller, row.key, token, now + ttl, row.attempts) for row in rows
            )

    async def finish(self, lease: Lease, due: datetime | None) -> None:
        """Give a lease back; the key goes when it is not due again."""
        async with self._writing() as unit:
            if due is None:
                gone = await unit.execute(
                    delete(tables.work).where(_is_held(lease), W.due.is_(None))
                )
                if gone.rowcount:
                    return
            await _give_back(unit, lease, due, attempts=0)

    async def fail(self, lease: Lease, due: datetime) -> None:
        """Give a lease back and count a failure."""
        async with self._writing() as unit:
            await _give_back(unit, lease, due, attempts=lease.attempts + 1)

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back unfinished; those that were lost are left alone."""
        now = self._clock.now()
        async with self._writing() as unit:
            for one in leases:
                await unit.execute(
                    update(tables.work)
                    .where(_is_held(one))
                    .values(token=None, due=now, ready_at=now)
                )

    async def extend(self, lease: Lease, ttl: timedelta) -> Lease:
        """Hold a lease for longer."""
        end = self._clock.now() + ttl
        async with self._writing() as unit:
            result = await unit.execute(
                update(tables.work).where(_is_held(lease)).values(ready_at=end)
            )
            if not result.rowcount:
                raise _lost(lease)
        return lease._replace(expires_at=end)

    async def check(self, unit: Unit, lease: Lease) -> None:
        """Raise ``LeaseLostError`` unless the token holds; it holds until the unit ends."""
        query = _TOKEN_LOCKED if unit.is_postgresql else _TOKEN
        found = await unit.execute(query, {"controller": lease.controller, "key": lease.key})
        if found.scalar_one_or_none() != lease.token:
            raise _lost(lease)

    async def next_due(self, controllers: Iterable[str]) -> datetime | None:
        """Return when the next key can be leased."""
        query = select(func.min(W.ready_at, type_=tables.Instant)).where(
            W.controller.in_(list(controllers))
        )
        async with self._reading() as unit:
            found: datetime | None = (await unit.execute(query)).scalar_one()
        return found

    async def depths(self) -> list[QueueDepth]:
        """Return how much is ready, by controller."""
        async with self._reading() as unit:
            rows = await unit.execute(_DEPTHS, {"now": self._clock.now()})
            return [QueueDepth._make(row) for row in rows]


async def _give_back(unit: Unit, held: Lease, due: datetime | None, *, attempts: int) -> None:
    result = await unit.execute(
        _GIVE_BACK,
        {
            "of_controller": held.controller,
            "of_key": held.key,
            "of_token": held.token,
            "given": due or _NEVER,
            "attempts": attempts,
        },
    )
    if not result.rowcount:
        raise _lost(held)


def _is_held(held: Lease) -> ColumnElement[bool]:
    return and_(W.controller == held.controller, W.key == held.key, W.token == held.token)


def _lost(held: Lease) -> LeaseLostError:
    return LeaseLostError(
        f"the lease of {held.controller} on {held.key} ended, and somebody else took the key"
    )
