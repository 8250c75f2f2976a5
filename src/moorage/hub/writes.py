"""Every write of a resource over REST: one transaction with admission, effects and audit entry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from moorage.auth import Principal, Verb
from moorage.engine.store import Store
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.problems import PreconditionError
from moorage.hub.rules.base import RESERVED_PREFIX, Rules
from moorage.kit.errors import ConflictError, InvalidError, MoorageError
from moorage.resources import Resource
from moorage.resources.meta import Document

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes, from where, in which project."""

    principal: Principal
    source: str
    project: str = ""


@dataclass(slots=True)
class Change(Generic[R]):
    """What one write did."""

    resource: R | None
    """As stored now; ``None`` when it went at once."""
    created: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class _RollBackError(Exception):
    """Ends the transaction of a dry run without a trace."""


@asynccontextmanager
async def write(
    hub: Hub, actor: Actor, verb: Verb, kind: str, name: str, *, dry_run: bool
) -> AsyncIterator[tuple[Store, AuditNote]]:
    """Open the transaction of one write and leave its audit entry.

    A refused write is told to the audit log too; a dry run leaves nothing behind.
    """
    note = AuditNote(verb=verb, kind=kind, project=actor.project, name=name)
    try:
        async with hub.store.transaction() as store:
            yield store, note
            if dry_run:
                raise _RollBackError  # noqa: TRY301 - it ends the transaction
            await record(hub, actor.principal, actor.source, note, "ok")
    except _RollBackError:
        return
    except MoorageError as error:
        if not dry_run:
            await record(hub, actor.principal, actor.source, note, type(error).__name__)
        raise


async def create(hub: Hub, actor: Actor, rules: Rules[R], new: R, *, dry_run: bool) -> R:
    """Store a new resource."""
    kind = rules.kind
    async with write(
        hub, actor, Verb.CREATE, kind.kind_name(), new.metadata.name, dry_run=dry_run
    ) as (store, note):
        if new.metadata.name and await store.find(kind, *new.key) is not None:
            raise ConflictError(f"{new} exists already: choose another name, or change it with PUT")
        await rules.permit(store, new, None, actor.principal)
        await rules.admit(store, new, None)
        rules.sign(new, actor.principal.username)
        stored = await store.create(new)
        await rules.created(store, stored)
        note.after = rules.show(stored)
    return stored


async def replace_spec(
    hub: Hub,
    actor: Actor,
    rules: Rules[R],
    name: str,
    spec: Any,
    *,
    if_version: int | None,
    dry_run: bool,
) -> R:
    """Replace what is asked of a resource."""
    kind = rules.kind
    async with write(hub, actor, Verb.UPDATE, kind.kind_name(), name, dry_run=dry_run) as (
        store,
        note,
    ):
        before = await store.get(kind, actor.project, name)
        check_version(before, if_version)
        refuse_when_deleting(before)
        after = before.copy_deep()
        after.spec = spec
        await rules.permit(store, after, before, actor.principal)
        await rules.admit(store, after, before)
        stored = await store.put_spec(after)
        await rules.replaced(store, stored)
        note.before, note.after = rules.show(before), rules.show(stored)
    return stored


async def replace_labels(
    hub: Hub,
    actor: Actor,
    rules: Rules[R],
    name: str,
    labels: dict[str, str],
    *,
    if_version: int | None,
    dry_run: bool,
) -> R:
    """Replace the labels of a resource; Moorage's own stay."""
    kind = rules.kind
    async with write(hub, actor, Verb.UPDATE, kind.kind_name(), name, dry_run=dry_run) as (
        store,
        note,
    ):
        before = await store.get(kind, actor.project, name)
        check_version(before, if_version)
        own = {k: v for k, v in before.metadata.labels.items() if k.startswith(RESERVED_PREFIX)}
        foreign = {
            k: v for k, v in labels.items() if k.startswith(RESERVED_PREFIX) and own.get(k) != v
        }
        if foreign:
            raise InvalidError(f"labels under {RESERVED_PREFIX} are Moorage's own: {foreign}")
        after = before.copy_deep()
        after.metadata.labels = labels | own
        await rules.permit(store, after, before, actor.principal)
        stored = await store.put_spec(after)
        note.before, note.after = rules.show(before), rules.show(stored)
    return stored


async def delete(
    hub: Hub, actor: Actor, rules: Rules[R], name: str, *, if_version: int | None, dry_run: bool
) -> R | None:
    """Ask for deletion; ``None`` when the resource went at once."""
    kind = rules.kind
    async with write(hub, actor, Verb.DELETE, kind.kind_name(), name, dry_run=dry_run) as (
        store,
        note,
    ):
        before = await store.get(kind, actor.project, name)
        check_version(before, if_version)
        note.before = rules.show(before)
        await rules.permit(store, before, before, actor.principal)
        await rules.check_deletion(store, before)
        left = await store.request_deletion(kind, actor.project, name)
        await rules.deleting(store, left or before)
        if left is not None:
            left = await store.find(kind, actor.project, name)
        note.after = rules.show(left) if left else None
    return left


def check_version(resource: Resource, if_version: int | None) -> None:
    """Raise ``PreconditionError`` unless the stored version is the one that was read."""
    version = resource.metadata.resource_version
    if if_version is not None and version != if_version:
        raise PreconditionError(
            f"{resource} has changed since it was read (it is at version {version}, If-Match names "
            f"{if_version}): read it again and repeat the change"
        )


def refuse_when_deleting(resource: Resource) -> None:
    """Raise ``ConflictError`` for what is on its way out."""
    if resource.is_deleting:
        raise ConflictError(f"{resource} is being deleted: wait until it is gone")


def etag(document: Document) -> str:
    """Return the ETag of a shown resource: its version."""
    return f'"{document["metadata"].get("resourceVersion", 0)}"'
