"""Gateway and Assignment: who works beside vCenter, and which clusters are whose."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from moorage.resources.meta import Name, Ownership, Resource, Scope, Spec, Status


class GatewaySpec(Spec):
    """An outbound-only process beside vCenter."""

    description: str = Field(default="", max_length=1024)


class GatewayStatus(Status):
    """Written by the hub: what it knows of the gateway's process and keys."""

    enrolled: bool = False
    connected: bool = False
    last_seen_at: datetime | None = None
    version: str | None = None
    public_key: str | None = None
    """PEM of the identity key: signs the gateway's hello."""
    sealing_key: str | None = None
    """PEM of the key that secrets are sealed to, signed by the identity key."""
    sealing_key_signature: str | None = None
    fingerprint: str | None = None
    """SHA-256 of the identity key: shown by the gateway at its start, pinned by the CLI."""
    clusters: int = 0


class Gateway(Resource):
    plural: ClassVar[str] = "gateways"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Gateway"] = "Gateway"
    spec: GatewaySpec = Field(default_factory=GatewaySpec)
    status: GatewayStatus = Field(default_factory=GatewayStatus)


class AssignmentSpec(Spec):
    """A cluster or IP pool belongs to exactly one gateway, without expiry (design, 3.5)."""

    subject_kind: Literal["Cluster", "IPPool"]
    subject_project: str
    subject_name: Name
    subject_uid: str
    gateway: Name
    epoch: int = Field(ge=1)


class AssignmentStatus(Status):
    """Written by the gateway."""

    acknowledged_epoch: int = 0
    mirror_sequence: int = 0


class Assignment(Resource):
    """Named ``{kind}-{uid}`` in lower case."""

    plural: ClassVar[str] = "assignments"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Assignment"] = "Assignment"
    spec: AssignmentSpec
    status: AssignmentStatus = Field(default_factory=AssignmentStatus)
