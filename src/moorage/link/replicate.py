"""What to send from a store, and how to apply what came to one. Both ends of the link use it.

Everything here may be repeated. What is equal already is not written, so nothing echoes:
an applied frame makes no change that would have to be sent back.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from moorage.engine.store import Store, Tombstone
from moorage.kit.clock import Clock
from moorage.kit.errors import ConflictError, InvalidError, MoorageError, NotFoundError
from moorage.link.frames import (
    GATEWAY_FINALIZER,
    Delete,
    Frame,
    Put,
    Reject,
    Restore,
    Restored,
    Sequenced,
    StatusOf,
    read_resource,
)
from moorage.resources import KINDS, Ownership, Resource

log = structlog.get_logger(__name__)

PAGE = 500
"""Rows read from the store at once."""

INTENT_CONFLICT = "IntentConflict"
"""Condition of an intent of which gateway and (restored) hub know different newest forms."""


NEWER_MAY_TAKE = frozenset({"Invalid", "UnknownKind"})
"""Reasons of rejects that an upgrade may end: after one, everything is asked for again."""


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


# --- the hub's end ---------------------------------------------------------------------------


async def read_down(store: Store, gateway: str, since: int) -> Outgoing:
    """Collect the intents, and tombstones of intents, that a gateway shall have."""
    rows = await store.changed_since(since, route=gateway, spec_only=True, limit=PAGE)
    frames: list[Sequenced] = []
    for row in rows:
        match row:
            case Tombstone():
                if _ownership(row.kind) is Ownership.INTENT:
                    frames.append(_delete(row))
            case _ if row.ownership is Ownership.INTENT:
                frames.append(Put(sequence=row.metadata.resource_version, resource=row.document()))
    return Outgoing(frames, _last_version(rows, since), len(rows) == PAGE)


async def read_restore(store: Store, gateway: str) -> list[Frame]:
    """Collect the mirrors of what a gateway owned before it lost its store."""
    found: list[Frame] = []
    for kind in KINDS.values():
        if kind.ownership is Ownership.DERIVED:
            rows = await store.list(kind, route=gateway)
            found.extend(Restore(resource=row.document()) for row in rows)
    return [*found, Restored()]


async def apply_up(store: Store, gateway: str, frames: Iterable[Frame]) -> list[Frame]:
    """Apply a gateway's frames to the hub's store; returns what to answer beside the ack.

    A gateway reaches only what is routed to it: whatever else it names is rejected.
    """
    answers: list[Frame] = []
    for frame in frames:
        try:
            match frame:
                case Put():
                    await _mirror(store, gateway, read_resource(frame.resource))
                case StatusOf():
                    answers.extend(await _take_status(store, gateway, frame))
                case Delete():
                    await _drop_mirror(store, gateway, frame)
        except (InvalidError, ConflictError, NotFoundError) as error:
            answers.append(_reject(frame, error))
    return answers


async def _mirror(store: Store, gateway: str, resource: Resource) -> None:
    if resource.ownership is not Ownership.DERIVED:
        raise RejectedError("NotDerived", f"{resource} is not the gateway's to write")
    resource.metadata.route = gateway
    found = await store.find(type(resource), *resource.key)
    _check_route(found, gateway)
    if found is None or found.metadata.uid != resource.metadata.uid:
        # Nor may the UID be that of another gateway's resource under another name.
        _check_route(await store.find_uid(type(resource), resource.metadata.uid), gateway)
    await store.put_mirror(resource)


def _check_route(found: Resource | None, gateway: str) -> None:
    if found is not None and found.metadata.route != gateway:
        raise RejectedError("NotRouted", f"{found} belongs to gateway {found.metadata.route!r}")


async def _drop_mirror(store: Store, gateway: str, frame: Delete) -> None:
    kind = _kind(frame.kind)
    if kind.ownership is not Ownership.DERIVED:
        raise RejectedError("NotDerived", f"{frame.kind} {frame.name} is not the gateway's")
    found = await store.find(kind, frame.project, frame.name)
    if found is not None and found.metadata.uid == frame.uid:
        _check_route(found, gateway)
        await store.delete(found)


async def _take_status(store: Store, gateway: str, frame: StatusOf) -> list[Frame]:
    kind = _kind(frame.kind)
    if kind.ownership is not Ownership.INTENT:
        raise RejectedError("NotIntent", f"{frame.kind} {frame.name} has no status of a gateway")
    found = await store.find_uid(kind, frame.uid)
    if found is None:
        if frame.released:
            # The gateway waits for our delete, which was sent before it let go, or got lost
            # with the time before a backup.
            gone = Delete(
                sequence=0,
                kind=frame.kind,
                project=frame.project,
                name=frame.name,
                uid=frame.uid,
            )
            return [gone]
        raise RejectedError("Unknown", f"{frame.kind} {frame.name} ({frame.uid}) is not known here")
    _check_route(found, gateway)
    found.status = _read_status(found, frame)
    await store.put_status(found)
    if frame.released and found.is_deleting and GATEWAY_FINALIZER in found.metadata.finalizers:
        await store.remove_finalizer(found, GATEWAY_FINALIZER)
    return []


def _read_status(resource: Resource, frame: StatusOf) -> object:
    document = resource.document() | {"status": frame.status}
    return read_resource(document).status


# --- the gateway's end -----------------------------------------------------------------------


@dataclass(slots=True)
class HubView:
    """What the hub is known to have of our statuses, so that equal ones are not sent.

    Good for one connection only: what was sent on a broken one may not have arrived.
    """

    digests: dict[str, bytes] = field(default_factory=dict)

    def saw(self, resource: Resource) -> None:
        """Note the hub's own copy, unless we have sent something since."""
        self.digests.setdefault(resource.metadata.uid, _digest(resource))

    def sends(self, resource: Resource) -> bool:
        """Tell whether the hub has to be told, and note that it is."""
        digest = _digest(resource)
        if self.digests.get(resource.metadata.uid) == digest:
            return False
        self.digests[resource.metadata.uid] = digest
        return True

    def forget(self, uid: str) -> None:
        """Drop a resource that is gone."""
        self.digests.pop(uid, None)


