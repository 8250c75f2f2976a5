"""Answers of requests that carried an idempotency key, kept for a day.

A row is made before the request is carried out; the transaction that carries it out notes that in
the row, so that after a crash it is known whether it was.
"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, select, update

from moorage.store import tables
from moorage.store.operations import SqlOperations

KEPT = timedelta(hours=24)
ABANDONED = timedelta(minutes=5)
"""A request that is older and was not carried out died with its replica."""
LOST = timedelta(minutes=1)
"""The answer of a request that was carried out is kept right after, or never."""

_T = tables.idempotency.c


class Kept(NamedTuple):
    """What is known of an earlier request with the same key."""

    digest: str
    """Of method, address and body."""
    is_lost: bool
    """It was carried out, and nobody will know its answer."""
    status: int | None
    """HTTP status of the answer; ``None``: it is not known, or not there yet."""
    etag: str | None
    answer: str


class Claim(NamedTuple):
    """A key of a user; keys of others are others."""

    user: str
    key: str


async def begin(store: SqlOperations, claim: Claim, digest: str) -> Kept | None:
    """Take a key for a request; return what there is of an earlier one, ``None`` if it is new."""
    now = store.clock.now()
    mine = (_T.user == claim.user, _T.key == claim.key)
    async with store.writing() as unit:
        await unit.execute(delete(tables.idempotency).where(*mine, _T.began_at <= now - KEPT))
        abandoned = (_T.done_at.is_(None), _T.began_at <= now - ABANDONED)
        await unit.execute(delete(tables.idempotency).where(*mine, *abandoned))
        row = {"user": claim.user, "key": claim.key, "digest": digest, "began_at": now}
        statement = unit.insert(tables.idempotency).values(**row)
        statement = statement.on_conflict_do_nothing(index_elements=["user", "key"])
        if (await unit.execute(statement.returning(_T.key))).first() is not None:
            return None
        columns = (_T.digest, _T.done_at, _T.status, _T.etag, _T.answer)
        found = (await unit.execute(select(*columns).where(*mine))).one()
    is_lost = found.status is None and found.done_at is not None and found.done_at <= now - LOST
    return Kept(found.digest, is_lost, found.status, found.etag, found.answer or "")


async def note_done(store: SqlOperations, claim: Claim) -> None:
    """Note in the open transaction that it carries the request out."""
    await _set(store, claim, done_at=store.clock.now())


async def keep(
    store: SqlOperations, claim: Claim, status: int, etag: str | None, answer: str
) -> None:
    """Keep the answer."""
    now = store.clock.now()
    await _set(store, claim, done_at=now, status=status, etag=etag, answer=answer)


async def forget(store: SqlOperations, claim: Claim) -> None:
    """Give the key back after a request that changed nothing; what was carried out stays."""
    mine = (_T.user == claim.user, _T.key == claim.key, _T.done_at.is_(None))
    async with store.writing() as unit:
        await unit.execute(delete(tables.idempotency).where(*mine))


async def sweep(store: SqlOperations) -> None:
    """Remove what is older than a day."""
    async with store.writing() as unit:
        old = _T.began_at <= store.clock.now() - KEPT
        await unit.execute(delete(tables.idempotency).where(old))


async def _set(store: SqlOperations, claim: Claim, **values: object) -> None:
    mine = (_T.user == claim.user, _T.key == claim.key)
    async with store.writing() as unit:
        await unit.execute(update(tables.idempotency).where(*mine).values(**values))
