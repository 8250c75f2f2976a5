"""Make the hub what documents say: judge all of them first, tell the difference, then write it.

What is there and is not named stays, unless it is pruned by a label.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moorage.client.api import Api
from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from moorage.resources import (
    CloudAccount,
    Cluster,
    Gateway,
    IPPool,
    NodePool,
    Project,
    Resource,
    Role,
    Scope,
    ServiceAccount,
    Team,
    Template,
    User,
)
from moorage.resources.meta import Document
from moorage.resources.nodepool import PoolDocument, document_of_pool, pool_resource_name
from moorage.resources.references import Key, references

WRITTEN: tuple[type[Resource], ...] = (
    *(Role, Project, User, Team, ServiceAccount),
    *(Gateway, CloudAccount, IPPool, Template, Cluster, NodePool),
)
"""Kinds that people write as documents, each after those that it may name."""

PRUNED: tuple[type[Resource], ...] = (
    *(NodePool, Cluster, Template, IPPool),
    *(ServiceAccount, Team, Role),
)
"""Kinds that are ever pruned, each before those that it may name. Left out is what holds others'
things or can come in no other way: projects, users, gateways, accounts with their secrets."""

OWN_LABELS = "moorage.dev/"
"""Labels under it are Moorage's own: neither compared nor exported."""

_SEALED = ("server", "username", "trust")


class Action(StrEnum):
    """What happens to one resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One document, checked for what it shows alone."""

    where: str
    """Such as ``site.yaml: document 2``: begins the path of its faults."""
    resource: Resource
    pools: tuple[PoolDocument, ...] = ()
    """Of a cluster: the node pools in its document."""

    @property
    def key(self) -> Key:
        """What it is about."""
        return (self.resource.kind, *self.resource.key)

    def document(self) -> Document:
        """Return what is asked."""
        return asked(self.resource, self.pools)


@dataclass(frozen=True, slots=True)
class Change:
    """What differs for one resource; documents have labels and spec only."""

    action: Action
    key: Key
    before: Document | None
    after: Document | None
    wanted: Wanted | None = None
    """``None``: it is pruned."""


def asked(resource: Resource, pools: Sequence[PoolDocument] = ()) -> Document:
    """Return the document that asks for a resource as it is; what is as by default is left out."""
    meta = resource.metadata
    labels = {k: v for k, v in sorted(meta.labels.items()) if not k.startswith(OWN_LABELS)}
    head: Document = {"name": meta.name}
    if meta.project:
        head["project"] = meta.project
    if labels:
        head["labels"] = labels
    document: Document = {"kind": resource.kind, "metadata": head, "spec": _brief(resource.spec)}
    if pools:
        document["nodePools"] = [_brief(pool) for pool in pools]
    return document


async def survey(api: Api, wanted: Sequence[Wanted]) -> list[Change]:
    """Compare documents with the hub, in an order in which they can be written.

    The hub is asked about each by a dry run. What names something that is about to be made is
    judged as far as it can be before that is there, what names something that is about to change
    when its turn comes. Raises ``InvalidError`` with the faults of all documents, and writes
    nothing.
    """
    kinds = [kind.kind_name() for kind in WRITTEN]
    faults: list[FieldFault] = []
    changes: list[Change] = []
    touched: dict[Key, Action] = {}
    for one in sorted(wanted, key=lambda one: kinds.index(one.resource.kind)):
        found, before = await _stored(api, one)
        if isinstance(found, CloudAccount):
            faults += _located(one, _sealed_faults(found, one.resource))
        after = one.document()
        if found is None or found.is_deleting or before != after:
            after, bad = await _judge(api, one, touched, exists=found is not None)
            faults += _located(one, bad)
        action = Action.KEEP if before == after else Action.UPDATE if before else Action.CREATE
        changes.append(Change(action, one.key, before, after, one))
        if action is not Action.KEEP:
            touched[one.key] = action
    if faults:
        raise InvalidError("the documents cannot be applied; nothing was changed", tuple(faults))
    return changes


async def superfluous(
    api: Api, wanted: Sequence[Wanted], selector: str, projects: Sequence[str]
) -> list[Change]:
    """Return the deletion of all that carries a label and is in no document.

    Args:
        api: The hub.
        wanted: All documents.
        selector: Label selector; may not be empty.
        projects: Where clusters and node pools are looked for.
    """
    if not selector.strip():
        raise InvalidError("prune needs a label selector: it would delete everything else")
    kept = {one.key for one in wanted}
    for one in wanted:
        project, cluster = one.resource.key
        for pool in one.pools:
            kept.add(("NodePool", project, pool_resource_name(cluster, pool.name)))
    gone = []
    for kind in PRUNED:
        for project in projects if kind.scope is Scope.PROJECT else ("",):
            for found in await api.list(kind, project=project, selector=selector):
                key = (found.kind, *found.key)
                if key not in kept and not found.is_deleting:
                    gone.append(Change(Action.DELETE, key, asked(found), None))
    return gone


