"""Events: what happened to resources, for people. Equal ones are counted, old ones forgotten."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import delete, func, select

from moorage.kit.redact import redact_text
from moorage.resources import Resource
from moorage.store import tables
from moorage.store.database import Unit
from moorage.store.operations import SqlOperations

_E = tables.event.c
_LONGEST_MESSAGE = 1024
_MOST_FOR_ONE = 100
KEPT_FOR = timedelta(days=7)


class Event(NamedTuple):
    """Something that happened ``times`` times to one resource."""

    kind: str
    project: str
    name: str
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    first_at: datetime
    last_at: datetime
    times: int


_COLUMNS = [_E[name] for name in Event._fields]


class News(NamedTuple):
    """Something that happened to a resource, to be recorded."""

    resource: Resource
    reason: str
    """One UpperCamel word that a user can search for."""
    message: str
    """One sentence; private keys and passwords in it are blotted out."""
    type: Literal["Normal", "Warning"] = "Normal"
    """``Warning`` when somebody should look."""


async def record(store: SqlOperations, *news: News) -> None:
    """Record what happened, all in one transaction; an equal event is counted once more.

    Args:
        store: The store, or an open transaction.
        news: What happened; of one resource the newest hundred events are kept.
    """
    if not news:
        return
    async with store.writing(durable=False) as unit:
        now = store.clock.now()
        for one in news:
            await _record(unit, one, now)


async def _record(unit: Unit, news: News, now: datetime) -> None:
    meta = news.resource.metadata
    row: dict[str, Any] = {
        "kind": news.resource.kind,
        "project": meta.project,
        "name": meta.name,
        "uid": meta.uid,
        "type": news.type,
        "reason": news.reason,
        "message": redact_text(news.message)[:_LONGEST_MESSAGE],
    }
    digest = hashlib.sha256(json.dumps(sorted(row.items())).encode()).hexdigest()
    newest = select(func.coalesce(func.max(_E.number), 0) + 1).scalar_subquery()
    statement = unit.insert(tables.event).values(
        digest=digest, **row, first_at=now, last_at=now, times=1, number=newest
    )
    result = await unit.execute(
        statement.on_conflict_do_update(
            index_elements=["digest"],
            set_={"last_at": now, "times": _E.times + 1, "number": newest},
        ).returning(_E.times)
    )
    if result.scalar_one() == 1:
        await _forget_oldest(unit, meta.uid)


async def list_events(
    store: SqlOperations,
    *,
    kind: str | None = None,
    project: str | None = None,
    name: str | None = None,
    uid: str | None = None,
    limit: int = 100,
) -> list[Event]:
    """Return events, those first that happened last."""
    query = select(*_COLUMNS).order_by(_E.number.desc(), _E.digest).limit(limit)
    for column, asked in (
        (_E.kind, kind),
        (_E.project, project),
        (_E.name, name),
        (_E.uid, uid),
    ):
        if asked is not None:
            query = query.where(column == asked)
    async with store.reading() as unit:
        return [Event._make(row) for row in await unit.execute(query)]


async def prune(store: SqlOperations, *, kept_for: timedelta = KEPT_FOR) -> int:
    """Forget events that did not happen again for so long; return how many."""
    statement = delete(tables.event).where(_E.last_at < store.clock.now() - kept_for)
    async with store.writing(durable=False) as unit:
        return (await unit.execute(statement)).rowcount


async def _forget_oldest(unit: Unit, uid: str) -> None:
    number = (
        await unit.execute(select(func.count()).select_from(tables.event).where(_E.uid == uid))
    ).scalar_one()
    if number > _MOST_FOR_ONE:
        oldest = (
            select(_E.digest)
            .where(_E.uid == uid)
            .order_by(_E.number, _E.digest)
            .limit(number - _MOST_FOR_ONE)
        )
        await unit.execute(delete(tables.event).where(_E.digest.in_(oldest)))
