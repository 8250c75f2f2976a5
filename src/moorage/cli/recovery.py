"""The offline recovery key: made once for an installation, its public half pinned (design, 3.9)."""

import os
import sys
from pathlib import Path
from typing import Any

from moorage.cli.say import say
from moorage.client import Api
from moorage.kit.errors import ConflictError, ForbiddenError, InvalidError, MoorageError
from moorage.kit.seal import PrivateSealingKey
from moorage.resources.meta import Document


async def pin_recovery_key(
    api: Api, pinned: str | None, installation: Document, me: Document, file: Path | None
) -> str | None:
    """Return the public recovery key; an administrator's first login makes the pair.

    Raises ``ForbiddenError`` when the hub names another key than the pinned one. ``None`` while
    there is no key and the user may not make it.
    """
    known = installation.get("recoveryKey")
    if known:
        return _same(pinned, str(known))
    if not _is_administrator(me):
        return None
    pair = PrivateSealingKey.generate()
    # It is kept before the hub knows of it: a key that nobody holds could never be replaced.
    _hand_over(pair.pem, file)
    public = pair.public().pem
    try:
        await api.set_recovery_key(public)
    except MoorageError as error:
        if file is not None:
            file.unlink(missing_ok=True)
        if isinstance(error, ConflictError):
            known = (await api.installation()).get("recoveryKey")
            say("somebody else has just made the recovery key: the one above is void", "warning")
            return _same(pinned, str(known)) if known else None
        raise
    return public


def _same(pinned: str | None, told: str) -> str:
    if pinned is not None and pinned != told:
        raise ForbiddenError(
            "the hub now names another recovery key than the one pinned here. Somebody may "
            "want to read your secrets: ask the administrator, and log out to drop the pin"
        )
    return told


def _hand_over(pem: str, file: Path | None) -> None:
    if file is None:
        say("RECOVERY KEY: store it offline now, it is shown only once", "strong")
        sys.stderr.write(pem)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidError(
            f"the recovery key cannot be written to {file}: {error.strerror}"
        ) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(pem)
        opened.flush()
        os.fsync(opened.fileno())
    say(f"recovery key written to {file}: keep it offline, it is made only once", "strong")


def _is_administrator(me: Document) -> bool:
    grants: list[dict[str, Any]] = me.get("grants", [])
    return any(grant["role"] == "tenant-admin" and grant["project"] == "*" for grant in grants)
