"""Bring the tables up to date at start, under a lock: of many replicas one does it."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from moorage.kit.errors import TerminalError
from moorage.store.database import MIGRATION_LOCK, Database

HEAD = "0001"
"""The newest migration. Known here, so that Alembic is loaded only when there is work for it."""

_FOLDER = Path(__file__).parent / "migrations"


async def migrate(database: Database) -> None:
    """Run the migrations that are missing, in one transaction.

    Raises ``TerminalError`` when a newer Moorage has been here.
    """
    async with database.write(ordered=False) as unit:
        if unit.is_postgresql:
            await unit.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        await unit.run(lambda connection: _upgrade(connection, database.where))


def _upgrade(connection: Connection, where: str) -> None:
    found = _revision(connection)
    if found == HEAD:
        return
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
