"""The lock of a SQLite file that one process works with, and the trace of an end without order."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from moorage.kit.errors import UnavailableError


class Lock:
    """Held from before a database is opened until after it is closed.

    While it is open, a file beside it says so. SQLite removes its write-ahead log at an orderly
    end only: a file that says "open" without a log means that the log was lost, and with it what
    was not yet in the database. Somebody who looked into the file of a killed process by hand has
    removed the log too, and lost nothing; both are treated the same.
    """

    def __init__(self, database: Path) -> None:
        self._open = Path(f"{database}.open")
        self._descriptor = _lock(Path(f"{database}.lock"))
        self.log_is_lost = self._open.exists() and not Path(f"{database}-wal").exists()

    def note_opened(self) -> None:
        """Say that the database is open; a full disk only means that it is not said."""
        with suppress(OSError):
            self._open.touch(mode=0o600)

    def note_closing(self) -> None:
        """Say that it is about to be closed in order."""
        with suppress(OSError):
            self._open.unlink(missing_ok=True)

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._descriptor)


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
