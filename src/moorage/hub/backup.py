"""Back up and restore a hub: database, CA and keys in one file for its owner only."""

import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from moorage import __version__
from moorage.hub.begin_anew import begin_anew
from moorage.hub.listen import DATABASE
from moorage.hub.vouching import SIGNING_KEY
from moorage.kit.clock import Clock
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError

MANIFEST = "MOORAGE"
DUMP = "hub.pgdump"
"""Name of PostgreSQL's dump in a backup, in place of the SQLite file."""
_FORMAT = "moorage hub backup 1"
_EXTRA = ("ca.crt", "tls", "initial-admin-password", SIGNING_KEY)
_MAX_BYTES = 64 * 1024**3


def back_up(data: Path, target: Path, clock: Clock, postgres: str | None = None) -> None:
    """Write a consistent copy of a data directory, also while the hub runs on it.

    Args:
        data: Its directory; on PostgreSQL there may be nothing in it, or none.
        target: What to write.
        clock: Tells the time, which the copy holds.
        postgres: URL of the database, unless that is the directory's SQLite file.
    """
    database = data / DATABASE
    if postgres is None and not database.exists():
        raise NotFoundError(
            f"there is no {database}: give --data, or --database for a hub on PostgreSQL"
        )
    if target.exists():
        raise ConflictError(f"{target} exists already: choose another name")
    place = data if postgres is None else target.absolute().parent
    with tempfile.TemporaryDirectory(dir=place, prefix=".backup-") as folder:
        copy = Path(folder) / (DATABASE if postgres is None else DUMP)
        if postgres is None:
            _copy_database(database, copy)
        else:
            # psycopg, for those who have PostgreSQL only
            from moorage.hub import backup_postgres  # noqa: PLC0415

            backup_postgres.dump(postgres, copy)
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
                    _add_text(archive, MANIFEST, f"{_FORMAT}\n{__version__}\n{clock.now()}\n")
                    archive.add(copy, copy.name)
                    for name in _EXTRA:
                        if (data / name).exists():
                            archive.add(data / name, name)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def restore(source: Path, data: Path, postgres: str | None = None) -> str:
    """Unpack a backup into an empty data directory; return the new incarnation.

    Args:
        source: The backup.
        data: Directory to make, or an empty one.
        postgres: URL of an empty database, for a backup of one on PostgreSQL.
    """
    if data.exists() and any(data.iterdir()):
        raise ConflictError(f"{data} is not empty: restore into a new directory")
    if not source.exists():
        raise NotFoundError(f"there is no {source}")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    with tempfile.TemporaryDirectory(dir=data.parent, prefix=".restore-") as folder:
        place = Path(folder)
        _unpack(source, place)
        if (place / DUMP).exists() != (postgres is not None):
            asked = (
                "was made on PostgreSQL: give --database"
                if postgres is None
                else ("holds an SQLite file, which goes into no PostgreSQL: leave --database out")
            )
            raise InvalidError(f"{source} {asked}")
        if postgres is None:
            incarnation = _begin_anew(place / DATABASE)
        else:
            from moorage.hub import backup_postgres  # noqa: PLC0415

            incarnation = backup_postgres.restore(postgres, place / DUMP)
        for item in place.iterdir():
            if item.name not in {MANIFEST, DUMP}:
                shutil.move(item, data / item.name)
    return incarnation


def _copy_database(database: Path, copy: Path) -> None:
    handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(handle)
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(copy)) as new,
        ):
            live.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = new.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise InvalidError(f"{database} cannot be copied: {error}") from error
    if verdict != "ok":
        raise InvalidError(f"{database} is damaged: {verdict}")


def _unpack(source: Path, place: Path) -> None:
    try:
        with tarfile.open(source, mode="r:gz") as archive:
            members = archive.getmembers()
            names = {member.name for member in members}
            one = len(names & {DATABASE, DUMP}) == 1
            if MANIFEST not in names or not one or sum(m.size for m in members) > _MAX_BYTES:
                raise InvalidError(f"{source} is no backup of a Moorage hub")
            manifest = archive.extractfile(MANIFEST)
            text = manifest.read(1024).decode() if manifest else ""
            if not text.startswith(f"{_FORMAT}\n"):
                raise InvalidError(f"{source} was written in a form that this release cannot read")
            archive.extractall(place, filter="data")
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{source} cannot be unpacked: {error}") from error
    for path in place.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _begin_anew(database: Path) -> str:
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                raise InvalidError(f"the database in the backup is damaged: {verdict}")
            return begin_anew(lambda text, *values: connection.execute(text, values), "?")
    except sqlite3.Error as error:
        raise InvalidError(f"the database in the backup cannot be read: {error}") from error


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text.encode()), 0o600
    archive.addfile(info, io.BytesIO(text.encode()))
