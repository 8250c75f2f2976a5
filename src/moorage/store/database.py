"""Connections and transactions: how SQLite and PostgreSQL are made to behave alike.

SQLite has one writer at a time: it takes turns, and begins with ``BEGIN IMMEDIATE``. There is a
separate connection that only reads. With the write-ahead log readers never wait, and nobody
meets "database is locked". On PostgreSQL an advisory lock puts writers of resources in turn, so
that versions become visible in their order. A statement that has begun is not cancelled: it is
short, and what became of it would not be known; between statements a task can be cancelled.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import anyio
import anyio.lowlevel
from sqlalchemy import URL, Connection, CursorResult, Executable, Table, make_url, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from moorage.kit.errors import InvalidError, UnavailableError
from moorage.store.failures import QUICK_CHECK, REMEDY, StoreCorruptError, damage_of, translated
from moorage.store.sqlite import SqliteEngine
from moorage.store.wellbeing import Wellbeing

if TYPE_CHECKING:
    from moorage.engine.store import Change, Lease

T = TypeVar("T")

_BURST_S: Final = 0.005
"""How long a transaction on SQLite may go on before it lets requests of others in."""
_TURN_TIMEOUT_S: Final = 60
_STATEMENT_TIMEOUT_S: Final = 60
_STOPPED_S: Final = 10
"""A process that stopped inside a transaction keeps all writers waiting: PostgreSQL ends it."""
_ORDER_LOCK: Final = 0x6D6F6F72  # any number that is only ours
MIGRATION_LOCK: Final = _ORDER_LOCK + 1


class StoreConnection(Protocol):
    """What a unit works on: a connection to either database."""

    def set_durable(self, durable: bool) -> None: ...

    async def begin(self) -> None: ...

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]: ...

    async def run(self, function: Callable[[Connection], T]) -> T: ...

    async def invalidate(self) -> None: ...

    async def close(self) -> None: ...


class StoreEngine(Protocol):
    """Where connections come from."""

    async def connect(self) -> StoreConnection: ...

    async def dispose(self) -> None: ...


class Unit:
    """One transaction, or one read. All statements of the store go through ``execute``."""

    def __init__(self, connection: StoreConnection, *, is_postgresql: bool) -> None:
        self.connection = connection
        self.is_postgresql = is_postgresql
        self.is_open = True
        self.may_be_committed = False
        """True once the commit was asked for, even if its answer was lost."""
        self.changes: list[Change] = []
        """To be told to watchers after the commit."""
        self.confirmed: set[Lease] = set()
        """Leases that are known to hold until the end."""
        self._let_others_run_at = time.monotonic() + _BURST_S

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement. Cancellation comes before it, or waits until it has ended."""
        if not self.is_open:
            raise RuntimeError("this transaction has ended: use the store, or begin another one")
        if not self.is_postgresql:
            # Answers without waiting. Others wait for the event loop, so now and then it is theirs.
            if time.monotonic() > self._let_others_run_at:
                await anyio.lowlevel.checkpoint()
                self._let_others_run_at = time.monotonic() + _BURST_S
            else:
                await anyio.lowlevel.checkpoint_if_cancelled()
            return await self.connection.execute(statement, parameters)
        await anyio.lowlevel.checkpoint_if_cancelled()
        with _uncancelled():
            result = await self.connection.execute(statement, parameters)
        return result  # noqa: RET504 - the scope must have ended

    async def run(self, function: Callable[[Connection], None]) -> None:
        """Run a synchronous function, such as Alembic's, on the connection."""
        with anyio.CancelScope(shield=True):
            await self.connection.run(function)

    def insert(self, table: Table) -> Any:
        """Begin an ``INSERT`` that may say ``ON CONFLICT``, which each database has its own of."""
        if self.is_postgresql:
            from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - large, seldom needed

            return postgresql.insert(table)
        return sqlite.insert(table)


