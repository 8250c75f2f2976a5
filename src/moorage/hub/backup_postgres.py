"""The PostgreSQL side of backup and restore: pg_dump and pg_restore, as PostgreSQL advises.

What they connect to goes through their environment: others can read a command line, and a
database's URL may hold a password.
"""

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from moorage.hub.begin_anew import begin_anew
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from moorage.kit.redact import redact_text

_VARIABLES = {"dbname": "PGDATABASE", "options": "PGOPTIONS", "password": "PGPASSWORD"}
"""libpq's variables that are not named after their parameter."""


def dump(url: str, target: Path) -> None:
    """Write one consistent dump of a database, also while hubs work with it."""
    _run("pg_dump", ["--format=custom", "--no-owner", "--no-acl", f"--file={target}"], url)


def restore(url: str, source: Path) -> str:
    """Fill an empty database from a dump, whole or not at all; return the new incarnation."""
    try:
        with psycopg.connect(_plain(url)) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchone()
    except psycopg.Error as error:
        raise UnavailableError(f"the database cannot be reached: {_said(error)}") from error
    if found and found[0]:
        raise ConflictError("the database is not empty: restore into a new one")
    _run(
        "pg_restore",
        [
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            "--no-acl",
            f"--dbname={_words(url).get('dbname', '')}",
            str(source),
        ],
        url,
    )
    try:
        with psycopg.connect(_plain(url)) as connection:
            return begin_anew(lambda text, *values: connection.execute(text, values), "%s")
    except psycopg.Error as error:
        raise InvalidError(f"the restored database cannot be used: {_said(error)}") from error


def _run(program: str, arguments: list[str], url: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise NotFoundError(
            f"{program} is not installed: install PostgreSQL's client programs, of the server's "
            "version or newer"
        )
    words = {_VARIABLES.get(k, f"PG{k.upper()}"): v for k, v in _words(url).items()}
    done = subprocess.run(
        [found, *arguments],
        env={**os.environ, **words},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"{program} failed: {redact_text(done.stderr.strip())}")


def _words(url: str) -> dict[str, str]:
    try:
        return {k: str(v) for k, v in conninfo_to_dict(_plain(url)).items() if v is not None}
    except psycopg.ProgrammingError as error:
        raise InvalidError(f"the database's URL cannot be read: {_said(error)}") from error


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _said(error: Exception) -> str:
    return redact_text(str(error).strip())
