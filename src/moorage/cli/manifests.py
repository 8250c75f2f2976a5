"""Files of documents of all kinds: found, read and checked; every fault of every file at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moorage.cli.documents import cluster_faults, faults_of, load_documents
from moorage.client.declare import WRITTEN, Wanted, kind_of
from moorage.kit.errors import FieldFault, InvalidError
from moorage.resources import Cluster, Resource, Scope
from moorage.resources.nodepool import PoolDocument, pool_resource_name
from moorage.resources.references import Key

_SUFFIXES = (".yaml", ".yml", ".json")


def read_manifests(places: Sequence[Path], project: str) -> list[Wanted]:
    """Return what files ask for; raises ``InvalidError`` with all that is wrong in any of them.

    Args:
        places: Files, folders (with all that is in them, in the order of names), ``-`` for
            standard input.
        project: Of documents of clusters and node pools that name none.
    """
    faults: list[FieldFault] = []
    wanted: list[Wanted] = []
    seen: dict[Key, str] = {}
    for file in _files(places):
        try:
            documents = load_documents(file)
        except InvalidError as error:
            faults.append(FieldFault(str(file), error.message))
            continue
        for where, document in documents:
            try:
                one = _wanted(where, document, project)
            except InvalidError as error:
                faults += error.faults
                continue
            for key in _keys(one):
                if key in seen:
                    faults.append(FieldFault(where, f"{_shown(key)} stands in {seen[key]} too"))
                seen[key] = where
            wanted.append(one)
    if faults:
        raise InvalidError("the documents are not valid; nothing was changed", tuple(faults))
    if not wanted:
        raise InvalidError(f"there is no document in {', '.join(map(str, places))}")
    return wanted


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if not place.is_dir():
            yield place
            continue
        for file in sorted(place.rglob("*")):
            inside = file.relative_to(place).parts
            hidden = any(part.startswith(".") for part in inside)
            if file.suffix in _SUFFIXES and file.is_file() and not hidden:
                yield file


def _wanted(where: str, document: Any, project: str) -> Wanted:
    if not isinstance(document, dict):
        raise _invalid(where, [FieldFault("", f"is a {type(document).__name__}, no document")])
    named = document.get("kind")
    known = ", ".join(kind.kind_name() for kind in WRITTEN)
    try:
        kind = kind_of(str(named))
    except KeyError:
        said = f"is {named!r}" if named else "is missing"
        raise _invalid(where, [FieldFault("kind", f"{said}: give one of {known}")]) from None
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise _invalid(where, [FieldFault("metadata", "is missing: give at least metadata.name")])
    where = f"{where} ({kind.kind_name()} {metadata.get('name', '?')})"
    if kind.scope is Scope.PROJECT:
        metadata = {**metadata, "project": metadata.get("project") or project}
    elif metadata.get("project"):
        said = f"is {metadata['project']!r}, but kind {kind.kind_name()} is of the whole hub"
        raise _invalid(where, [FieldFault("metadata.project", said)])
    return _checked(where, kind, {**document, "metadata": metadata})


def _checked(where: str, kind: type[Resource], document: dict[str, Any]) -> Wanted:
    place = where.rpartition(" (")[0]
    if kind is Cluster:
        faults = cluster_faults(document)
        if faults:
            raise _invalid(where, faults)
        pools = tuple(PoolDocument.model_validate(p) for p in document.pop("nodePools", None) or ())
        return Wanted(place, Cluster.model_validate(document), pools)
    try:
        return Wanted(place, kind.model_validate(document))
    except ValidationError as error:
        raise _invalid(where, faults_of(error)) from error


def _invalid(where: str, faults: Sequence[FieldFault]) -> InvalidError:
    located = (FieldFault(f"{where}: {f.path}" if f.path else where, f.message) for f in faults)
    return InvalidError(f"{where} is not valid", tuple(located))


def _keys(one: Wanted) -> Iterator[Key]:
    yield one.key
    project, name = one.resource.key
    for pool in one.pools:
        yield "NodePool", project, pool_resource_name(name, pool.name)


def _shown(key: Key) -> str:
    kind, project, name = key
    return f"{kind} {project}/{name}" if project else f"{kind} {name}"
