"""Back up and restore a hub on SQLite: database, CA and keys in one file for its owner only."""

import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from moorage import __version__
from moorage.hub.listen import DATABASE
from moorage.hub.start import INCARNATION
from moorage.hub.vouching import SIGNING_KEY
from moorage.kit.clock import Clock
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError
from moorage.kit.ids import new_uid

MANIFEST = "MOORAGE"
_FORMAT = "moorage hub backup 1"
_EXTRA = ("ca.crt", "tls", "initial-admin-password", SIGNING_KEY)
_MAX_BYTES = 64 * 1024**3


def back_up(data: Path, target: Path, clock: Clock) -> None:
    """Write a consistent copy of a data directory, also while the hub runs on it."""
    database = data / DATABASE
    if not database.exists():
        raise NotFoundError(
            f"there is no {database}: give --data; a hub on PostgreSQL is backed up with pg_dump, "
            f"and its directory {data / 'tls'} and {data / SIGNING_KEY} by copying them"
        )
    if target.exists():
        raise ConflictError(f"{target} exists already: choose another name")
    with tempfile.TemporaryDirectory(dir=data, prefix=".backup-") as folder:
        copy = Path(folder) / DATABASE
        _copy_database(database, copy)
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
                    _add_text(archive, MANIFEST, f"{_FORMAT}\n{__version__}\n{clock.now()}\n")
                    archive.add(copy, DATABASE)
                    for name in _EXTRA:
                        if (data / name).exists():
                            archive.add(data / name, name)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def restore(source: Path, data: Path) -> str:
    """Unpack a backup into an empty data directory; return the new incarnation.

    Gateways may know newer intents than the backup holds: a new incarnation tells them that
    this hub's sequence has begun anew.
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
        incarnation = _begin_anew(place / DATABASE)
        for item in place.iterdir():
            if item.name != MANIFEST:
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
            if not {MANIFEST, DATABASE} <= names or sum(m.size for m in members) > _MAX_BYTES:
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
    incarnation = new_uid()
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                raise InvalidError(f"the database in the backup is damaged: {verdict}")
            connection.execute("DELETE FROM value WHERE name = ?", (INCARNATION,))
            connection.execute(
                "INSERT INTO value (name, value) VALUES (?, ?)", (INCARNATION, incarnation)
            )
            # Whoever was logged in then may have been removed since.
            connection.execute("DELETE FROM session")
            connection.execute("DELETE FROM enrolment_token")
    except sqlite3.Error as error:
        raise InvalidError(f"the database in the backup cannot be read: {error}") from error
    return incarnation


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text.encode()), 0o600
    archive.addfile(info, io.BytesIO(text.encode()))
