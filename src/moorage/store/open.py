"""Open a store: lock, connect, migrate."""

import fcntl
import os
from pathlib import Path

from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import UnavailableError
from moorage.store.database import Database
from moorage.store.migrate import migrate
from moorage.store.sql import SqlStore


async def open_store(
    url: str, *, clock: Clock | None = None, mirror: bool = False, exclusive: bool = False
) -> "SqlStore":
    """Open the store at ``url``, bringing its tables up to date.

    Args:
        url: ``sqlite+aiosqlite:///path`` or ``postgresql+psycopg://user@host/database``.
        clock: Tells the time. By default it is the machine's own, and on PostgreSQL leases go by
            the server's, so that processes on several machines agree.
        mirror: Intent resources belong to a hub: with their last finalizer they stay.
        exclusive: This process is the only one that works here. It locks the SQLite file, and
            keeps its queue in memory.

    Raises ``UnavailableError`` when the database cannot be reached or another process has
    locked it, and ``TerminalError`` when it is damaged or of a newer release.
    """
    database = Database(url)
    lock = None
    if exclusive and not database.is_postgresql:
        lock = _lock(Path(f"{database.url.database}.lock"))
    try:
        await migrate(database)
        store = SqlStore(
            database,
            clock=clock or SystemClock(),
            is_mirror=mirror,
            by_server=database.is_postgresql and clock is None,
            lock=lock,
        )
        await store.start()
    except BaseException:
        await database.close()
        if lock is not None:
            os.close(lock)
        raise
    return store


def _lock(path: Path) -> int:
    """Take a lock that ends with the process, however that ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnavailableError(f"cannot open the lock file {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UnavailableError(
            f"another process works with this database (it holds {path}): stop it first"
        ) from error
    return descriptor
