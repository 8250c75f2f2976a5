"""The hub's end of replication: intents go down, statuses and mirrors are taken in."""

import re
from collections.abc import Iterable
from datetime import datetime

from moorage.engine.store import Store, Tombstone
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError
from moorage.link.frames import (
    Delete,
    Frame,
    Put,
    Restore,
    Restored,
    Sequenced,
    StatusOf,
    read_resource,
    read_status,
)
from moorage.link.held import drop_settled, take_offer
from moorage.link.replicate import (
    INTENT_CONFLICT,
    PAGE,
    Outgoing,
    RejectedError,
    delete_of,
    kind_of,
    last_version,
    ownership_of,
    reject,
)
from moorage.resources import KINDS, Ownership, Resource
from moorage.resources.meta import GATEWAY_FINALIZER, NAME_PATTERN


async def read_down(store: Store, gateway: str, since: int, kinds: frozenset[str]) -> Outgoing:
    """Collect the intents, and tombstones of intents, that a gateway shall have and knows."""
    rows = await store.changed_since(since, route=gateway, spec_only=True, limit=PAGE)
    frames: list[Sequenced] = []
    for row in rows:
        match row:
            case Tombstone():
                if ownership_of(row.kind) is Ownership.INTENT and row.kind in kinds:
                    frames.append(delete_of(row))
            case _ if row.ownership is Ownership.INTENT and row.kind in kinds:
                frames.append(Put(sequence=row.metadata.resource_version, resource=row.document()))
    return Outgoing(frames, last_version(rows, since), len(rows) == PAGE)


async def read_restore(store: Store, gateway: str) -> list[Frame]:
    """Collect the mirrors of what a gateway owned before it lost its store."""
    found: list[Frame] = []
    for kind in KINDS.values():
        if kind.ownership is Ownership.DERIVED:
            rows = await store.list(kind, route=gateway)
            found.extend(Restore(resource=row.document()) for row in rows)
    return [*found, Restored()]


async def apply_up(
    store: Store, gateway: str, frames: Iterable[Frame], now: datetime
) -> list[Frame]:
    """Apply a gateway's frames to the hub's store; returns what to answer beside the ack.

    A gateway reaches only what is routed to it: whatever else it names is rejected.
    """
    answers: list[Frame] = []
    for frame in frames:
        try:
            match frame:
                case Put():
                    resource = read_resource(frame.resource)
                    if resource.ownership is Ownership.INTENT:
                        answers.extend(await _take_offer(store, gateway, resource, now))
                    else:
                        await _mirror(store, gateway, resource)
                case StatusOf():
                    answers.extend(await _take_status(store, gateway, frame, now))
                case Delete():
                    await _drop_mirror(store, gateway, frame)
        except (InvalidError, ConflictError, NotFoundError) as error:
            answers.append(reject(frame, error))
    return answers


async def _take_offer(store: Store, gateway: str, resource: Resource, now: datetime) -> list[Frame]:
    resource.metadata.route = gateway
    known = await store.find_uid(type(resource), resource.metadata.uid)
    if known is None:
        await _check_new(store, gateway, resource)
    _check_route(known, gateway)
    return await take_offer(store, gateway, resource, now)


async def _mirror(store: Store, gateway: str, resource: Resource) -> None:
    if resource.ownership is not Ownership.DERIVED:
        raise RejectedError("NotDerived", f"{resource} is not the gateway's to write")
    resource.metadata.route = gateway
    found = await store.find(type(resource), *resource.key)
    _check_route(found, gateway)
    if found is None or found.metadata.uid != resource.metadata.uid:
        await _check_new(store, gateway, resource)
    await store.put_mirror(resource)


async def _check_new(store: Store, gateway: str, resource: Resource) -> None:
    """Refuse what would take over, or stand among, the resources of another gateway."""
    meta = resource.metadata
    if not re.fullmatch(NAME_PATTERN, meta.project or "hub"):
        raise RejectedError("Invalid", f"{meta.project!r} is not the name of a project")
    _check_route(await store.find_uid(type(resource), meta.uid), gateway)
    if meta.owner is not None:
        _check_route(await store.find_uid(kind_of(meta.owner.kind), meta.owner.uid), gateway)


def _check_route(found: Resource | None, gateway: str) -> None:
    if found is not None and found.metadata.route != gateway:
        raise RejectedError("NotRouted", f"{found} belongs to gateway {found.metadata.route!r}")


async def _drop_mirror(store: Store, gateway: str, frame: Delete) -> None:
    kind = kind_of(frame.kind)
    if kind.ownership is not Ownership.DERIVED:
        raise RejectedError("NotDerived", f"{frame.kind} {frame.name} is not the gateway's")
    found = await store.find(kind, frame.project, frame.name)
    if found is not None and found.metadata.uid == frame.uid:
        _check_route(found, gateway)
        await store.delete(found)


async def _take_status(store: Store, gateway: str, frame: StatusOf, now: datetime) -> list[Frame]:
    kind = kind_of(frame.kind)
    if kind.ownership is not Ownership.INTENT:
        raise RejectedError("NotIntent", f"{frame.kind} {frame.name} has no status of a gateway")
    found = await store.find_uid(kind, frame.uid)
    if found is None:
        if frame.released:
            await drop_settled(store, gateway, frame.uid, now)
            return await _answer_released(store, gateway, kind, frame)
        raise RejectedError("Unknown", f"{frame.kind} {frame.name} ({frame.uid}) is not known here")
    _check_route(found, gateway)
    had_conflict = found.status.condition(INTENT_CONFLICT) is not None
    found.status = read_status(found, frame.status)
    await store.put_status(found)
    if had_conflict and found.status.condition(INTENT_CONFLICT) is None:
        await drop_settled(store, gateway, frame.uid, now)
    if frame.released and found.is_deleting and GATEWAY_FINALIZER in found.metadata.finalizers:
        await store.remove_finalizer(found, GATEWAY_FINALIZER)
    return []


async def _answer_released(
    store: Store, gateway: str, kind: type[Resource], frame: StatusOf
) -> list[Frame]:
    """Say once more that it is gone: the delete came before the gateway had let go, or got lost.

    What has its name now could not take its place until then, so it is sent once more too.
    """
    gone = Delete(
        sequence=0, kind=frame.kind, project=frame.project, name=frame.name, uid=frame.uid
    )
    namesake = await store.find(kind, frame.project, frame.name)
    if namesake is None or namesake.metadata.route != gateway:
        return [gone]
    return [gone, Put(sequence=0, resource=namesake.document())]
