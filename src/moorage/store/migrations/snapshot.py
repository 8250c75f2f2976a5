"""What the migrations make of a new SQLite file, written down: ``migrate`` uses it instead.

After a new migration run ``python -m moorage.store.migrations.snapshot``; a test compares.
"""

import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from moorage.store.migrate import SNAPSHOT, upgrade


def dump(file: Path) -> str:
    """Return a database as a script: all of its tables, indexes, triggers and rows."""
    connection = sqlite3.connect(file)
    try:
        lines = [line for line in connection.iterdump() if line not in _TRANSACTION]
    finally:
        connection.close()
    return "".join(f"{line}\n" for line in lines)


_TRANSACTION = ("BEGIN TRANSACTION;", "COMMIT;")


def migrated() -> str:
    """Run all migrations on a new file and return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            upgrade(connection, str(file))
        engine.dispose()
        return dump(file)


if __name__ == "__main__":
    SNAPSHOT.write_text(migrated(), encoding="utf-8")
