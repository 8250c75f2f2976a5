"""Open a store: lock, connect, migrate."""

from pathlib import Path

from moorage.kit.clock import Clock, SystemClock
from moorage.store.database import Database
from moorage.store.failures import REMEDY
from moorage.store.lock import Lock
from moorage.store.migrate import migrate
from moorage.store.sql import SqlStore


async def open_store(
    url: str,
    *,
    clock: Clock | None = None,
    mirror: bool = False,
    exclusive: bool = False,
    remedy: str = REMEDY,
) -> "SqlStore":
    """Open the store at ``url``, bringing its tables up to date.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://user@host/database``.
        clock: Tells the time. By default it is the machine's own, and on PostgreSQL leases go by
            the server's, so that processes on several machines agree.
        mirror: Intent resources belong to a hub: with their last finalizer they stay.
        exclusive: This process is the only one that works here. It locks the SQLite file, looks
            for damage in it, and keeps its queue in memory.
        remedy: What to do when the database is damaged; the end of a sentence.

    Raises ``UnavailableError`` when the database cannot be reached or another process has
    locked it, and ``TerminalError`` when it is damaged or of a newer release.
    """
    database = Database(url, remedy=remedy)
    lock = None
    if exclusive and not database.is_postgresql:
        lock = Lock(Path(f"{database.url.database}"))
    try:
        if lock is not None:
            await database.check()
        await migrate(database)
        store = SqlStore(
            database,
            clock=clock or SystemClock(),
            is_mirror=mirror,
            by_server=database.is_postgresql and clock is None,
            lock=lock,
        )
        if lock is not None:
            lock.note_opened()
        await store.start()
    except BaseException:
        await database.close()
        if lock is not None:
            lock.release()
        raise
    return store
