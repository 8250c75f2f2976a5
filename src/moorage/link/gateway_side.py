"""The gateway's end of replication: what it owns goes up, intents are taken in."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from moorage.engine.store import Store, Tombstone
from moorage.kit.clock import Clock
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError
from moorage.link.frames import (
    Delete,
    Drop,
    Frame,
    Put,
    Reject,
    Restore,
    Sequenced,
    StatusOf,
    read_resource,
)
from moorage.link.handover import drop_copies, take_over
from moorage.link.held import UNKNOWN, offer
from moorage.link.replicate import (
    INTENT_CONFLICT,
    PAGE,
    Outgoing,
    RejectedError,
    delete_of,
    intents,
    kind_of,
    last_version,
    ownership_of,
    reject,
)
from moorage.resources import Handover, Ownership, Resource
from moorage.resources.meta import GATEWAY_FINALIZER

log = structlog.get_logger(__name__)

GONE = "link.gone"
"""Value that holds the UIDs of the intents that were deleted last."""
MOST_GONE = 500


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
                if ownership_of(row.kind) is Ownership.DERIVED:
                    frames.append(delete_of(row))
            case _ if row.ownership is Ownership.DERIVED:
                frames.append(Put(sequence=row.metadata.resource_version, resource=row.document()))
            case _ if row.ownership is Ownership.INTENT and view.sends(row):
                frames.append(_status_of(row))
    return Outgoing(frames, last_version(rows, since), len(rows) == PAGE)


async def read_released(store: Store) -> list[Frame]:
    """Collect what the gateway has let go and the hub has not yet said to delete.

    Told again on each connection, because the hub's answer may have been lost with the last one.
    """
    return [
        _status_of(row).model_copy(update={"sequence": 0})
        async for row in intents(store)
        if _is_released(row)
    ]


async def apply_down(
    store: Store, frames: Iterable[Frame], view: HubView, clock: Clock
) -> list[Frame]:
    """Apply the hub's frames to a gateway's store; returns the rejects and other answers."""
    answers: list[Frame] = []
    for frame in frames:
        try:
            match frame:
                case Put():
                    asked = read_resource(frame.resource)
                    answers.extend(await _take_intent(store, asked, view, clock))
                case Delete():
                    answers.extend(await _drop_intent(store, frame, view))
                case Restore():
                    await _restore(store, read_resource(frame.resource))
                case Drop():
                    answers.extend(await drop_copies(store, frame))
                case Reject(reason="Unknown"):
                    answers.extend(await _note_unknown(store, frame, clock))
        except (InvalidError, ConflictError, NotFoundError) as error:
            answers.append(reject(frame, error))
    return answers


async def _take_intent(store: Store, asked: Resource, view: HubView, clock: Clock) -> list[Frame]:
    if asked.ownership is not Ownership.INTENT:
        raise RejectedError("NotIntent", f"{asked} is not the hub's to write")
    own = await store.find(type(asked), *asked.key)
    if own is None:
        if not asked.is_deleting and asked.metadata.uid in await _gone(store):
            raise RejectedError(
                "DeletedHere",
                f"{asked} ({asked.metadata.uid}) was asked to be deleted and is gone here: the "
                "hub, restored from a backup, does not remember; delete it there once more",
            )
        # Its status comes along: a gateway that lost its store gets back what it once saw.
        view.forget(asked.metadata.uid)
        view.saw(asked)
        _drop_conflict(asked)
        if isinstance(asked, Handover):
            await take_over(store, asked)
        await store.put_mirror(asked)
        return []
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
        return [offer(own)]
    if own.metadata.uid != asked.metadata.uid:
        await store.delete(own)
        view.forget(own.metadata.uid)
        view.saw(asked)
        await store.put_mirror(asked)
        return []
    view.saw(asked)
    if own.is_deleting and GATEWAY_FINALIZER not in own.metadata.finalizers:
        # Let go already; the hub has not heard of it yet.
        kept = asked.metadata.finalizers
        asked.metadata.finalizers = [name for name in kept if name != GATEWAY_FINALIZER]
    await store.put_mirror(asked, keep_status=True)
    if own.status.condition(INTENT_CONFLICT) is not None:
        _drop_conflict(own)
        await store.put_status(own)
    return []


async def _note_unknown(store: Store, refused: Reject, clock: Clock) -> list[Frame]:
    """Keep what a restored hub does not know, say so, and show it our copy."""
    kind = kind_of(refused.subject.partition(" ")[0])
    project, _, name = refused.subject.partition(" ")[2].partition("/")
    own = await store.find(kind, project, name)
    if own is None or own.ownership is not Ownership.INTENT or own.is_deleting:
        return []
    own.status.set_condition(
        INTENT_CONFLICT,
        "True",
        UNKNOWN,
        "the hub does not know this any more: it was restored from a backup. It is kept until an "
        "administrator decides with `moorage gateways decide`",
        now=clock.now(),
        generation=own.metadata.generation,
    )
    await store.put_status(own)
    return [offer(own)]


def _drop_conflict(resource: Resource) -> None:
    claims = resource.status.conditions
    resource.status.conditions = [claim for claim in claims if claim.type != INTENT_CONFLICT]


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


async def _drop_intent(store: Store, frame: Delete, view: HubView) -> list[Frame]:
    kind = kind_of(frame.kind)
    if kind.ownership is not Ownership.INTENT:
        raise RejectedError("NotIntent", f"{frame.kind} {frame.name} is not the hub's to delete")
    own = await store.find(kind, frame.project, frame.name)
    if own is None or own.metadata.uid != frame.uid:
        return []
    if GATEWAY_FINALIZER in own.metadata.finalizers:
        # Deleted at the hub by force. What was made here is taken down first; our status then
        # says that we let go, and the hub answers with another delete.
        await store.request_deletion(kind, frame.project, frame.name)
        return []
    await store.delete(own)
    view.forget(frame.uid)
    # The oldest are forgotten: only a hub restored from a backup ever asks for them again.
    gone = [*(await _gone(store))[1 - MOST_GONE :], frame.uid]
    await store.set_value(GONE, json.dumps(gone))
    if frame.sequence == 0 and _is_released(own):
        # A hub that repeats a deletion may not have heard yet that we let go, and there is
        # nothing left here now that would say so again.
        return [_status_of(own).model_copy(update={"sequence": 0})]
    return []


async def _gone(store: Store) -> list[str]:
    text = await store.get_value(GONE)
    found: list[str] = json.loads(text) if text else []
    return found


async def _restore(store: Store, resource: Resource) -> None:
    if resource.ownership is not Ownership.DERIVED:
        raise RejectedError("NotDerived", f"{resource} is nothing that a gateway could have lost")
    if await store.find(type(resource), *resource.key) is None:
        await store.put_mirror(resource)


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
