"""What both ends of the link replicate with: what to say, what to refuse, and how to name it.

``hub_side`` and ``gateway_side`` say what is sent from a store, and how what came is applied to
one. Everything there may be repeated. What is equal already is not written, so nothing echoes:
an applied frame makes no change that would have to be sent back.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from moorage.engine.store import Store, Tombstone
from moorage.kit.errors import InvalidError, MoorageError
from moorage.link.frames import (
    Delete,
    Frame,
    Put,
    Reject,
    Restore,
    Sequenced,
    StatusOf,
)
from moorage.resources import KINDS, Ownership, Resource

PAGE = 500
"""Rows read from the store at once."""


NEWER_MAY_TAKE = frozenset({"Invalid", "UnknownKind"})
"""Reasons of rejects that an upgrade may end: after one, everything is asked for again."""


INTENT_CONFLICT = "IntentConflict"
"""Condition of an intent of which gateway and (restored) hub know different newest forms."""


class Outgoing(NamedTuple):
    """What a store has to say after some position."""

    frames: list[Sequenced]
    cursor: int
    """Everything up to here is in ``frames``, or does not concern the peer."""
    more: bool
    """There is more behind the cursor."""


class RejectedError(InvalidError):
    """A frame is not for us to apply. ``reason`` goes back to the peer."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def intents(store: Store) -> AsyncIterator[Resource]:
    """Yield every intent that is stored, page by page."""
    for kind in KINDS.values():
        if kind.ownership is not Ownership.INTENT:
            continue
        after: tuple[str, str] | None = None
        while rows := await store.list(kind, limit=PAGE, after=after):
            after = rows[-1].key
            for row in rows:
                yield row


def delete_of(row: Tombstone) -> Delete:
    return Delete(
        sequence=row.resource_version,
        kind=row.kind,
        project=row.project,
        name=row.name,
        uid=row.uid,
    )


def reject(frame: Frame, error: MoorageError) -> Reject:
    match frame:
        case Put() | Restore():
            meta = frame.resource.get("metadata")
            meta = meta if isinstance(meta, dict) else {}
            subject = f"{frame.resource.get('kind')} {meta.get('project')}/{meta.get('name')}"
        case StatusOf() | Delete():
            subject = f"{frame.kind} {frame.project}/{frame.name}"
        case _:
            subject = frame.type
    return Reject(
        sequence=getattr(frame, "sequence", 0),
        subject=subject[:300],
        reason=error.reason if isinstance(error, RejectedError) else "Invalid",
        message=str(error)[:2000],
    )


def last_version(rows: list[Resource | Tombstone], since: int) -> int:
    if not rows:
        return since
    last = rows[-1]
    return last.resource_version if isinstance(last, Tombstone) else last.metadata.resource_version


def ownership_of(kind: str) -> Ownership | None:
    known = KINDS.get(kind)
    return None if known is None else known.ownership


def kind_of(name: str) -> type[Resource]:
    kind = KINDS.get(name)
    if kind is None:
        raise RejectedError("UnknownKind", f"kind {name!r} is not known here")
    return kind
