"""What goes wrong in a database, said as the few errors that callers treat differently."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from moorage.kit.errors import (
    MoorageError,
    StorageFullError,
    TerminalError,
    UnavailableError,
)

REMEDY = "keep a copy of the file, and restore the last backup"
"""What to do about a damaged database, where its owner says nothing better."""

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_ADVICE = {
    sqlite3.SQLITE_READONLY: "the file, or its file system, is read-only: make it writable",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check that its folder exists and its mode",
    sqlite3.SQLITE_IOERR: "the disk answered with an error: check it and its file system",
    sqlite3.SQLITE_BUSY: "another process holds the database: stop it, or wait for it",
    sqlite3.SQLITE_PERM: "this user may not use the file: check its owner and mode",
}
_POSTGRESQL_FULL = "53100"
_POSTGRESQL_ADVICE = {
    "28P01": "PostgreSQL refused the password: correct the database URL",
    "3D000": "the database does not exist: create it, or correct the database URL",
    "42501": "PostgreSQL refused for want of rights: let the user own the database",
}
_POSTGRESQL_CORRUPT = ("XX001", "XX002")
_MOST_FAULTS = 3
_LEAST_ROOM = 64 * 1024
"""With less it is for want of room that SQLite's shared memory could not grow."""


class StoreCorruptError(TerminalError):
    """The database is damaged: nothing may be read from it, or written to it, any more."""

    def __init__(self, where: str, said: str, remedy: str) -> None:
        super().__init__("StoreCorrupt", f"the database at {where} is damaged ({said}): {remedy}")
        self.said = said


@contextmanager
def translated(
    where: str, remedy: str = REMEDY, tell: Callable[[MoorageError], None] = lambda _: None
) -> Iterator[None]:
    """Turn a driver's error into ``UnavailableError`` or ``TerminalError``.

    Args:
        where: Names the database; for SQLite its file.
        remedy: What to do when it is damaged.
        tell: Is told of each error, before it is raised.

    A broken rule of the schema passes, because the caller knows what it means, and so does a
    wrong statement, because that is a fault of ours.
    """
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, IntegrityError | DataError | ProgrammingError) and not _known(error):
            raise
        meaning = _meaning(error, where, remedy)
        tell(meaning)
        raise meaning from error
    except SQLAlchemyError as error:
        raise UnavailableError(f"the database at {where} cannot be used: {error}") from error


QUICK_CHECK = f"PRAGMA quick_check({_MOST_FAULTS})"
"""Reads the whole file and follows every tree of pages (0.1 s of processor time for 100 MiB, 0.5 s
if none of it is cached); it does not compare indices with their tables."""


def damage_of(rows: Iterable[Sequence[object]]) -> str | None:
    """Return what the quick check's rows say of the first damaged pages, if any are."""
    said = [str(row[0]).removeprefix("*** in database main ***\n") for row in rows]
    return "; ".join(said) if said not in ([], ["ok"]) else None


def describe_damage(file: Path) -> str | None:
    """Look through a damaged file once more, to name its pages; it is not written to.

    Where the check itself ends with an error, it has named no page: then the table is named.
    """
    said: list[str] = []
    with suppress(sqlite3.Error):
        address = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                try:
                    found = damage_of(connection.execute(f"PRAGMA quick_check('{table}')"))
                except sqlite3.Error as error:
                    found = str(error)
                if found is not None:
                    said.append(f"table {table}: {found}")
    return "; ".join(said) or None


def _meaning(error: DBAPIError, where: str, remedy: str) -> MoorageError:
    cause = _driver_error(error)
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest is a detail of it
        if code in _CORRUPT:
            return StoreCorruptError(where, said, remedy)
        if code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and room_beside(Path(where)) < _LEAST_ROOM
        ):
            return _full(where, said)
        advice = _SQLITE_ADVICE.get(code, "")
    else:
        state = getattr(cause, "sqlstate", None) or ""
        if state in _POSTGRESQL_CORRUPT:
            return StoreCorruptError(where, said, remedy)
        if state == _POSTGRESQL_FULL:
            return _full(where, said)
        advice = _POSTGRESQL_ADVICE.get(state, "")
    end = f"; {advice}" if advice else ""
    return UnavailableError(f"the database at {where} did not do its work: {said}{end}")


def _full(where: str, said: str) -> StorageFullError:
    return StorageFullError(
        f"the database at {where} did not do its work: {said}; the disk is full: free some space "
        "there; what was committed is kept, and work goes on by itself"
    )


def room_beside(file: Path) -> int:
    """Return how many bytes are free on a file's disk; much, when that cannot be told."""
    try:
        found = os.statvfs(file.parent)
    except OSError:
        return sys.maxsize
    return found.f_bavail * found.f_frsize


def _known(error: DBAPIError) -> bool:
    state = getattr(_driver_error(error), "sqlstate", None)
    return state in _POSTGRESQL_ADVICE or state == _POSTGRESQL_FULL


def _driver_error(error: DBAPIError) -> BaseException:
    """Return the driver's own error, from under what SQLAlchemy's adapters put around it."""
    cause: BaseException = error.orig or error
    # A driver that was never loaded raised nothing; loading psycopg for this costs 9 MiB.
    psycopg = sys.modules.get("psycopg")
    drivers = (sqlite3.Error, psycopg.Error) if psycopg is not None else (sqlite3.Error,)
    while not isinstance(cause, drivers) and cause.__cause__ is not None:
        cause = cause.__cause__
    return cause
