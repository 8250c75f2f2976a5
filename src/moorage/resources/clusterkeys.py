"""ClusterKeys: a cluster's CA keys and master secret, sealed to gateway and recovery key."""

from typing import ClassVar, Literal

from pydantic import Field

from moorage.kit.seal import SealedEnvelope
from moorage.resources.meta import Name, Ownership, Resource, Scope, Spec, Status


class ClusterKeysSpec(Spec):
    """Written once, before the first clone, and mirrored to the hub in sealed form only."""

    cluster: Name
    sealed: SealedEnvelope


class ClusterKeysStatus(Status):
    """Nothing beyond conditions."""


class ClusterKeys(Resource):
    """Has the name and project of its cluster. REST never shows ``sealed``."""

    plural: ClassVar[str] = "clusterkeys"
    ownership: ClassVar[Ownership] = Ownership.DERIVED
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["ClusterKeys"] = "ClusterKeys"
    spec: ClusterKeysSpec
    status: ClusterKeysStatus = Field(default_factory=ClusterKeysStatus)