class Database:
    """Engines of one database, and the turn of its writers.

    Args:
        url: See ``open_store``.
        remedy: What to do when it is damaged; the end of a sentence.
    """

    def __init__(self, url: str, *, remedy: str = REMEDY) -> None:
        self.url: URL = _checked(url)
        self.is_postgresql = self.url.get_backend_name() == "postgresql"
        self.where = self.url.render_as_string(hide_password=True)
        self._turn = anyio.Lock()
        self.reader: StoreEngine
        self._writer: StoreEngine
        file: Path | None = None
        if self.is_postgresql:
            self.reader = self._writer = _postgresql_engine(self.url)
        else:
            self.where = str(self.url.database)
            file = Path(self.where)
            _create_private(file)
            self.reader = SqliteEngine(file, "PRAGMA query_only = ON")
            self._writer = SqliteEngine(file, "PRAGMA synchronous = FULL")
        self._remedy = remedy
        self.wellbeing = Wellbeing(file, self.where, remedy)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Unit]:
        """Yield a unit for one statement, or for several that need not agree."""
        # SQLite answers without waiting: who reads again and again must let others run.
        await anyio.lowlevel.checkpoint()
        with translated(self.where, self._remedy, self.wellbeing.note):
            async with self._connected(self.reader) as connection:
                yield Unit(connection, is_postgresql=self.is_postgresql)

    @asynccontextmanager
    async def write(self, *, ordered: bool, durable: bool = True) -> AsyncIterator[Unit]:
        """Yield a unit whose writes are committed together when the block ends without error.

        Args:
            ordered: Take the turn that gives resource versions in the order of commits.
            durable: Whether it must survive a power cut. On SQLite, flushing to disk is most of
                the time of a commit, and the queue is made anew at each start.
        """
        with translated(self.where, self._remedy, self.wellbeing.note):
            async with self._taking_turns(), self._connected(self._writer) as connection:
                unit = Unit(connection, is_postgresql=self.is_postgresql)
                connection.set_durable(durable)
                with _uncancelled():
                    await connection.begin()
                try:
                    if ordered and self.is_postgresql:
                        await unit.execute(_TAKE_ORDER_LOCK)
                    yield unit
                except BaseException:
                    unit.is_open = False
                    with anyio.CancelScope(shield=True):
                        await _roll_back(connection)
                    raise
                unit.is_open = False
                unit.may_be_committed = True
                with anyio.CancelScope(shield=True):
                    try:
                        await connection.commit()
                    except SQLAlchemyError:
                        await _roll_back(connection)
                        raise
                self.wellbeing.note_written()

    async def check(self) -> None:
        """Read the whole SQLite file; raises ``StoreCorruptError`` when a page is damaged."""
        if self.is_postgresql:
            return
        found: list[str | None] = []

        def look(connection: Connection) -> None:
            found.append(damage_of(connection.exec_driver_sql(QUICK_CHECK).fetchall()))

        try:
            async with self.read() as unit:
                await unit.run(look)
        except StoreCorruptError as error:
            raise await self.wellbeing.described(error) from error
        if found[0] is not None:
            raise StoreCorruptError(self.where, found[0], self._remedy)

    async def close(self) -> None:
        """Close all connections."""
        with anyio.CancelScope(shield=True):
            for engine in {self.reader, self._writer}:
                await engine.dispose()

    @asynccontextmanager
    async def _connected(self, engine: StoreEngine) -> AsyncIterator[StoreConnection]:
        with _uncancelled():
            connection = await engine.connect()
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()

    @asynccontextmanager
    async def _taking_turns(self) -> AsyncIterator[None]:
        if self.is_postgresql:
            yield
            return
        try:
            with anyio.fail_after(_TURN_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise UnavailableError(
                f"waited {_TURN_TIMEOUT_S} s for the turn to write to {self.where}: "
                "another transaction is still open"
            ) from error
        try:
            yield
        finally:
            self._turn.release()


_TAKE_ORDER_LOCK = text(f"SELECT pg_advisory_xact_lock({_ORDER_LOCK})")


@contextmanager
def _uncancelled() -> Iterator[None]:
    """Shield a statement from cancellation, but not from a database that never answers."""
    try:
        with anyio.fail_after(_STATEMENT_TIMEOUT_S, shield=True):
            yield
    except TimeoutError as error:
        raise UnavailableError(
            f"the database did not answer within {_STATEMENT_TIMEOUT_S} s"
        ) from error


async def _roll_back(connection: StoreConnection) -> None:
    try:
        await connection.rollback()
    except SQLAlchemyError:
        await connection.invalidate()  # what broke the block says more than this


def _checked(url: str) -> URL:
    shapes = "sqlite:///path or postgresql+psycopg://user@host/database"
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise InvalidError(f"the database URL cannot be read: write {shapes}") from error
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise InvalidError(f"the database URL begins with {parsed.drivername!r}: write {shapes}")
    if parsed.drivername.startswith("sqlite") and parsed.database in {None, "", ":memory:"}:
        raise InvalidError("SQLite needs a file: write sqlite:///path")
    return parsed


def _create_private(path: Path) -> None:
    """Create the file for its owner only; SQLite gives its side files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise UnavailableError(f"cannot open the database file {path}: {error.strerror}") from error


def _postgresql_engine(url: URL) -> StoreEngine:
    from moorage.store.aio import AsyncEngine  # noqa: PLC0415 - 2 MiB, and only for PostgreSQL

    return AsyncEngine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_timeout=_TURN_TIMEOUT_S,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 10,
            "application_name": "moorage",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_S * 1000 // 2} "
            f"-c idle_in_transaction_session_timeout={_STOPPED_S * 1000} "
            "-c default_transaction_isolation=read\\ committed",
        },
    )