async def read_up(store: Store, since: int, view: HubView) -> Outgoing:
    """Collect what the hub shall mirror: derived resources whole, statuses of intents."""
    rows = await store.changed_since(since, limit=PAGE)
    frames: list[Sequenced] = []
    for row in rows:
        match row:
            case Tombstone():
                view.forget(row.uid)
                if _ownership(row.kind) is Ownership.DERIVED:
                    frames.append(_delete(row))
            case _ if row.ownership is Ownership.DERIVED:
                frames.append(Put(sequence=row.metadata.resource_version, resource=row.document()))
            case _ if row.ownership is Ownership.INTENT and view.sends(row):
                frames.append(_status_of(row))
    return Outgoing(frames, _last_version(rows, since), len(rows) == PAGE)


async def apply_down(
    store: Store, frames: Iterable[Frame], view: HubView, clock: Clock
) -> list[Frame]:
    """Apply the hub's frames to a gateway's store; returns the rejects."""
    answers: list[Frame] = []
    for frame in frames:
        try:
            match frame:
                case Put():
                    await _take_intent(store, read_resource(frame.resource), view, clock)
                case Delete():
                    await _drop_intent(store, frame, view)
                case Restore():
                    await _restore(store, read_resource(frame.resource))
        except (InvalidError, ConflictError, NotFoundError) as error:
            answers.append(_reject(frame, error))
    return answers


async def _take_intent(store: Store, asked: Resource, view: HubView, clock: Clock) -> None:
    if asked.ownership is not Ownership.INTENT:
        raise RejectedError("NotIntent", f"{asked} is not the hub's to write")
    own = await store.find(type(asked), *asked.key)
    if own is None:
        # Its status comes along: a gateway that lost its store gets back what it once saw.
        view.saw(asked)
        await store.put_mirror(asked)
        return
    conflict = _conflict(own, asked)
    if conflict is not None:
        log.warning("intent not applied", resource=str(own), conflict=conflict)
        own.status.set_condition(
            INTENT_CONFLICT,
            "True",
            "HubIsOlder",
            conflict,
            now=clock.now(),
            generation=own.metadata.generation,
        )
        await store.put_status(own)
        return
    if own.metadata.uid != asked.metadata.uid:
        await store.delete(own)
        view.forget(own.metadata.uid)
        view.saw(asked)
        await store.put_mirror(asked)
        return
    view.saw(asked)
    if own.is_deleting and GATEWAY_FINALIZER not in own.metadata.finalizers:
        # Let go already; the hub has not heard of it yet.
        kept = asked.metadata.finalizers
        asked.metadata.finalizers = [name for name in kept if name != GATEWAY_FINALIZER]
    await store.put_mirror(asked, keep_status=True)
    if own.status.condition(INTENT_CONFLICT) is not None:
        claims = own.status.conditions
        own.status.conditions = [claim for claim in claims if claim.type != INTENT_CONFLICT]
        await store.put_status(own)


