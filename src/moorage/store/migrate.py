"""Bring the tables up to date at start, under a lock: of many replicas one does it.

A new SQLite file gets the newest tables at once, from what ``migrations.snapshot`` wrote down:
Alembic would cost the first start of every hub and gateway half a second and 10 MiB for good.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from moorage.kit.errors import TerminalError
from moorage.store.database import MIGRATION_LOCK, Database

HEAD = "0009"
"""The newest migration. Known here, so that Alembic is loaded only when there is work for it."""

_FOLDER = Path(__file__).parent / "migrations"
SNAPSHOT = _FOLDER / "sqlite.sql"


async def migrate(database: Database) -> None:
    """Run the migrations that are missing, in one transaction.

    Raises ``TerminalError`` when a newer Moorage has been here.
    """
    async with database.write(ordered=False) as unit:
        if unit.is_postgresql:
            await unit.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        await unit.run(lambda connection: _bring_up_to_date(connection, database))


def _bring_up_to_date(connection: Connection, database: Database) -> None:
    found = _revision(connection)
    if found == HEAD:
        return
    if not database.is_postgresql and not inspect(connection).get_table_names():
        for statement in _statements(SNAPSHOT.read_text(encoding="utf-8")):
            connection.exec_driver_sql(statement)
        return
    upgrade(connection, database.where, found=found)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def upgrade(connection: Connection, where: str, *, found: str | None = None) -> None:
    """Run the migrations after ``found``, all of them when it is ``None``."""
    from alembic import command  # noqa: PLC0415 - slow to load, and seldom needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise TerminalError(
            "StoreTooNew",
            f"the database at {where} was written by a newer Moorage (migration {found}; this "
            f"one knows up to {HEAD}): run that version, or restore a backup from before it",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar_one_or_none()
    return found
