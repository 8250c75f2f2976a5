"""ClusterKeys and ResealedKeys: a cluster's CA keys and master secret, sealed."""

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


class ResealedKeysSpec(Spec):
    """A cluster's keys, opened with the recovery key and sealed to another gateway too."""

    cluster: Name
    gateway: Name
    """Gateway that can open it."""
    sealed: SealedEnvelope


class ResealedKeysStatus(Status):
    """Nothing beyond conditions."""


class ResealedKeys(Resource):
    """Has the name and project of its cluster. REST never shows it."""

    plural: ClassVar[str] = "resealedkeys"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["ResealedKeys"] = "ResealedKeys"
    spec: ResealedKeysSpec
    status: ResealedKeysStatus = Field(default_factory=ResealedKeysStatus)
