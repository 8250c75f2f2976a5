"""All clusters in a few words each: counted, searched and paged without reading them again."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from moorage.resources import Cluster
from moorage.resources.phase import DELETION_HELD, phase_of
from moorage.resources.selector import Requirement, matches
from moorage.store.codec import Stored
from moorage.store.view import View

_LONGEST = 240
"""Characters kept of what a cluster waits for: its own page says all of it."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What lists show of one cluster."""

    project: str
    name: str
    state: str
    """The phase."""
    version: str
    account: str
    gateway: str
    nodes: int
    nodes_ready: int
    created_at: str
    message: str = ""
    """What it waits for; empty when it is Ready."""
    held: bool = False
    """Its deletion waits for an approval beside vCenter."""
    labels: dict[str, str] = field(default_factory=dict)


class Fleet(View):
    """Of every cluster. What it says is of the last time that it was brought up to date."""

    kinds = frozenset({Cluster.kind_name()})

    def __init__(self) -> None:
        super().__init__()
        self._clusters: dict[str, Glance] = {}

    def put(self, row: Stored) -> None:
        """Take a cluster in."""
        self._clusters[row.uid] = _glance(row)

    def put_status(self, row: Stored) -> None:
        """Take in what a gateway has seen of a cluster."""
        self.put(row)

    def drop(self, kind: str, uid: str) -> None:  # noqa: ARG002 - there is one kind only
        """Take a cluster out."""
        self._clusters.pop(uid, None)

    def of(self, project: str) -> list[Glance]:
        """Return the clusters of a project, in order of their names."""
        found = (one for one in self._clusters.values() if one.project == project)
        return sorted(found, key=lambda one: one.name)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which clusters are wanted; empty parts want all."""

    search: str = ""
    """Part of a name."""
    state: str = ""
    version: str = ""
    gateway: str = ""
    held: bool = False
    """Only those whose deletion is held."""
    selector: tuple[Requirement, ...] = ()

    def wants(self, one: Glance) -> bool:
        """Tell whether a cluster fulfils all parts."""
        return (
            self.search in one.name
            and self.state in ("", one.state)
            and self.version in ("", one.version)
            and self.gateway in ("", one.gateway)
            and (one.held or not self.held)
            and matches(self.selector, one.labels)
        )


def count(clusters: Iterable[Glance], what: str) -> dict[str, int]:
    """Return how many clusters there are by state or version, the most frequent first."""
    return dict(Counter(getattr(one, what) for one in clusters).most_common())


def _glance(row: Stored) -> Glance:
    """Read the few fields: to validate ten thousand whole documents would take seconds."""
    meta, spec, status = from_json(row.meta), from_json(row.spec), from_json(row.status)
    ready: dict[str, Any] = next(
        (one for one in status.get("conditions", ()) if one["type"] == "Ready"), {}
    )
    state = phase_of(
        is_deleting=meta.get("deletionRequestedAt") is not None,
        ready=(ready["status"], ready["reason"]) if ready else None,
    )
    return Glance(
        project=row.project,
        name=row.name,
        state=state,
        version=status.get("kubernetesVersion") or spec["kubernetesVersion"],
        account=spec["account"],
        gateway=row.route,
        nodes=status.get("nodes", 0),
        nodes_ready=status.get("nodesReady", 0),
        created_at=meta.get("createdAt") or "",
        message="" if ready.get("status") == "True" else ready.get("message", "")[:_LONGEST],
        held=any(one["reason"] == DELETION_HELD for one in status.get("conditions", ())),
        labels=meta.get("labels") or {},
    )
