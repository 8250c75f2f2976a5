"""The audit trail: one entry for each write, committed with it, never changed afterwards.

The entries are a chain (``kit.chain``): numbered without gaps, each names the digest of the one
before. The writers' turn keeps it from forking, on SQLite and among replicas on PostgreSQL. The
database refuses to change entries, and lets those go only that a checkpoint was made the chain's
start for. Callers redact what they hand over.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from moorage.kit.chain import ChainKey, digest_of
from moorage.resources.meta import Document
from moorage.store import tables
from moorage.store.database import Unit
from moorage.store.operations import SqlOperations

_A = tables.audit.c
_C = tables.audit_checkpoint.c
_COLUMNS = [_A[name] for name in tables.audit.c.keys()]  # noqa: SIM118 - not a dict
_CHECKPOINT = [_C.id, _C.at, _C.digest, _C.public_key, _C.signature]
_PAGE = 200


class AuditEntry(NamedTuple):
    """Who did what to which resource, from where, and what came of it."""

    id: int
    at: datetime
    actor: str
    source: str
    verb: str
    kind: str
    project: str
    name: str
    outcome: str
    before: Document | None
    after: Document | None
    digest: str
    previous: str


class Checkpoint(NamedTuple):
    """A signature that vouches for an entry, and so for all before it."""

    id: int
    at: datetime
    digest: str
    public_key: str
    signature: str


async def append(  # noqa: D417 - the rest says itself
    store: SqlOperations,
    *,
    actor: str,
    source: str,
    verb: str,
    kind: str,
    name: str,
    project: str = "",
    outcome: str = "ok",
    before: Document | None = None,
    after: Document | None = None,
) -> None:
    """Append an entry. In a transaction it is committed with the write that it tells of.

    Args:
        store: The store, or an open transaction.
        actor: User who did it, such as ``alice`` or ``gateway/site-1``.
        source: Address that it came from.
        outcome: ``ok``, or the type of the problem that was answered.
        before: The resource as it was, redacted.
        after: The resource as it is now, redacted.
    """
    async with store.writing(ordered=True) as unit:
        number, digest = await _last(unit)
        row: dict[str, Any] = {
            "id": number + 1,
            "at": store.clock.now(),
            "actor": actor,
            "source": source,
            "verb": verb,
            "kind": kind,
            "project": project,
            "name": name,
            "outcome": outcome,
            "before": _text(before),
            "after": _text(after),
            "previous": digest,
        }
        row["digest"] = digest_of(_line(row))
        await unit.execute(insert(tables.audit).values(row))


async def list_entries(
    store: SqlOperations,
    *,
    limit: int = 100,
    before_id: int | None = None,
    kind: str | None = None,
    project: str | None = None,
    name: str | None = None,
    actor: str | None = None,
) -> list[AuditEntry]:
    """Return entries, newest first; ``before_id`` is the last id of the page before."""
    query = select(*_COLUMNS).order_by(_A.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(_A.id < before_id)
    for column, asked in ((_A.kind, kind), (_A.project, project), (_A.name, name)):
        if asked is not None:
            query = query.where(column == asked)
    if actor is not None:
        query = query.where(_A.actor == actor)
    async with store.reading() as unit:
        return [_entry(row._asdict()) for row in await unit.execute(query)]


async def find_entry(store: SqlOperations, number: int) -> AuditEntry | None:
    """Return the entry of that number, if it is there."""
    async with store.reading() as unit:
        row = (await unit.execute(select(*_COLUMNS).where(_A.id == number))).one_or_none()
    return None if row is None else _entry(row._asdict())


async def next_moment(store: SqlOperations, entry: AuditEntry) -> datetime | None:
    """Return when the same object was written to the next time, if it was."""
    same = (_A.kind == entry.kind, _A.project == entry.project, _A.name == entry.name)
    query = select(_A.at).where(*same, _A.id > entry.id, _A.outcome == "ok").order_by(_A.id)
    async with store.reading() as unit:
        found: datetime | None = (await unit.execute(query.limit(1))).scalar_one_or_none()
    return found


async def export(
    store: SqlOperations, installation: str, *, after: int | None = None
) -> AsyncIterator[Document]:
    """Yield the trail as lines for ``kit.chain.Chain``, each checkpoint after its entry.

    Args:
        store: The store; it is read page by page.
        installation: Named in the first line and in what checkpoints sign.
        after: Begin after this entry, of an earlier export; ``None``: at the chain's start.
    """
    number, digest = await _beginning(store, after)
    yield {
        "type": "start",
        "installation": installation,
        "after": {"id": number, "digest": digest},
    }
    for checkpoint in await list_checkpoints(store, first=number, last=number):
        yield checkpoint_line(checkpoint, installation)
    while True:
        page = select(*_COLUMNS).where(_A.id > number).order_by(_A.id).limit(_PAGE)
        async with store.reading() as unit:
            rows = [row._asdict() for row in await unit.execute(page)]
        last = rows[-1]["id"] if len(rows) == _PAGE else None
        waiting = await list_checkpoints(store, first=number + 1, last=last)
        for row in rows:
            number = row["id"]
            yield {"type": "record", **_line(row), "digest": row["digest"]}
            while waiting and waiting[0].id == number:
                yield checkpoint_line(waiting.pop(0), installation)
        for one in waiting:  # its entry is not there: that is for the reader to find
            yield checkpoint_line(one, installation)
        if last is None:
            return


async def list_checkpoints(
    store: SqlOperations, *, first: int = 0, last: int | None = None
) -> list[Checkpoint]:
    """Return the checkpoints of entries from ``first`` to ``last``, in their order."""
    query = select(*_CHECKPOINT).where(_C.id >= first).order_by(_C.id)
    if last is not None:
        query = query.where(_C.id <= last)
    async with store.reading() as unit:
        return [Checkpoint._make(row) for row in await unit.execute(query)]


async def newest_checkpoint(
    store: SqlOperations, *, before: datetime | None = None
) -> Checkpoint | None:
    """Return the newest checkpoint, or the newest of before a moment."""
    query = select(*_CHECKPOINT).order_by(_C.id.desc()).limit(1)
    if before is not None:
        query = query.where(_C.at < before)
    async with store.reading() as unit:
        row = (await unit.execute(query)).one_or_none()
    return None if row is None else Checkpoint._make(row)


async def sign(store: SqlOperations, key: ChainKey, installation: str) -> Checkpoint | None:
    """Vouch for the newest entry; ``None`` when there is none, or it is signed already."""
    async with store.writing(ordered=True) as unit:
        number, digest = await _last(unit)
        newest = (await unit.execute(_newest)).one_or_none()
        if number == 0 or (newest is not None and newest.id == number):
            return None
        unsigned = Checkpoint(number, store.clock.now(), digest, key.public, "")
        signature = key.sign(checkpoint_line(unsigned, installation))
        made = unsigned._replace(signature=signature)
        values = {**made._asdict(), "is_start": 0}
        await unit.execute(insert(tables.audit_checkpoint).values(values))
    return made


async def let_go(store: SqlOperations, upto: Checkpoint) -> int:
    """Delete the entries that a checkpoint vouches for; it becomes the chain's start.

    Returns how many went. Older checkpoints go too.
    """
    async with store.writing(ordered=True) as unit:
        await unit.execute(
            update(tables.audit_checkpoint).where(_C.id == upto.id).values(is_start=1)
        )
        gone = await unit.execute(delete(tables.audit).where(_A.id <= upto.id))
        await unit.execute(delete(tables.audit_checkpoint).where(_C.id < upto.id))
    return gone.rowcount


def checkpoint_line(checkpoint: Checkpoint, installation: str) -> Document:
    """Return a checkpoint as a line of an export."""
    return {
        "type": "checkpoint",
        "installation": installation,
        "id": checkpoint.id,
        "at": _moment(checkpoint.at),
        "digest": checkpoint.digest,
        "publicKey": checkpoint.public_key,
        "signature": checkpoint.signature,
    }


async def _beginning(store: SqlOperations, after: int | None) -> tuple[int, str]:
    """Return number and digest of what the export follows."""
    start = select(_C.id, _C.digest).where(_C.is_start == 1).order_by(_C.id.desc()).limit(1)
    async with store.reading() as unit:
        found = (await unit.execute(start)).one_or_none()
        begins = (0, "") if found is None else (found.id, found.digest)
        if after is None or after <= begins[0]:
            return begins
        query = select(_A.id, _A.digest).where(_A.id <= after).order_by(_A.id.desc()).limit(1)
        entry = (await unit.execute(query)).one_or_none()
    return begins if entry is None else (entry.id, entry.digest)


_newest = select(_C.id, _C.digest).order_by(_C.id.desc()).limit(1)


async def _last(unit: Unit) -> tuple[int, str]:
    """Return number and digest of the newest entry; of the newest checkpoint when none is left."""
    for query in (select(_A.id, _A.digest).order_by(_A.id.desc()).limit(1), _newest):
        found = (await unit.execute(query)).one_or_none()
        if found is not None:
            return found.id, found.digest
    return 0, ""


def _line(row: dict[str, Any]) -> Document:
    """Return what the digest of a row covers."""
    covered = {name: value for name, value in row.items() if name != "digest"}
    covered["at"] = _moment(row["at"])
    for column in ("before", "after"):
        covered[column] = _document(row[column])
    return covered


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _text(document: Document | None) -> str | None:
    return None if document is None else json.dumps(document, separators=(",", ":"))


def _document(text: str | None) -> Any:
    """Return what stands in a column; what is no JSON (any more) as it stands."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def _entry(row: dict[str, Any]) -> AuditEntry:
    for column in ("before", "after"):
        found = _document(row[column])
        row[column] = {"unreadable": found} if isinstance(found, str) else found
    return AuditEntry(**row)
