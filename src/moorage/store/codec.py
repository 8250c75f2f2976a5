"""Between resources and rows: documents are kept as JSON text, camelCase, nothing left out."""

import json
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from sqlalchemy import Row

from moorage.engine.store import Change, Tombstone
from moorage.kit.errors import TerminalError
from moorage.resources import KINDS, Resource
from moorage.store import tables

R = TypeVar("R", bound=Resource)

_META_FIELDS = {
    "labels",
    "created_at",
    "deletion_requested_at",
    "finalizers",
    "owner",
    "epoch",
}


class Stored(NamedTuple):
    """A row of the resource table, but for the labels (they are part of ``meta``)."""

    kind: str
    project: str
    name: str
    uid: str
    route: str
    owner_uid: str
    generation: int
    resource_version: int
    spec_version: int
    meta: str
    spec: str
    status: str

    def __str__(self) -> str:
        return f"{self.kind} {where_is(self.project, self.name)}"

    @property
    def finalizers(self) -> list[str]:
        """Who must agree before the row goes."""
        found: list[str] = json.loads(self.meta)["finalizers"]
        return found

    @property
    def is_deleting(self) -> bool:
        """Tell whether deletion was asked for."""
        return json.loads(self.meta)["deletionRequestedAt"] is not None

    def change(self, *, spec_changed: bool, deleted: bool = False) -> Change:
        """Return what watchers are told of this row."""
        return Change(
            kind=self.kind,
            project=self.project,
            name=self.name,
            uid=self.uid,
            resource_version=self.resource_version,
            deleted=deleted,
            route=self.route,
            spec_changed=spec_changed,
            owner_uid=self.owner_uid,
        )


def where_is(project: str, name: str) -> str:
    """Return how people are told where a resource is."""
    return f"{project}/{name}" if project else name


COLUMNS = [tables.resource.c[name] for name in Stored._fields]


def stored(row: Row[Any]) -> Stored:
    """Return a fetched row (``COLUMNS``) with names."""
    return Stored._make(row)


def encode(resource: Resource, *, resource_version: int, spec_version: int) -> Stored:
    """Return the row for a resource."""
    meta = resource.metadata
    return Stored(
        kind=resource.kind,
        project=meta.project,
        name=meta.name,
        uid=meta.uid,
        route=meta.route,
        owner_uid=meta.owner.uid if meta.owner else "",
        generation=meta.generation,
        resource_version=resource_version,
        spec_version=spec_version,
        meta=meta.model_dump_json(by_alias=True, include=_META_FIELDS),
        spec=encode_document(resource.spec),
        status=encode_document(resource.status),
    )


def encode_document(document: Any) -> str:
    """Return a spec or a status as JSON text."""
    text: str = document.model_dump_json(by_alias=True)
    return text


def values(row: Stored) -> dict[str, Any]:
    """Return all columns of a row, for an insert or update."""
    return {**row._asdict(), "labels": json.loads(row.meta)["labels"]}


def decode(kind: type[R], row: Stored, *, version: int | None = None) -> R:
    """Return the resource of a row.

    Raises ``TerminalError`` when this release cannot read what another one wrote.
    """
    head = json.dumps(
        {
            "name": row.name,
            "project": row.project,
            "uid": row.uid,
            "generation": row.generation,
            "resourceVersion": row.resource_version if version is None else version,
            "route": row.route,
        }
    )
    text = (
        f'{{"kind":{json.dumps(row.kind)},"metadata":{head[:-1]},{row.meta[1:]},'
        f'"spec":{row.spec},"status":{row.status}}}'
    )
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]
        )
        raise TerminalError(
            "StoredResourceUnreadable",
            f"{row} was stored by another release of Moorage and cannot be read: {faults}",
        ) from error


def decode_any(row: Stored, *, version: int | None = None) -> Resource:
    """Return the resource of a row of any kind; raises ``TerminalError`` for an unknown kind."""
    kind = KINDS.get(row.kind)
    if kind is None:
        raise TerminalError(
            "StoredResourceUnreadable",
            f"{row} was stored by a release of Moorage that knows this kind; this one does not",
        )
    return decode(kind, row, version=version)


def decode_tombstone(row: Row[Any]) -> Tombstone:
    """Return the tombstone of a row."""
    return Tombstone(row.kind, row.project, row.name, row.uid, row.resource_version, row.route)


def same_document(one: str, other: str) -> bool:
    """Tell whether two JSON texts say the same; the order of keys does not count."""
    return one == other or json.loads(one) == json.loads(other)
