"""The store on SQLite and PostgreSQL, and a transaction on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar

from sqlalchemy import URL

from moorage.engine.lease import current
from moorage.kit.clock import Clock
from moorage.store.database import Database, Unit
from moorage.store.fanout import Fanout, Subscription
from moorage.store.lock import Lock
from moorage.store.notify import Notifier
from moorage.store.operations import SqlOperations
from moorage.store.queue_memory import MemoryQueue
from moorage.store.view import View
from moorage.store.wellbeing import Wellbeing


class SqlTransaction(SqlOperations):
    """An open transaction; what is done on it is committed together, or not at all."""

    def __init__(self, store: "SqlStore", unit: Unit) -> None:
        super().__init__(
            store.clock,
            is_mirror=store.is_mirror,
            by_server=store.by_server,
            memory=store.memory,
        )
        self._store = store
        self.unit = unit
        self.task = asyncio.current_task()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Unit]:
        """Yield the transaction's own unit: it sees what it has written."""
        yield self.unit

    @asynccontextmanager
    async def writing(
        self,
        *,
        ordered: bool = False,  # noqa: ARG002 - a transaction always is
        durable: bool = True,  # noqa: ARG002
        guarded: bool = True,  # noqa: ARG002 - it was when it began
    ) -> AsyncIterator[Unit]:
        """Yield the transaction's own unit."""
        yield self.unit

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqlTransaction"]:
        """Join this transaction."""
        yield self

    def watch(self) -> AbstractAsyncContextManager[Subscription]:
        """Watch all changes from now on."""
        return self._store.watch()

    def views(self) -> dict[type[View], View]:
        """Return the views of the store: what this transaction writes is not in them."""
        return self._store.views()


class SqlStore(SqlOperations):
    """A store on one database; see ``open_store``.

    Within ``transaction()`` the store itself joins too, as long as it is the same task.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        is_mirror: bool = False,
        by_server: bool = False,
        lock: Lock | None = None,
    ) -> None:
        memory = MemoryQueue(clock) if lock is not None else None
        super().__init__(clock, is_mirror=is_mirror, by_server=by_server, memory=memory)
        self._database = database
        self._lock = lock
        self.may_lack_commits = lock is not None and lock.log_is_lost
        """The write-ahead log was gone at the start: the newest commits may be, too."""
        self._fanout = Fanout()
        self._views: dict[type[View], View] = {}
        self._open: ContextVar[SqlTransaction | None] = ContextVar("transaction", default=None)
        shared = database.is_postgresql
        self._notifier = Notifier(database.url, self._fanout) if shared else None

    @property
    def url(self) -> URL:
        """The database's URL, with its password."""
        return self._database.url

    @property
    def wellbeing(self) -> Wellbeing:
        """Whether the disk is full, and whether the database is damaged."""
        return self._database.wellbeing

    @property
    def is_shared(self) -> bool:
        """Tell whether other processes may work on the same database."""
        return self._database.is_postgresql

    async def start(self) -> None:
        """Begin to hear of other processes' changes."""
        if self._notifier is not None:
            await self._notifier.start()

    async def close(self) -> None:
        """Close all connections. Afterwards the store cannot be used."""
        if self._notifier is not None:
            await self._notifier.stop()
        if self._lock is not None:
            self._lock.note_closing()
        await self._database.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Unit]:
        """Yield a unit that reads, or the open transaction's."""
        joined = self._joined()
        if joined is not None:
            yield joined.unit
            return
        async with self._database.read() as unit:
            yield unit

    @asynccontextmanager
    async def writing(
        self, *, ordered: bool = False, durable: bool = True, guarded: bool = True
    ) -> AsyncIterator[Unit]:
        """Yield a unit that writes, or the open transaction's; watchers hear of it afterwards."""
        joined = self._joined()
        if joined is not None:
            yield joined.unit
            return
        written: Unit | None = None
        try:
            async with self._database.write(ordered=ordered, durable=durable) as unit:
                written = unit
                held = current() if guarded else None
                if held is not None:
                    await self.queue.check(unit, held.lease)
                yield unit
                if self._notifier is not None:
                    await self._notifier.announce(unit, unit.changes)
        finally:
            if written is not None and written.may_be_committed:
                self._fanout.publish(written.changes)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlTransaction]:
        """Open a transaction, or join the one that this task has open."""
        joined = self._joined()
        if joined is not None:
            yield joined
            return
        async with self.writing(ordered=True) as unit:
            transaction = SqlTransaction(self, unit)
            token = self._open.set(transaction)
            try:
                yield transaction
            finally:
                self._open.reset(token)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Subscription]:
        """Watch all changes from now on."""
        with self._fanout.subscribe() as subscription:
            yield subscription

    def views(self) -> dict[type[View], View]:
        """Return the views that were ever asked for."""
        return self._views

    def _joined(self) -> SqlTransaction | None:
        """Return this task's open transaction; a task started within it is not part of it."""
        found = self._open.get()
        if found is None or not found.unit.is_open or found.task is not asyncio.current_task():
            return None
        return found
