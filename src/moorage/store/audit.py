"""The audit trail: one entry for each write, committed with it, never changed afterwards.

The database refuses to change or delete entries, and each carries a digest over itself and the
digest of the entry before, so that ``verify`` finds what was altered behind the database's back.
Callers redact what they hand over.
"""

import hashlib
import json
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import insert, select

from moorage.resources.meta import Document
from moorage.store import tables
from moorage.store.database import Unit
from moorage.store.operations import SqlOperations

_A = tables.audit.c
_COLUMNS = [_A[name] for name in tables.audit.c.keys()]  # noqa: SIM118 - not a dict
_PAGE = 500


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
        row: dict[str, Any] = {
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
        }
        row["digest"] = _digest(await _last_digest(unit), row)
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


async def verify(store: SqlOperations) -> int | None:
    """Return the id of the first entry that does not follow from those before, or ``None``.

    Entries cut off at the end leave no trace here: keep the newest digest elsewhere for that.
    """
    digest = ""
    last_id: int = 0
    async with store.reading() as unit:
        while True:
            page = select(*_COLUMNS).where(_A.id > last_id).order_by(_A.id).limit(_PAGE)
            rows = (await unit.execute(page)).all()
            if not rows:
                return None
            for row in rows:
                values = row._asdict()
                last_id = values.pop("id")
                stored = values.pop("digest")
                digest = _digest(digest, values)
                if digest != stored:
                    return last_id


async def _last_digest(unit: Unit) -> str:
    query = select(_A.digest).order_by(_A.id.desc()).limit(1)
    return (await unit.execute(query)).scalar_one_or_none() or ""


def _digest(previous: str, row: dict[str, Any]) -> str:
    fields = {**row, "at": row["at"].isoformat()}
    text = json.dumps([previous, sorted(fields.items())], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(document: Document | None) -> str | None:
    return None if document is None else json.dumps(document, separators=(",", ":"))


def _entry(row: dict[str, Any]) -> AuditEntry:
    for column in ("before", "after"):
        row[column] = None if row[column] is None else json.loads(row[column])
    return AuditEntry(**row)
