"""Alerts and what is sent of them: one row for each rule and object, one for each delivery."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, or_, select, update

from moorage.kit.ids import new_uid
from moorage.resources.meta import Document
from moorage.store import tables
from moorage.store.database import Unit
from moorage.store.operations import SqlOperations

_A, _D, _S = tables.alert.c, tables.delivery.c, tables.channel_secret.c
_ALERT = [_A[name] for name in tables.alert.c.keys()]  # noqa: SIM118 - not a dict
_DELIVERY = [_D[name] for name in tables.delivery.c.keys()]  # noqa: SIM118
ENDED_KEPT_FOR = timedelta(days=30)
SENT_KEPT_FOR = timedelta(days=7)


class Trouble(NamedTuple):
    """What a rule says of one object, now."""

    rule: str
    kind: str
    project: str
    name: str
    uid: str
    cluster: str
    """That the object is, or belongs to; empty: none."""
    message: str
    since: datetime


class Alert(NamedTuple):
    """One rule's word on one object, also after it has ended."""

    id: str
    rule: str
    kind: str
    project: str
    name: str
    uid: str
    cluster: str
    message: str
    since: datetime
    last_at: datetime
    times: int
    ended_at: datetime | None
    told: int
    acknowledged_by: str
    acknowledged_at: datetime | None
    note: str


class Delivery(NamedTuple):
    """Something sent, or to be sent, to one channel."""

    id: str
    channel_uid: str
    body: str
    created_at: datetime
    due: datetime | None
    attempts: int
    delivered_at: datetime | None
    answer: str


async def list_alerts(
    store: SqlOperations, *, project: str | None = None, ended: bool = True, limit: int = 1000
) -> list[Alert]:
    """Return alerts, those that go on first, then the newest; ``ended``: those of before too."""
    query = select(*_ALERT).order_by(_A.ended_at.is_not(None), _A.since.desc(), _A.id)
    if project is not None:
        query = query.where(_A.project == project)
    if not ended:
        query = query.where(_A.ended_at.is_(None))
    async with store.reading() as unit:
        return [Alert._make(row) for row in await unit.execute(query.limit(limit))]


async def find_alert(store: SqlOperations, id_: str) -> Alert | None:
    """Return one alert."""
    async with store.reading() as unit:
        row = (await unit.execute(select(*_ALERT).where(_A.id == id_))).one_or_none()
    return None if row is None else Alert._make(row)


async def acknowledge(store: SqlOperations, id_: str, by: str, note: str) -> None:
    """Note who looks after an alert; an empty name takes that back."""
    at = store.clock.now() if by else None
    values = {"acknowledged_by": by, "acknowledged_at": at, "note": note}
    async with store.writing() as unit:
        await unit.execute(update(tables.alert).where(_A.id == id_).values(values))


async def begin(unit: Unit, trouble: Trouble, now: datetime) -> None:
    """Raise an alert, or the same one again."""
    row: dict[str, Any] = {
        **trouble._asdict(),
        "last_at": now,
        "ended_at": None,
        "told": 0,
        "acknowledged_by": "",
        "acknowledged_at": None,
        "note": "",
    }
    statement = unit.insert(tables.alert).values(id=new_uid(), times=1, **row)
    await unit.execute(
        statement.on_conflict_do_update(
            index_elements=["rule", "uid"], set_={**row, "times": _A.times + 1}
        )
    )


async def change(unit: Unit, alert: Alert, **values: Any) -> None:
    """Write some columns of an alert."""
    await unit.execute(update(tables.alert).where(_A.id == alert.id).values(values))


async def enqueue(
    store: SqlOperations, channels: Iterable[str], body: Document, now: datetime
) -> None:
    """Have something sent to channels, in the transaction that is open."""
    rows = [
        {
            "id": new_uid(),
            "channel_uid": uid,
            "body": json.dumps(body, ensure_ascii=False),
            "created_at": now,
            "due": now,
            "attempts": 0,
            "delivered_at": None,
            "answer": "",
        }
        for uid in channels
    ]
    async with store.writing() as unit:
        for row in rows:
            await unit.execute(insert(tables.delivery).values(row))


async def due_deliveries(store: SqlOperations, *, limit: int) -> list[Delivery]:
    """Return what shall be sent now, what is due for longest first."""
    query = select(*_DELIVERY).where(_D.due <= store.clock.now()).order_by(_D.due).limit(limit)
    async with store.reading() as unit:
        return [Delivery._make(row) for row in await unit.execute(query)]


async def note_sent(
    store: SqlOperations, sent: Delivery, answer: str, *, delivered: bool, again: datetime | None
) -> None:
    """Note how an attempt ended; ``again``: when the next one is due, if there is one."""
    values = {
        "attempts": sent.attempts + 1,
        "answer": answer[:500],
        "due": again,
        "delivered_at": store.clock.now() if delivered else None,
    }
    async with store.writing() as unit:
        await unit.execute(update(tables.delivery).where(_D.id == sent.id).values(values))


async def list_deliveries(
    store: SqlOperations, channel_uid: str, *, limit: int = 100
) -> list[Delivery]:
    """Return what was sent to a channel, the newest first."""
    query = (
        select(*_DELIVERY)
        .where(_D.channel_uid == channel_uid)
        .order_by(_D.created_at.desc(), _D.id)
        .limit(limit)
    )
    async with store.reading() as unit:
        return [Delivery._make(row) for row in await unit.execute(query)]


async def set_secret(store: SqlOperations, channel_uid: str, secret: str) -> None:
    """Store what a channel's deliveries are signed with."""
    async with store.writing() as unit:
        statement = unit.insert(tables.channel_secret).values(uid=channel_uid, secret=secret)
        await unit.execute(
            statement.on_conflict_do_update(index_elements=["uid"], set_={"secret": secret})
        )


async def get_secret(store: SqlOperations, channel_uid: str) -> str:
    """Return it; empty when there is none."""
    query = select(_S.secret).where(_S.uid == channel_uid)
    async with store.reading() as unit:
        found: str | None = (await unit.execute(query)).scalar_one_or_none()
    return found or ""


async def forget_channel(store: SqlOperations, channel_uid: str) -> None:
    """Drop what belongs to a channel that goes."""
    async with store.writing() as unit:
        await unit.execute(delete(tables.channel_secret).where(_S.uid == channel_uid))
        await unit.execute(delete(tables.delivery).where(_D.channel_uid == channel_uid))


async def prune(store: SqlOperations) -> None:
    """Forget alerts that ended long ago, and deliveries that are old."""
    now = store.clock.now()
    async with store.writing(durable=False) as unit:
        await unit.execute(delete(tables.alert).where(_A.ended_at < now - ENDED_KEPT_FOR))
        old = or_(_D.due.is_(None), _D.attempts == 0)
        await unit.execute(delete(tables.delivery).where(_D.created_at < now - SENT_KEPT_FOR, old))


async def keys_ending(
    store: SqlOperations, before: datetime
) -> list[tuple[str, str, str, datetime]]:
    """Return ID, name, user and end of API keys that end before a moment, and have not yet."""
    key = tables.api_key.c
    query = select(key.id, key.name, key.user, key.expires_at).where(
        key.expires_at > store.clock.now(), key.expires_at <= before
    )
    async with store.reading() as unit:
        return [(row.id, row.name, row.user, row.expires_at) for row in await unit.execute(query)]
