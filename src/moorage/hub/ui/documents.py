"""Documents as people write them, from those that the API shows."""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from moorage.hub.ui.api import Json

_LONGEST = 256 * 1024
"""Characters of YAML that are read: a cluster's document has a few thousand."""


class UnreadableError(ValueError):
    """A text is no document; the message says where it goes wrong."""


def compact(cluster: Json, pools: Sequence[Json]) -> Json:
    """Return a cluster with its pools as one document, without what only Moorage writes."""
    meta = cluster["metadata"]
    labels = {k: v for k, v in meta.get("labels", {}).items() if not k.startswith("moorage.dev/")}
    shown: list[Json] = []
    for pool in pools:
        if "deletionRequestedAt" in pool["metadata"]:
            continue
        spec = dict(pool["spec"])
        del spec["cluster"]
        shown.append({"name": spec.pop("pool"), **spec})
    return {
        "kind": "Cluster",
        "metadata": {"name": meta["name"], **({"labels": labels} if labels else {})},
        "spec": cluster["spec"],
        "nodePools": shown,
    }


def planned(plan: Json) -> Json:
    """Return the cluster with its pools as a plan proposes them, like ``compact``."""
    spec = plan["spec"]
    labels = {k: v for k, v in spec.get("labels", {}).items() if not k.startswith("moorage.dev/")}
    return {
        "kind": "Cluster",
        "metadata": {"name": spec["cluster"], **({"labels": labels} if labels else {})},
        "spec": spec["proposed"],
        "nodePools": spec.get("nodePools", []),
    }


class Line(NamedTuple):
    """One line of a difference."""

    sign: str
    """``+``, ``-``, or a blank for what stays as it is."""
    text: str


def difference(before: Json, after: Json) -> list[Line]:
    """Return the lines in which two documents differ, with three around each; none: they do not."""
    old, new = (to_yaml(_sorted(one)).splitlines() for one in (before, after))
    lines = list(difflib.unified_diff(old, new, lineterm=""))[2:]
    return [Line(one[:1], one[1:]) for one in lines if not one.startswith("@@")]


def _sorted(value: Any) -> Any:
    """Return a document with its fields in order, and pools by name: order says nothing."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    return value


def to_yaml(document: Any) -> str:
    """Write a document."""
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def from_yaml(text: str) -> Json:
    """Read one document; raises ``UnreadableError``."""
    if len(text) > _LONGEST:
        raise UnreadableError(f"the text is longer than {_LONGEST} characters")
    if any(isinstance(token, yaml.AliasToken) for token in _tokens(text)):
        raise UnreadableError("aliases (*name) are not read")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableError(f"this is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableError("this is not a document: it must begin with a field such as spec:")
    return found


def _tokens(text: str) -> list[Any]:
    try:
        return list(yaml.scan(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise UnreadableError(f"this is not YAML: {error}") from error
