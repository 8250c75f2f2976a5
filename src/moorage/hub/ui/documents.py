"""Documents as people write them, from those that the API shows."""

from collections.abc import Sequence
from typing import Any

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
