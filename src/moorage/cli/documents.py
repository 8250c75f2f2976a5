"""What users write: YAML documents and flags, checked before anything is sent."""

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from moorage.kit.errors import FieldFault, InvalidError

M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_documents(file: Path, kind: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML file (``-``: standard input), all of one kind.

    Raises ``InvalidError`` with file, line and column for bad YAML, and for other kinds and
    repeated names.
    """
    documents = load_documents(file)
    if not documents:
        raise InvalidError(f"{file} holds no document: give one of kind {kind}")
    names: set[tuple[str, str]] = set()
    for where, document in documents:
        found = document.get("kind") if isinstance(document, dict) else type(document).__name__
        if not isinstance(document, dict) or found != kind:
            said = f"is of kind {found!r}" if found else "has no kind"
            raise InvalidError(f"{where} {said}: expected kind: {kind}")
        metadata = document.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise InvalidError(f"{where} has no metadata.name")
        key = (str(metadata.get("project") or ""), str(metadata["name"]))
        if key in names:
            raise InvalidError(f"{where}: there is a {kind} {key[1]} before it: names must differ")
        names.add(key)
    return [document for _, document in documents]


def load_documents(file: Path) -> list[tuple[str, Any]]:
    """Return place and content of each document of a YAML file (``-``: standard input).

    A place reads ``site.yaml: document 2``; empty documents are left out. Raises
    ``InvalidError`` with line and column for bad YAML.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{file} cannot be read: it is not UTF-8 ({error.reason})") from error
    except OSError as error:
        raise InvalidError(f"{file} cannot be read: {error.strerror}") from error
    try:
        # A safe loader: _Loader only adds a check to yaml.SafeLoader.
        found = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidError(
            f"{file}{where}: not valid YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    return [(f"{file}: document {number}", one) for number, one in enumerate(found, 1)]


def build(model: type[M], what: str, given: Any) -> M:
    """Make a model of what was given; raises ``InvalidError`` with every fault."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidError(f"{what} is not valid", faults_of(error)) from error


def faults_of(error: ValidationError) -> tuple[FieldFault, ...]:
    """Return pydantic's faults with dotted paths."""
    faults = []
    for fault in error.errors(include_url=False):
        path = ""
        for part in fault["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "there is no such field"
        faults.append(FieldFault(path or "(document)", message))
    return tuple(faults)


def check_cluster(document: dict[str, Any]) -> None:
    """Raise ``InvalidError`` with every fault that a cluster's document alone shows."""
    faults = cluster_faults(document)
    if faults:
        name = document.get("metadata", {}).get("name", "?")
        raise InvalidError(f"cluster {name} is not valid", tuple(faults))


def cluster_faults(document: dict[str, Any]) -> list[FieldFault]:
    """Return every fault that a cluster's document alone shows, those of its pools too."""
    from moorage.resources import Cluster
    from moorage.resources.nodepool import PoolShape

    faults = []
    body = {key: value for key, value in document.items() if key != "nodePools"}
    try:
        Cluster.model_validate(body)
    except ValidationError as error:
        faults += list(faults_of(error))
    pools = document.get("nodePools") or []
    if not isinstance(pools, list):
        faults.append(FieldFault("nodePools", "must be a list of pools"))
        pools = []
    names = set()
    for index, pool in enumerate(pools):
        path = f"nodePools[{index}]"
        shape = {k: v for k, v in pool.items() if k != "name"} if isinstance(pool, dict) else pool
        try:
            PoolShape.model_validate(shape)
        except ValidationError as error:
            faults += [FieldFault(f"{path}.{f.path}", f.message) for f in faults_of(error)]
        name = pool.get("name") if isinstance(pool, dict) else None
        if not isinstance(name, str):
            faults.append(FieldFault(f"{path}.name", "a pool needs a name"))
        elif name in names:
            faults.append(FieldFault(f"{path}.name", f"there are two pools {name}"))
        names.add(name)
    return faults
