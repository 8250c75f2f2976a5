"""The vCenter session in use, written down: whoever comes after a killed process ends it.

vCenter ends an idle session after half an hour only, and allows a limited number of them to all
products together: a gateway that is killed again and again must not use them up. What is written
is sealed to the gateway's own key, as a session stands in for a password while it lives.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import ValidationError

from moorage.kit.errors import ForbiddenError
from moorage.kit.seal import PrivateSealingKey, SealedEnvelope, seal

log = structlog.get_logger(__name__)

_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600


class SessionNotes:
    """A folder with one file for each cloud account.

    Args:
        folder: Made when it is needed.
        sealing: The gateway's key.
    """

    def __init__(self, folder: Path, sealing: PrivateSealingKey) -> None:
        self._folder = folder
        self._sealing = sealing

    def open(self, account: str) -> "SessionNote | None":
        """Return the account's note; ``None`` where another process has it, or none can be kept.

        Without a note all works, and a kill leaves a session until vCenter ends it.
        """
        file = self._folder / hashlib.sha256(account.encode()).hexdigest()[:32]
        try:
            self._folder.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            log.warning("no note of vcenter sessions", account=account, error=str(error))
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return SessionNote(file, descriptor, self._sealing, {"kind": "Session", "account": account})


class SessionNote:
    """One file, held by one process."""

    def __init__(
        self, file: Path, descriptor: int, sealing: PrivateSealingKey, context: dict[str, str]
    ) -> None:
        self._file = file
        self._descriptor = descriptor
        self._sealing = sealing
        self._context = context

    def read(self) -> str:
        """Return the session that was written last, ``""`` when it was ended in order."""
        held = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        if not held:
            return ""
        try:
            envelope = SealedEnvelope.model_validate_json(held)
            return self._sealing.open(envelope, self._context).decode()
        except (ValidationError, ForbiddenError, UnicodeDecodeError):
            return ""  # cut short by a crash or a full disk, or of keys that were replaced

    def write(self, session: str) -> None:
        """Write a session down in place of the one before; ``""``: there is none any more."""
        text = b""
        if session:
            envelope = seal(session.encode(), [self._sealing.public()], self._context)
            text = envelope.model_dump_json().encode()
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)
        except OSError as error:
            log.warning("a vcenter session is not noted", error=str(error))

    def close(self) -> None:
        """Let another process have it; where there is nothing to tell, no file is left."""
        with suppress(OSError):
            if os.fstat(self._descriptor).st_size == 0:
                self._file.unlink(missing_ok=True)
        os.close(self._descriptor)
