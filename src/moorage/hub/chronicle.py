"""Turn what changes in conditions into events, so that people can read what happened when."""

from datetime import datetime, timedelta

import structlog

from moorage.engine.store import Change, Changes
from moorage.hub.context import Hub
from moorage.resources import (
    KINDS,
    CloudAccount,
    Cluster,
    Gateway,
    IPPool,
    Machine,
    NodePool,
    Resource,
    Template,
    TemplateReplica,
)
from moorage.resources.meta import Condition
from moorage.store import events
from moorage.store.events import News

log = structlog.get_logger(__name__)

_TOLD: tuple[type[Resource], ...] = (
    Cluster,
    NodePool,
    Machine,
    CloudAccount,
    IPPool,
    Gateway,
    Template,
    TemplateReplica,
)
_TOLD_NAMES = frozenset(kind.kind_name() for kind in _TOLD)
_SILENT = frozenset({"WaitingForEarlierStep"})
_BAD = frozenset({"Error", "Invalid", "Forbidden", "Conflict", "Unavailable"})
_BAD_ENDS = (
    "Changed",
    "Exhausted",
    "Failed",
    "Invalid",
    "Lost",
    "Mismatch",
    "NotFound",
    "Refused",
    "Short",
    "Skewed",
    "Taken",
    "NotForThisUse",
)
_RECENT = timedelta(hours=24)
_PAGE = 200

Seen = dict[str, tuple[str, str]]
"""Condition type -> (status, reason)."""


class Chronicle:
    """Remembers the conditions it has seen and records each that differs."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._seen: dict[str, Seen] = {}

    async def run(self) -> None:
        """Work until cancelled. What changed while the hub was away is told at its start."""
        async with self._hub.store.watch() as changes:
            await self.catch_up()
            while True:
                await self.tell(await self._batch(changes))

    async def catch_up(self) -> None:
        """Look at everything; tell what no event tells yet, if it is not long ago."""
        for kind in _TOLD:
            after: tuple[str, str] | None = None
            while page := await self._hub.store.list(kind, limit=_PAGE, after=after):
                news = [one for resource in page for one in await self._look(resource)]
                await events.record(self._hub.store, *news)
                after = page[-1].key

    async def tell(self, batch: list[Change]) -> None:
        """Look at what changed."""
        if any(change.is_resync for change in batch):
            await self.catch_up()
            return
        news: list[News] = []
        for change in {(c.kind, c.uid): c for c in batch if c.kind in _TOLD_NAMES}.values():
            if change.deleted:
                self._seen.pop(change.uid, None)
                continue
            resource = await self._hub.store.find(KINDS[change.kind], change.project, change.name)
            if resource is not None:
                news += await self._look(resource)
        # A burst is one transaction: with one for each event, they were a tenth of a busy hub.
        await events.record(self._hub.store, *news)

    async def _batch(self, changes: Changes) -> list[Change]:
        return [await anext(changes), *changes.drain()]

    async def _look(self, resource: Resource) -> list[News]:
        """Return what has changed in a resource's conditions, and remember them."""
        uid = resource.metadata.uid
        conditions: list[Condition] = resource.status.conditions
        before = self._seen.get(uid)
        if before is None:
            before = await self._told_before(resource)
        now: Seen = {c.type: (c.status, c.reason) for c in conditions}
        self._seen[uid] = now
        return [
            News(
                resource,
                condition.reason if condition.status != "True" else condition.type,
                condition.message or f"{condition.type} is {condition.status.lower()}",
                "Warning" if _is_bad(condition) else "Normal",
            )
            for condition in conditions
            if before.get(condition.type) != now[condition.type] and _is_news(condition)
        ]

    async def _told_before(self, resource: Resource) -> Seen:
        """Return the conditions that are no news: told by an event already, or of long ago."""
        conditions: list[Condition] = resource.status.conditions
        limit: datetime = self._hub.clock.now() - _RECENT
        if all(c.last_transition_time < limit for c in conditions):
            return {c.type: (c.status, c.reason) for c in conditions}
        told = await events.list_events(self._hub.store, uid=resource.metadata.uid, limit=100)
        reasons = {event.reason for event in told}
        return {
            c.type: (c.status, c.reason)
            for c in conditions
            if c.last_transition_time < limit
            or (c.type if c.status == "True" else c.reason) in reasons
        }


def _is_news(condition: Condition) -> bool:
    """Leave out what another condition says too: ``Ready`` repeats the step that waits."""
    if condition.reason in _SILENT:
        return False
    return condition.type != "Ready" or condition.status == "True"


def _is_bad(condition: Condition) -> bool:
    if condition.status == "True":
        return False
    return condition.reason in _BAD or condition.reason.endswith(_BAD_ENDS)
