"""NodePool: a number of equal worker machines of one cluster."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from moorage.resources.kubernetes import Taint
from moorage.resources.meta import (
    NAME_PATTERN,
    LabelKey,
    LabelValue,
    Metadata,
    Name,
    Ownership,
    Resource,
    Scope,
    Spec,
    Status,
)
from moorage.resources.size import MachineSize

PoolName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=20)]
"""Name of a pool inside its cluster; the NodePool resource is called ``{cluster}-{pool}``."""


class PoolShape(MachineSize):
    """What is asked of a pool, without its cluster: the form used in a compact cluster document."""

    replicas: int = Field(default=1, ge=0, le=5000)
    """At most as many nodes as Kubernetes supports in one cluster ("Considerations for large
    clusters" in its documentation)."""
    failure_domains: list[Name] = Field(default_factory=list)
    """Names from the cluster's ``placement.failureDomains``; empty means all."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    taints: list[Taint] = Field(default_factory=list)


class PoolDocument(PoolShape):
    """A node pool inside a cluster document."""

    name: PoolName


class NodePoolSpec(PoolShape, Spec):
    """What is asked of a node pool."""

    cluster: Name
    """Immutable."""
    pool: PoolName
    """Immutable."""


class NodePoolStatus(Status):
    """What was last seen of a node pool."""

    replicas: int = 0
    """Machines that exist, those being deleted not counted."""
    ready: int = 0


class NodePool(Resource):
    plural: ClassVar[str] = "nodepools"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["NodePool"] = "NodePool"
    spec: NodePoolSpec
    status: NodePoolStatus = Field(default_factory=NodePoolStatus)


def pool_of_document(document: PoolDocument, cluster: str, project: str) -> NodePool:
    """Return the NodePool resource that a cluster document's entry stands for."""
    shape = {name: getattr(document, name) for name in PoolShape.model_fields}
    return NodePool(
        metadata=Metadata(name=pool_resource_name(cluster, document.name), project=project),
        spec=NodePoolSpec(cluster=cluster, pool=document.name, **shape),
    )


def document_of_pool(pool: NodePool) -> PoolDocument:
    """Return a NodePool as a cluster document has it."""
    shape = {name: getattr(pool.spec, name) for name in PoolShape.model_fields}
    return PoolDocument(name=pool.spec.pool, **shape)


def pool_resource_name(cluster: str, pool: str) -> str:
    """Return the name of the NodePool resource for a pool of a cluster."""
    return f"{cluster}-{pool}"
