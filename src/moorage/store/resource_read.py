"""Reads of resources, in the terms of one unit."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select, tuple_

from moorage.engine.store import Change, Tombstone
from moorage.resources import Resource
from moorage.store import tables
from moorage.store.codec import (
    COLUMNS,
    Stored,
    decode_any,
    decode_tombstone,
    stored,
)
from moorage.store.database import Unit
from moorage.store.selector import Within, label_clause, within_clause

T = tables.resource.c


# Statements of every pass are built once: building one costs as much as running it.
_BY_NAME = select(*COLUMNS).where(
    T.kind == bindparam("kind"), T.project == bindparam("project"), T.name == bindparam("name")
)
_BY_UID = select(*COLUMNS).where(T.kind == bindparam("kind"), T.uid == bindparam("uid"))


async def by_name(unit: Unit, kind: str, project: str, name: str) -> Stored | None:
    """Return the row of that name."""
    found = await unit.execute(_BY_NAME, {"kind": kind, "project": project, "name": name})
    return _one(found.first())


async def by_uid(unit: Unit, kind: str, uid: str) -> Stored | None:
    """Return the row of that UID."""
    found = await unit.execute(_BY_UID, {"kind": kind, "uid": uid})
    return _one(found.first())


def _one(row: Row[Any] | None) -> Stored | None:
    return None if row is None else stored(row)


def page_query(
    kind: str,
    *,
    project: str | None,
    labels: Mapping[str, str] | None,
    selector: str | None,
    owner: str | None,
    route: str | None,
    limit: int | None,
    after: tuple[str, str] | None,
    within: Within = (),
) -> Select[*tuple[Any, ...]]:
    """Return the query of a page in the order of ``(project, name)``."""
    query = select(*COLUMNS).where(T.kind == kind)
    if project is not None:
        # By name alone: for a pair SQLite would sort all the rest of the project for each page.
        query = query.where(T.project == project).order_by(T.name)
    else:
        query = query.order_by(T.project, T.name)
    if owner is not None:
        query = query.where(T.owner_uid == owner)
    if route is not None:
        query = query.where(T.route == route)
    if after is not None and project == after[0]:
        query = query.where(T.name > after[1])
    elif after is not None:
        query = query.where(tuple_(T.project, T.name) > tuple_(*after))
    if limit is not None:
        query = query.limit(limit)
    clause = label_clause(labels, selector)
    if clause is not None:
        query = query.where(clause)
    if within:
        query = query.where(within_clause(kind, within))
    return query


async def overview(
    unit: Unit,
    kind: str,
    *,
    labels: Mapping[str, str] | None,
    limit: int | None,
    after: tuple[str, str] | None,
) -> list[Change]:
    """Return every resource of a kind as a change, without its documents."""
    columns = [T.project, T.name, T.uid, T.resource_version, T.route, T.owner_uid]
    query = select(*columns).where(T.kind == kind).order_by(T.project, T.name).limit(limit)
    if after is not None:
        query = query.where(tuple_(T.project, T.name) > tuple_(*after))
    clause = label_clause(labels, None)
    if clause is not None:
        query = query.where(clause)
    return [
        Change(
            kind=kind,
            project=row.project,
            name=row.name,
            uid=row.uid,
            resource_version=row.resource_version,
            deleted=False,
            route=row.route,
            spec_changed=True,
            owner_uid=row.owner_uid,
        )
        for row in await unit.execute(query)
    ]


async def fetch(unit: Unit, query: Select[*tuple[Any, ...]]) -> list[Stored]:
    """Return all rows of a query over ``COLUMNS``."""
    return [stored(row) for row in await unit.execute(query)]


async def changed_since(
    unit: Unit, version: int, *, route: str | None, spec_only: bool, limit: int
) -> list[Resource | Tombstone]:
    """Return what changed after ``version``; see ``Store.changed_since``.

    The newest version is read first and nothing above it is returned, so that resources and
    tombstones, which two statements fetch, cannot hide a change between them.
    """
    newest = await read_version(unit)
    column = T.spec_version if spec_only else T.resource_version
    rows = await unit.execute(
        _between(select(*COLUMNS), column, version, newest, limit).where(
            *([] if route is None else [T.route == route])
        )
    )
    found: list[tuple[int, Resource | Tombstone]] = []
    for row in map(stored, rows):
        position = row.spec_version if spec_only else row.resource_version
        found.append((position, decode_any(row, version=position)))
    dead = tables.tombstone.c
    rows = await unit.execute(
        _between(select(tables.tombstone), dead.resource_version, version, newest, limit).where(
            *([] if route is None else [dead.route == route])
        )
    )
    found.extend((row.resource_version, decode_tombstone(row)) for row in rows)
    return [item for _, item in sorted(found, key=lambda pair: pair[0])[:limit]]


def _between(
    query: Select[*tuple[Any, ...]],
    column: ColumnElement[int],
    above: int,
    upto: int,
    limit: int,
) -> Select[*tuple[Any, ...]]:
    return query.where(column > above, column <= upto).order_by(column).limit(limit)


async def read_version(unit: Unit) -> int:
    """Return the newest version given."""
    query = select(tables.sequence.c.value).where(tables.sequence.c.name == "resource")
    newest: int = (await unit.execute(query)).scalar_one()
    return newest


async def count(unit: Unit, kind: str, *, project: str | None, route: str | None) -> int:
    """Return how many resources of a kind there are."""
    query = select(func.count()).select_from(tables.resource).where(T.kind == kind)
    if project is not None:
        query = query.where(T.project == project)
    if route is not None:
        query = query.where(T.route == route)
    number: int = (await unit.execute(query)).scalar_one()
    return number
