"""SQLite in the event loop's own thread; only what waits for the disk leaves it.

A statement on a local file takes some ten microseconds: less than a trip to another thread and
back. A commit waits until the disk has the data, and opening may wait for another process, so
these two go to a thread. Nothing here blocks on a lock: who finds the writer's lock taken by
another process tries again a little later.
"""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, CursorResult, Executable, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 30.0
_PRAGMAS: Final = ("PRAGMA foreign_keys = ON", "PRAGMA journal_size_limit = 67108864")


class SqliteConnection:
    """One connection for good. Who uses it takes turns, or only reads."""

    def __init__(self, connection: Connection) -> None:
        self._sync = connection
        self._is_durable = True
        # Its own, because all others may be waiting for a vCenter.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-commit")

    def set_durable(self, durable: bool) -> None:
        """Say whether the commits from now on must survive a power cut; not in a transaction."""
        if durable is not self._is_durable:
            self._say(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable

    async def begin(self) -> None:
        """Begin to write; waits while another process does."""
        end = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._say("BEGIN IMMEDIATE")
            except OperationalError as error:
                if not _is_busy(error.orig) or time.monotonic() > end:
                    raise
            else:
                return
            await anyio.sleep(_a_moment())

    async def commit(self) -> None:
        """Commit, in a thread. Returns only when that has ended, whoever cancels this."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._say, "COMMIT")
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
        work.result()
        if cancelled is not None:
            raise cancelled

    async def rollback(self) -> None:
        """Roll back, unless SQLite has done so itself."""
        driver: Any = self._sync.connection.driver_connection
        if driver.in_transaction:
            self._say("ROLLBACK")

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; its rows are all fetched."""
        return self._sync.execute(statement, parameters)

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Run a synchronous function on the connection."""
        return function(self._sync)

    async def invalidate(self) -> None:
        """Do nothing: there is no server to lose it to."""

    async def close(self) -> None:
        """Do nothing: the connection stays open until its engine is disposed of."""

    def shut_down(self) -> None:
        """End its thread."""
        self._thread.shutdown(wait=False)

    def _say(self, sql: str) -> None:
        self._sync.exec_driver_sql(sql)


class SqliteEngine:
    """Opens a file when it is first needed, and keeps it open.

    Args:
        path: The file; it exists.
        pragma: What makes it a reader or a writer.
    """

    def __init__(self, path: Path, pragma: str) -> None:
        self._pragma = pragma
        self.sync = create_engine(
            "sqlite://",
            creator=partial(_connect, path),
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",  # we say BEGIN ourselves, or nothing at all
            skip_autocommit_rollback=True,
        )
        self._opened: SqliteConnection | None = None
        self._opening = anyio.Lock()

    async def connect(self) -> SqliteConnection:
        """Return the connection."""
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await anyio.to_thread.run_sync(self._open)
        return self._opened

    async def dispose(self) -> None:
        """Close it."""
        if self._opened is not None:
            self._opened.shut_down()
            self._opened = None
        self.sync.dispose()

    def _open(self) -> SqliteConnection:
        connection = self.sync.connect()
        try:
            for pragma in (*_PRAGMAS, self._pragma):
                connection.exec_driver_sql(pragma)
        except BaseException:
            self.sync.dispose()
            raise
        return SqliteConnection(connection)


class _Cursor(sqlite3.Cursor):
    """Has all rows once a statement has run: an open one would keep the reader in the past."""

    _rows: Sequence[Any] = ()

    def execute(self, sql: str, parameters: Any = ()) -> "_Cursor":
        super().execute(sql, parameters)
        self._rows = super().fetchall() if self.description else ()
        return self

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, ()
        return list(rows)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return list(rows)

    def fetchone(self) -> Any:
        rows = self.fetchmany(1)
        return rows[0] if rows else None


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    try:
        _turn_wal_on(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _turn_wal_on(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; two that do so to a new file at once refuse each other."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > end:
                raise
            time.sleep(_a_moment())
        else:
            return


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return (code & 0xFF) == sqlite3.SQLITE_BUSY


def _a_moment() -> float:
    return random.uniform(0.01, 0.05)  # noqa: S311 - spreads, keeps no secret
