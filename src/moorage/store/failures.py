"""What goes wrong in a database, said as the few errors that callers treat differently."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from moorage.kit.errors import MoorageError, TerminalError, UnavailableError

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space there; what was committed is kept",
    sqlite3.SQLITE_READONLY: "the file, or its file system, is read-only: make it writable",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check that its folder exists and its mode",
    sqlite3.SQLITE_IOERR: "the disk answered with an error: check it and its file system",
    sqlite3.SQLITE_BUSY: "another process holds the database: stop it, or wait for it",
    sqlite3.SQLITE_PERM: "this user may not use the file: check its owner and mode",
}
_POSTGRESQL_ADVICE = {
    "53100": "PostgreSQL's disk is full: free some space there; what was committed is kept",
    "28P01": "PostgreSQL refused the password: correct the database URL",
    "3D000": "the database does not exist: create it, or correct the database URL",
    "42501": "PostgreSQL refused for want of rights: let the user own the database",
}
_POSTGRESQL_CORRUPT = ("XX001", "XX002")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn a driver's error into ``UnavailableError`` or ``TerminalError``.

    A broken rule of the schema passes, because the caller knows what it means, and so does a
    wrong statement, because that is a fault of ours.
    """
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, IntegrityError | DataError | ProgrammingError) and not _known(error):
            raise
        raise _meaning(error, where) from error
    except SQLAlchemyError as error:
        raise UnavailableError(f"the database at {where} cannot be used: {error}") from error


def _meaning(error: DBAPIError, where: str) -> MoorageError:
    cause = _driver_error(error)
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest is a detail of it
        if code in _CORRUPT:
            return _corrupt(where, said)
        advice = _SQLITE_ADVICE.get(code, "")
    else:
        state = getattr(cause, "sqlstate", None) or ""
        if state in _POSTGRESQL_CORRUPT:
            return _corrupt(where, said)
        advice = _POSTGRESQL_ADVICE.get(state, "")
    end = f"; {advice}" if advice else ""
    return UnavailableError(f"the database at {where} did not do its work: {said}{end}")


def _known(error: DBAPIError) -> bool:
    return getattr(_driver_error(error), "sqlstate", None) in _POSTGRESQL_ADVICE


def _driver_error(error: DBAPIError) -> BaseException:
    """Return the driver's own error, from under what SQLAlchemy's adapters put around it."""
    cause: BaseException = error.orig or error
    # A driver that was never loaded raised nothing; loading psycopg for this costs 9 MiB.
    psycopg = sys.modules.get("psycopg")
    drivers = (sqlite3.Error, psycopg.Error) if psycopg is not None else (sqlite3.Error,)
    while not isinstance(cause, drivers) and cause.__cause__ is not None:
        cause = cause.__cause__
    return cause


def _corrupt(where: str, said: str) -> TerminalError:
    return TerminalError(
        "StoreCorrupt",
        f"the database at {where} is damaged ({said}): stop the process, keep a copy of the "
        "file, and restore the last backup",
    )