async def carry_out(api: Api, change: Change) -> None:
    """Write what differs for one resource; nothing, if nothing does.

    Raises ``ConflictError`` for what cannot be deleted while others still need it.
    """
    kind, project, name = change.key
    if change.wanted is not None and change.action is not Action.KEEP:
        await _write(api, change.wanted, change)
    elif change.action is Action.DELETE:
        with suppress(NotFoundError):  # it went with what was deleted before it
            await api.delete(kind_of(kind), name, project=project)


def kind_of(name: str) -> type[Resource]:
    """Return a kind that people write; raises ``KeyError``."""
    return _BY_NAME[name]


_BY_NAME: Mapping[str, type[Resource]] = {kind.kind_name(): kind for kind in WRITTEN}


async def _stored(api: Api, one: Wanted) -> tuple[Resource | None, Document | None]:
    project, name = one.resource.key
    try:
        found = await api.get(type(one.resource), name, project=project)
    except NotFoundError:
        return None, None
    if not one.pools:
        return found, asked(found)
    pools = []
    for pool in one.pools:
        try:
            stored = await api.get(NodePool, pool_resource_name(name, pool.name), project=project)
            pools.append(document_of_pool(stored))
        except NotFoundError:
            continue
    return found, asked(found, pools)


async def _judge(
    api: Api, one: Wanted, touched: Mapping[Key, Action], *, exists: bool
) -> tuple[Document, list[FieldFault]]:
    """Return the document as it would be stored, and what the hub has against it."""
    leaning = {path: touched[key] for path, key in references(one.resource) if key in touched}
    if leaning.get("metadata.project") is Action.CREATE:
        return one.document(), [fault async for fault in _missing(api, one, touched)]
    try:
        return await _dry_run(api, one, exists=exists), []
    except InvalidError as error:
        faults = list(error.faults) or [FieldFault("", error.message)]
        if Action.UPDATE in leaning.values():
            faults = []
        return one.document(), [f for f in faults if not _is_about(f, leaning)]
    except NotFoundError as error:
        return one.document(), [] if leaning else [FieldFault("", str(error))]
    except (ForbiddenError, ConflictError) as error:
        return one.document(), [FieldFault("", str(error))]


def _is_about(fault: FieldFault, paths: Mapping[str, Any]) -> bool:
    return any(fault.path == path or fault.path.startswith(f"{path}.") for path in paths)


async def _missing(
    api: Api, one: Wanted, touched: Mapping[Key, Action]
) -> AsyncIterator[FieldFault]:
    """Look for what a document of a new project names: the hub cannot be asked about it yet."""
    for path, key in references(one.resource):
        if key in touched:
            continue
        kind, project, name = key
        try:
            await api.get(kind_of(kind), name, project=project)
        except (NotFoundError, ForbiddenError) as error:
            yield FieldFault(path, str(error))


async def _dry_run(api: Api, one: Wanted, *, exists: bool) -> Document:
    resource = one.resource
    if isinstance(resource, Cluster):
        project = resource.metadata.project
        answer = await api.apply_cluster(one.document(), project=project, dry_run=True)
        named = {pool.name for pool in one.pools}
        stored = [NodePool.model_validate(pool) for pool in answer.pop("nodePools")]
        pools = [document_of_pool(pool) for pool in stored if pool.spec.pool in named]
        order = [pool.name for pool in one.pools]
        pools.sort(key=lambda pool: order.index(pool.name))
        return asked(Cluster.model_validate(answer), pools)
    if not exists:
        return asked(await api.create(resource, dry_run=True))
    after = await api.replace_spec(resource, dry_run=True)
    labelled = await api.replace_labels(resource, dry_run=True)
    after.metadata.labels = labelled.metadata.labels
    return asked(after)


async def _write(api: Api, one: Wanted, change: Change) -> None:
    resource, before, after = one.resource, change.before or {}, change.after or {}
    if isinstance(resource, Cluster):
        await api.apply_cluster(one.document(), project=resource.metadata.project)
    elif change.action is Action.CREATE:
        await api.create(resource)
    else:
        if before["spec"] != after["spec"]:
            await api.replace_spec(resource)
        if before["metadata"] != after["metadata"]:
            await api.replace_labels(resource)


def _located(one: Wanted, faults: Sequence[FieldFault]) -> Iterator[FieldFault]:
    where = f"{one.where} ({one.resource})"
    for fault in faults:
        yield FieldFault(f"{where}: {fault.path}" if fault.path else where, fault.message)


def _sealed_faults(before: CloudAccount, after: Resource) -> list[FieldFault]:
    """Return what would part an account from its password, which is sealed for just these."""
    return [
        FieldFault(
            f"spec.{name}",
            "the sealed password is bound to it, so it changes with the password only: "
            "`moorage accounts set-trust`, or another account with `moorage accounts add`",
        )
        for name in _SEALED
        if getattr(before.spec, name) != getattr(after.spec, name)
    ]


def _brief(model: Any) -> Document:
    document: Document = model.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    return document
