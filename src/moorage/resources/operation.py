"""Operation: a one-shot request to a gateway, with an end."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from moorage.resources.meta import Name, Ownership, Resource, Scope, Spec, Status


class Verb(StrEnum):
    """What can be asked."""

    KUBECONFIG = "kubeconfig"
    """Arguments: ``csr`` (PEM), ``ttlSeconds``. Result: ``certificate``, ``ca``, ``server``."""
    LOGS = "logs"
    """Subject is a Machine. Result: ``logs`` (text)."""
    DELETE = "delete"
    """Subject is a worker's Machine: its pool makes another one in its place."""
    CHECK = "check"
    """Subject is a CloudAccount. Arguments and result: see ``resources.permission``."""
    ZONES = "zones"
    """Subject is a CloudAccount. Arguments and result: see ``resources.zones``."""
    ESTATE = "estate"
    """Subject is a CloudAccount. Arguments and result: see ``resources.estate``."""


class OperationSpec(Spec):
    """What is asked, of what, until when."""

    verb: Verb
    subject_kind: Literal["Cluster", "Machine", "CloudAccount"]
    subject_name: Name
    subject_uid: str = ""
    """Filled by the hub from the name."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    expires_at: datetime | None = None
    """Not begun after this moment; the hub sets ten minutes by default."""


class OperationStatus(Status):
    """Written by the gateway. Kept for 24 hours."""

    completed_at: datetime | None = None
    failed: bool = False
    message: str | None = None
    result: dict[str, Any] = Field(default_factory=dict)


class Operation(Resource):
    plural: ClassVar[str] = "operations"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["Operation"] = "Operation"
    spec: OperationSpec
    status: OperationStatus = Field(default_factory=OperationStatus)
