"""Kubernetes label selectors, applied in SQL."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, or_, select, true

from moorage.resources.selector import Requirement, parse_selector
from moorage.store import tables

Within = tuple[tuple[str, ...], ...]
"""Choices of label selectors of clusters; of each choice one has to hold."""


def label_clause(
    labels: Mapping[str, str] | None, selector: str | None, *, table: FromClause = tables.resource
) -> ColumnElement[bool] | None:
    """Return the condition on the label column; ``None`` when nothing is asked."""
    requirements = [Requirement(key, "in", (value,)) for key, value in (labels or {}).items()]
    requirements.extend(parse_selector(selector or ""))
    if not requirements:
        return None
    return and_(*(_clause(requirement, table) for requirement in requirements))


def within_clause(kind: str, within: Within) -> ColumnElement[bool]:
    """Return the condition that a resource is, or belongs to, a cluster that is reached.

    One indexed look-up for each row that would be shown, none for those who reach all.
    """
    if kind == "Cluster":
        return _reached(tables.resource, within)
    cluster = tables.resource.alias("reached_cluster")
    clusters = select(cluster.c.uid).where(cluster.c.kind == "Cluster", _reached(cluster, within))
    owner = tables.resource.c.owner_uid
    if kind != "Operation":
        return owner.in_(clusters)
    machine = tables.resource.alias("reached_machine")
    machines = select(machine.c.uid).where(
        machine.c.kind == "Machine", machine.c.owner_uid.in_(clusters)
    )
    return or_(owner.in_(clusters), owner.in_(machines))


def _reached(table: FromClause, within: Within) -> ColumnElement[bool]:
    return and_(
        *(
            or_(*(_or_all(label_clause(None, selector, table=table)) for selector in part))
            for part in within
        )
    )


def _or_all(clause: ColumnElement[bool] | None) -> ColumnElement[bool]:
    return true() if clause is None else clause


def _clause(requirement: Requirement, table: FromClause) -> ColumnElement[bool]:
    found: ColumnElement[Any] = table.c.labels[requirement.key].as_string()
    match requirement.operator:
        case "in":
            return found.in_(requirement.values)
        case "notin":
            return or_(found.is_(None), found.not_in(requirement.values))
        case "exists":
            return found.is_not(None)
        case "absent":
            return found.is_(None)
