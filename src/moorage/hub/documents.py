"""What clients send and get where it differs from the stored resource."""

from typing import Any, Literal, TypeVar

from pydantic import Field, create_model

from moorage.kit.ids import random_word
from moorage.resources import Cluster, NodePool, Resource, Secret
from moorage.resources.cluster import ClusterName, ClusterSpec
from moorage.resources.meta import Document, LabelKey, LabelValue, Metadata, Model, Name
from moorage.resources.nodepool import PoolDocument

Uid = Field(
    default="",
    pattern=r"^([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})?$",
    description="Chosen by the client when something is bound to it, such as a sealed secret.",
)

R = TypeVar("R", bound=Resource)


class NewMetadata(Model):
    """The part of `metadata` that a client writes."""

    name: Name
    project: str | None = None
    """Told by the path; when given it must be the same."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    uid: str = Uid


class NewOperationMetadata(NewMetadata):
    """An operation may be left without a name: it is then made from the verb."""

    name: Name | None = None  # type: ignore[assignment]


class NewClusterMetadata(NewMetadata):
    """The part of a cluster's `metadata` that a client writes."""

    name: ClusterName


class ClusterDocument(Model):
    """A cluster with its node pools, as people write it.

    A pool that is left out stays as it is: absence never deletes.
    """

    kind: Literal["Cluster"] = "Cluster"
    metadata: NewClusterMetadata
    spec: ClusterSpec
    node_pools: list[PoolDocument] = Field(default_factory=list, max_length=100)


class ClusterWithPools(Cluster):
    """A cluster with all of its node pools."""

    node_pools: list[NodePool] = Field(default_factory=list)


def new_model(kind: type[Resource]) -> type[Model]:
    """Make the model of what a client POSTs to create a resource of that kind."""
    name = kind.kind_name()
    spec = kind.model_fields["spec"]
    meta = NewOperationMetadata if name == "Operation" else NewMetadata
    spec_type: Any = spec.annotation
    default: Any = ... if spec.is_required() else spec_type()
    literal: Any = Literal[name]
    return create_model(
        f"New{name}",
        __base__=Model,
        __doc__=f"What is sent to create a {name}.",
        kind=(literal, name),
        metadata=(meta, ...),
        spec=(spec_type, default),
    )


def page_model(shown: type[Model], kind: str) -> type[Model]:
    """Make the model of one page of a list."""
    literal: Any = Literal[f"{kind}List"]
    return create_model(
        f"{kind}List",
        __base__=Model,
        __doc__="One page. `continue` is there when more follows.",
        kind=(literal, f"{kind}List"),
        items=(list[shown], ...),  # type: ignore[valid-type]
        continue_=(
            str | None,
            Field(default=None, alias="continue", description="Give it back to get the next page."),
        ),
        resource_version=(
            int,
            Field(description="Watch from here to miss nothing that this list does not show."),
        ),
    )


def show_secret(secret: Secret) -> Document:
    """Return the secret's document with an empty envelope: for whom and for what, never what."""
    document = secret.document()
    sealed = document["spec"]["sealed"]
    sealed["ciphertext"] = ""
    sealed["keys"] = [
        {"recipient": key["recipient"], "ephemeral": "", "wrapped": ""} for key in sealed["keys"]
    ]
    return document


def new_resource(kind: type[R], body: Any, project: str) -> R:
    """Turn what a client sent into a resource of its project. Nothing else of it is taken over."""
    metadata = Metadata(
        name=body.metadata.name or f"{body.spec.verb}-{random_word(10)}",
        project=project,
        uid=body.metadata.uid,
        labels=dict(body.metadata.labels),
    )
    return kind(metadata=metadata, spec=body.spec)
