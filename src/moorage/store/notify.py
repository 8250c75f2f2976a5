"""Changes of other processes on the same PostgreSQL, by ``LISTEN`` and ``NOTIFY``.

Each process hears its own changes at once and in memory; what the others committed comes over a
connection that only listens. When that connection breaks, watchers are told to list again.
"""

import asyncio
import json
import secrets
from collections.abc import Iterable

import anyio
import structlog
from sqlalchemy import URL, text

from moorage.engine.store import RESYNC, Change
from moorage.store.database import Unit
from moorage.store.fanout import Fanout

log = structlog.get_logger(__name__)

_CHANNEL = "moorage_change"
_NOTIFY = text(
    "SELECT pg_notify(:channel, payload) FROM unnest(CAST(:payloads AS text[])) AS payload"
)
"""All at once: each statement is a trip to the server, and a burst has a hundred changes."""
_MOST_AT_ONCE = 200
_RETRY_S = 1.0
_LONGEST_RETRY_S = 15.0


class Notifier:
    """Tells other processes of our changes, and our watchers of theirs."""

    def __init__(self, url: URL, fanout: Fanout) -> None:
        self._url = url
        self._fanout = fanout
        self._origin = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None
        self._listening = anyio.Event()

    async def start(self) -> None:
        """Begin to listen; returns once nothing committed from now on can be missed."""
        self._task = asyncio.create_task(self._listen(), name="moorage-listen")
        with anyio.move_on_after(_LONGEST_RETRY_S):
            await self._listening.wait()

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._task])
            self._task = None

    async def announce(self, unit: Unit, changes: Iterable[Change]) -> None:
        """Send changes with the unit's commit, or not at all."""
        chosen = list(changes)
        if len(chosen) > _MOST_AT_ONCE:
            chosen = [RESYNC]
        if chosen:
            payloads = [json.dumps([self._origin, *change]) for change in chosen]
            await unit.execute(_NOTIFY, {"channel": _CHANNEL, "payloads": payloads})

    async def _listen(self) -> None:
        import psycopg  # noqa: PLC0415 - large, and not needed on SQLite

        pause = _RETRY_S
        while True:
            try:
                await self._listen_once()
            except (psycopg.Error, OSError) as error:
                log.warning("listening for changes failed", error=str(error), retry_s=pause)
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_RETRY_S) if not self._listening.is_set() else _RETRY_S
            self._listening = anyio.Event()

    async def _listen_once(self) -> None:
        import psycopg  # noqa: PLC0415

        _, options = self._url.get_dialect()().create_connect_args(self._url)
        options["connect_timeout"] = 10
        async with await psycopg.AsyncConnection.connect(
            **options, autocommit=True, keepalives_idle=30, application_name="moorage-listen"
        ) as connection:
            await connection.execute(f"LISTEN {_CHANNEL}")
            self._listening.set()
            self._fanout.publish([RESYNC])  # for what was committed while nobody listened
            async for notification in connection.notifies():
                self._hear(notification.payload)

    def _hear(self, payload: str) -> None:
        try:
            origin, *fields = json.loads(payload)
            change = Change(*fields)
        except (ValueError, TypeError):  # of another release: something changed, whatever it was
            self._fanout.publish([RESYNC])
            return
        if origin != self._origin:
            self._fanout.publish([change])
