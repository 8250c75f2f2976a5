"""The few fields of Kubernetes' objects that Moorage looks at, and lightkube's words for kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from lightkube.generic_resource import (
    GenericGlobalResource,
    GenericNamespacedResource,
    create_api_info,
)

Document = dict[str, Any]

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


@lru_cache(maxsize=1024)
def resource(api_version: str, kind: str, plural: str, *, namespaced: bool) -> Any:
    """Return lightkube's class of plain documents for a kind: one for all clusters that agree.

    Its registry of kinds is one for the whole process, where one cluster's definition would
    stand in for another's. Its models drop fields that they do not know, and refuse a whole
    list for one object that lacks a field.
    """
    group, _, version = api_version.rpartition("/")
    base = GenericNamespacedResource if namespaced else GenericGlobalResource
    return type(kind, (base,), {"_api_info": create_api_info(group, version, kind, plural)})


NODE = resource("v1", "Node", "nodes", namespaced=False)
POD = resource("v1", "Pod", "pods", namespaced=True)


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in to one API server: its CA, and a client certificate signed by it."""

    ca: str
    certificate: str
    key: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A Node, as far as a cluster's condition needs it."""

    name: str
    uid: str
    ready: bool
    ready_reason: str
    """Why it is not ready, in kubelet's words; empty when it is."""
    unschedulable: bool
    provider_id: str | None
    kubelet_version: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A Pod, as far as draining and health need it."""

    namespace: str
    name: str
    uid: str
    phase: str
    ready: bool
    node: str | None
    is_mirror: bool
    """Made by kubelet from a file: it cannot be evicted and needs not be."""
    is_daemon: bool
    deletion_requested_at: datetime | None


@dataclass(frozen=True, slots=True)
class PodLeft:
    """A pod that still holds up a drain, and why."""

    namespace: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrainState:
    """Outcome of one pass of a drain."""

    remaining: tuple[PodLeft, ...]
    expired: bool
    """The deadline has passed: the caller decides whether to go on without the rest."""

    @property
    def done(self) -> bool:
        """Tell whether nothing is left to wait for."""
        return not self.remaining


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """A member of the cluster's etcd, as etcd itself lists it."""

    id: int
    name: str
    """Name of its node; empty while it has not started yet."""
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool
    healthy: bool | None = None
    """``None``: not asked, or a learner, which has no vote."""


def parse_node(item: Document) -> NodeInfo:
    """Pick the fields of a Node."""
    metadata, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
    ready: Document = next(
        (c for c in status.get("conditions", ()) if c.get("type") == "Ready"), {}
    )
    is_ready = ready.get("status") == "True"
    why = ready.get("message") or ready.get("reason") or "kubelet has not reported yet"
    return NodeInfo(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        ready=is_ready,
        ready_reason="" if is_ready else why,
        unschedulable=bool(spec.get("unschedulable", False)),
        provider_id=spec.get("providerID"),
        kubelet_version=status.get("nodeInfo", {}).get("kubeletVersion", ""),
        addresses=tuple(
            a["address"] for a in status.get("addresses", ()) if a.get("type") == "InternalIP"
        ),
        labels=dict(metadata.get("labels", {})),
        taints=tuple(dict(taint) for taint in spec.get("taints", ())),
    )


def parse_pod(item: Document) -> PodInfo:
    """Pick the fields of a Pod."""
    metadata, status = item["metadata"], item.get("status", {})
    owners = metadata.get("ownerReferences", ())
    deleted = metadata.get("deletionTimestamp")
    return PodInfo(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        phase=status.get("phase", ""),
        ready=any(
            c.get("type") == "Ready" and c.get("status") == "True"
            for c in status.get("conditions", ())
        ),
        node=item.get("spec", {}).get("nodeName"),
        is_mirror=MIRROR_ANNOTATION in metadata.get("annotations", {}),
        is_daemon=any(o.get("controller") and o.get("kind") == "DaemonSet" for o in owners),
        deletion_requested_at=datetime.fromisoformat(deleted) if deleted else None,
    )
