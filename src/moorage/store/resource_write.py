"""Writes of resources, in the terms of one ordered unit.

Every unit that comes here has the turn that gives versions in the order of commits, so rows that
were read do not change before they are written.
"""

import json
from datetime import datetime
from typing import TypeVar

from sqlalchemy import bindparam, delete, insert, update

from moorage.kit.errors import ConflictError, NotFoundError
from moorage.kit.ids import new_uid
from moorage.resources import Ownership, Resource
from moorage.store import tables
from moorage.store.codec import (
    Stored,
    decode,
    encode,
    encode_document,
    same_document,
    values,
    where_is,
)
from moorage.store.database import Unit
from moorage.store.resource_read import by_name, by_uid

R = TypeVar("R", bound=Resource)
T = tables.resource.c

# Statements of every pass are built once: building one costs as much as running it.
_SET_STATUS = (
    update(tables.resource)
    .where(T.kind == bindparam("of_kind"), T.uid == bindparam("of_uid"))
    .values(status=bindparam("status"), resource_version=bindparam("resource_version"))
)
_NEXT_VERSION = (
    update(tables.sequence)
    .where(tables.sequence.c.name == "resource")
    .values(value=tables.sequence.c.value + 1)
    .returning(tables.sequence.c.value)
)


async def create(unit: Unit, resource: R, now: datetime) -> R:
    """Insert a new resource."""
    meta = resource.metadata
    if await by_name(unit, resource.kind, meta.project, meta.name) is not None:
        raise ConflictError(f"{resource} exists already: choose another name, or change that one")
    if meta.uid and await by_uid(unit, resource.kind, meta.uid) is not None:
        raise ConflictError(f"{resource}: another {resource.kind} has the UID {meta.uid} already")
    made = resource.copy_deep()
    made.metadata.uid = meta.uid or new_uid()
    made.metadata.generation = 1
    made.metadata.created_at = now
    made.metadata.deletion_requested_at = None
    version = await _next_version(unit)
    made.metadata.resource_version = version
    await _insert(unit, encode(made, resource_version=version, spec_version=version))
    return made


async def put_spec(unit: Unit, resource: R, if_version: int | None) -> R:
    """Write all but status."""
    meta = resource.metadata
    row = await by_name(unit, resource.kind, meta.project, meta.name)
    if row is None or meta.uid not in {"", row.uid}:
        raise NotFoundError(f"{resource} does not exist" + (" any more" if meta.uid else ""))
    _check_version(row, if_version)
    kind = type(resource)
    old = decode(kind, row)
    new = old.copy_deep()
    new.spec = resource.spec
    new.metadata.labels = dict(meta.labels)
    new.metadata.owner = meta.owner
    new.metadata.route = meta.route
    new.metadata.epoch = meta.epoch
    if not old.is_deleting:
        new.metadata.finalizers = list(meta.finalizers)
    if not same_document(encode_document(old.spec), encode_document(resource.spec)):
        new.metadata.generation += 1
    before = encode(old, resource_version=0, spec_version=0)
    if _same_but_status(before, encode(new, resource_version=0, spec_version=0)):
        return old
    version = await _next_version(unit)
    updated = encode(new, resource_version=version, spec_version=version)._replace(
        status=row.status
    )
    await _update(unit, updated, spec_changed=True)
    return decode(kind, updated)


async def put_status(unit: Unit, resource: Resource) -> int:
    """Write the status only; no document is read for it."""
    row = await by_uid(unit, resource.kind, resource.metadata.uid)
    if row is None:
        raise NotFoundError(f"{resource} ({resource.metadata.uid}) does not exist any more")
    status = encode_document(resource.status)
    if same_document(row.status, status):
        return row.resource_version
    row = row._replace(status=status, resource_version=await _next_version(unit))
    await unit.execute(
        _SET_STATUS,
        {
            "of_kind": row.kind,
            "of_uid": row.uid,
            "status": row.status,
            "resource_version": row.resource_version,
        },
    )
    unit.changes.append(row.change(spec_changed=False))
    return row.resource_version


async def request_deletion(
    unit: Unit, kind: type[R], project: str, name: str, if_version: int | None, now: datetime
) -> R | None:
    """Mark for deletion, or delete when nobody has to agree."""
    row = await by_name(unit, kind.kind_name(), project, name)
    if row is None:
        raise NotFoundError(f"{kind.kind_name()} {where_is(project, name)} does not exist")
    _check_version(row, if_version)
    resource = decode(kind, row)
    if not resource.metadata.finalizers:
        await remove(unit, row, now)
        return None
    if resource.is_deleting:
        return resource
    resource.metadata.deletion_requested_at = now
    version = await _next_version(unit)
    updated = encode(resource, resource_version=version, spec_version=version)
    await _update(unit, updated, spec_changed=True)
    return decode(kind, updated)


