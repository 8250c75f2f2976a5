"""What a restored database forgets, whichever it is."""

from collections.abc import Callable
from typing import Any

from moorage.hub.start import INCARNATION
from moorage.kit.ids import new_uid


def begin_anew(execute: Callable[..., Any], mark: str) -> str:
    """Give a restored database a new incarnation, and return it.

    Gateways may know newer intents than the backup holds: a new incarnation tells them that this
    hub's sequence has begun anew.

    Args:
        execute: Runs one statement with its values, in a transaction of the caller's.
        mark: Of a value in a statement: ``?`` or ``%s``.
    """
    incarnation = new_uid()
    execute(f"DELETE FROM value WHERE name = {mark}", INCARNATION)  # noqa: S608 - our own mark
    execute(f"INSERT INTO value (name, value) VALUES ({mark}, {mark})", INCARNATION, incarnation)  # noqa: S608
    # Whoever was logged in then may have been removed since.
    execute("DELETE FROM session")
    execute("DELETE FROM enrolment_token")
    return incarnation