def _conflict(own: Resource, asked: Resource) -> str | None:
    """Say why ``asked`` must not replace what we have: only a hub restored from backup does that.

    Within one life of a hub a generation never falls, never means two specs, and no deletion is
    taken back.
    """
    if own.metadata.uid != asked.metadata.uid:
        if GATEWAY_FINALIZER in own.metadata.finalizers:
            return (
                f"the hub knows another {asked} (UID {asked.metadata.uid}): this one "
                f"({own.metadata.uid}) is kept until it is deleted at the hub that made it"
            )
        return None
    mine, theirs = own.metadata.generation, asked.metadata.generation
    if theirs < mine:
        return f"the hub asks for generation {theirs}, older than generation {mine} here"
    if theirs == mine and own.spec != asked.spec:
        return f"the hub's generation {theirs} differs from generation {mine} here"
    if own.is_deleting and not asked.is_deleting:
        return "the hub no longer asks for the deletion that goes on here"
    return None


async def _drop_intent(store: Store, frame: Delete, view: HubView) -> None:
    kind = _kind(frame.kind)
    if kind.ownership is not Ownership.INTENT:
        raise RejectedError("NotIntent", f"{frame.kind} {frame.name} is not the hub's to delete")
    own = await store.find(kind, frame.project, frame.name)
    if own is None or own.metadata.uid != frame.uid:
        return
    if GATEWAY_FINALIZER in own.metadata.finalizers:
        # Deleted at the hub by force. What was made here is taken down first; our status then
        # says that we let go, and the hub answers with another delete.
        await store.request_deletion(kind, frame.project, frame.name)
        return
    await store.delete(own)
    view.forget(frame.uid)


async def _restore(store: Store, resource: Resource) -> None:
    if resource.ownership is not Ownership.DERIVED:
        raise RejectedError("NotDerived", f"{resource} is nothing that a gateway could have lost")
    if await store.find(type(resource), *resource.key) is None:
        await store.put_mirror(resource)


# --- both ------------------------------------------------------------------------------------


def _status_of(row: Resource) -> StatusOf:
    meta = row.metadata
    return StatusOf(
        sequence=meta.resource_version,
        kind=row.kind,
        project=meta.project,
        name=meta.name,
        uid=meta.uid,
        status=row.status.document(),
        released=_is_released(row),
    )


def _is_released(row: Resource) -> bool:
    return row.is_deleting and GATEWAY_FINALIZER not in row.metadata.finalizers


def _digest(row: Resource) -> bytes:
    text = json.dumps([row.status.document(), _is_released(row)], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _delete(row: Tombstone) -> Delete:
    return Delete(
        sequence=row.resource_version,
        kind=row.kind,
        project=row.project,
        name=row.name,
        uid=row.uid,
    )


def _reject(frame: Frame, error: MoorageError) -> Reject:
    match frame:
        case Put() | Restore():
            meta = frame.resource.get("metadata") or {}
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


def _last_version(rows: list[Resource | Tombstone], since: int) -> int:
    if not rows:
        return since
    last = rows[-1]
    return last.resource_version if isinstance(last, Tombstone) else last.metadata.resource_version


def _ownership(kind: str) -> Ownership | None:
    known = KINDS.get(kind)
    return None if known is None else known.ownership


def _kind(name: str) -> type[Resource]:
    kind = KINDS.get(name)
    if kind is None:
        raise RejectedError("UnknownKind", f"kind {name!r} is not known here")
    return kind