async def remove_finalizer(
    unit: Unit, resource: Resource, finalizer: str, *, is_mirror: bool, now: datetime
) -> None:
    """Take a finalizer off; the last one of a deleting resource takes the row with it."""
    row = await by_uid(unit, resource.kind, resource.metadata.uid)
    if row is None or finalizer not in row.finalizers:
        return
    remaining = [name for name in row.finalizers if name != finalizer]
    stays = is_mirror and resource.ownership is Ownership.INTENT
    if row.is_deleting and not remaining and not stays:
        await remove(unit, row, now)
        return
    version = await _next_version(unit)
    meta = {**json.loads(row.meta), "finalizers": remaining}
    updated = row._replace(meta=json.dumps(meta), resource_version=version, spec_version=version)
    await _update(unit, updated, spec_changed=True)


async def put_mirror(unit: Unit, resource: Resource, *, keep_status: bool, now: datetime) -> bool:
    """Store a resource of the other side as it is given."""
    meta = resource.metadata
    if not meta.uid:
        raise ConflictError(f"{resource} cannot be mirrored: it has no UID")
    namesake = await by_name(unit, resource.kind, meta.project, meta.name)
    if namesake is not None and namesake.uid != meta.uid:
        await remove(unit, namesake, now)
    row = await by_uid(unit, resource.kind, meta.uid)
    given = encode(resource, resource_version=0, spec_version=0)
    if row is None:
        version = await _next_version(unit)
        await _insert(unit, given._replace(resource_version=version, spec_version=version))
        return True
    if keep_status:
        given = given._replace(status=row.status)
    spec_changed = not _same_but_status(row, given)
    if not spec_changed and same_document(row.status, given.status):
        return False
    version = await _next_version(unit)
    updated = given._replace(
        resource_version=version, spec_version=version if spec_changed else row.spec_version
    )
    await _update(unit, updated, spec_changed=spec_changed)
    return True


async def remove(unit: Unit, row: Stored, now: datetime) -> None:
    """Delete a row and leave its tombstone."""
    gone = await discard(unit, row)
    dead = tables.tombstone
    await unit.execute(delete(dead).where((dead.c.kind == row.kind) & (dead.c.uid == row.uid)))
    await unit.execute(
        insert(dead).values(
            kind=row.kind,
            uid=row.uid,
            project=row.project,
            name=row.name,
            route=row.route,
            resource_version=gone.resource_version,
            at=now,
        )
    )


async def discard(unit: Unit, row: Stored) -> Stored:
    """Delete a row without a tombstone; return it with the version of its end."""
    gone = row._replace(resource_version=await _next_version(unit))
    await unit.execute(delete(tables.resource).where((T.kind == row.kind) & (T.uid == row.uid)))
    unit.changes.append(gone.change(spec_changed=True, deleted=True))
    return gone


async def prune_tombstones(unit: Unit, before: datetime) -> int:
    """Forget deletions that were before a moment."""
    result = await unit.execute(delete(tables.tombstone).where(tables.tombstone.c.at < before))
    return result.rowcount


async def _next_version(unit: Unit) -> int:
    version: int = (await unit.execute(_NEXT_VERSION)).scalar_one()
    return version


async def _insert(unit: Unit, row: Stored) -> None:
    dead = tables.tombstone
    await unit.execute(delete(dead).where((dead.c.kind == row.kind) & (dead.c.uid == row.uid)))
    await unit.execute(insert(tables.resource).values(values(row)))
    unit.changes.append(row.change(spec_changed=True))


async def _update(unit: Unit, row: Stored, *, spec_changed: bool) -> None:
    await unit.execute(
        update(tables.resource).where((T.kind == row.kind) & (T.uid == row.uid)).values(values(row))
    )
    unit.changes.append(row.change(spec_changed=spec_changed))


def _check_version(row: Stored, if_version: int | None) -> None:
    if if_version is not None and if_version != row.resource_version:
        raise ConflictError(
            f"{row} was changed since it was read (version {if_version} was "
            f"read, {row.resource_version} is stored): read it again and repeat the change"
        )


def _same_but_status(row: Stored, new: Stored) -> bool:
    return (
        (row.project, row.name, row.route, row.owner_uid, row.generation)
        == (new.project, new.name, new.route, new.owner_uid, new.generation)
        and same_document(row.meta, new.meta)
        and same_document(row.spec, new.spec)
    )
