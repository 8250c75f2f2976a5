"""TemplateReplica: a copy of a template on one datastore, for linked clones to hang on."""

import hashlib
import json
import re
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from moorage.resources.meta import Name, Ownership, Resource, Scope, Spec, Status

LABEL_REPLICA = "moorage.dev/template-replica"
"""On a Machine: name of the replica that its VM is, or is about to be, a linked clone of."""
LABEL_FAMILY = "moorage.dev/replica-family"
"""On replicas of the same template on the same datastore: name of the first of them."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_LONGEST_STEM = 40
_DIGITS = 16


class TemplateReplicaSpec(Spec):
    """What is copied, and where to; chosen before the copy is begun, and then never changed.

    Names and paths are those of the machine that asked first.
    """

    account: Name
    source: str
    """Moref of the template."""
    digest: str
    """Of what the template holds: another one is another template, and gets replicas of its own."""
    datastore_ref: str
    """Moref of the datastore."""
    datacenter: str
    folder: str
    """VM folder that the copy lies in."""
    template: str
    compute_cluster: str
    resource_pool: str | None = None
    datastore: str
    storage_policy: str | None = None
    """Identifier of what its disks follow, and so what machines share of them."""
    network: str
    host: str | None = None
    """Moref of the host that it is made on; ``None``: vCenter chooses."""


class TemplateReplicaStatus(Status):
    """What was last seen."""

    vm: str | None = None
    """Moref of the copy, once seen."""
    host: str | None = None
    """Moref of the host that the copy is registered on."""
    clone_task: str | None = None
    clone_failed: bool = False
    """Whether vCenter could not make the copy the last time."""
    snapshot: str | None = None
    """Moref of the snapshot that linked clones hang on."""
    size_bytes: int | None = None
    """What is copied."""
    machines: int = 0
    """How many machines are linked clones of it, those being made included."""
    unused_since: datetime | None = None
    """Since when there is none."""
    timeline: dict[str, str] = Field(default_factory=dict)
    """Milestone -> RFC 3339 time."""


class TemplateReplica(Resource):
    plural: ClassVar[str] = "templatereplicas"
    ownership: ClassVar[Ownership] = Ownership.DERIVED
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["TemplateReplica"] = "TemplateReplica"
    spec: TemplateReplicaSpec
    status: TemplateReplicaStatus = Field(default_factory=TemplateReplicaStatus)


def family_name(
    template: str, *, gateway: str, account: str, digest: str, datastore_ref: str, profile: str = ""
) -> str:
    """Return what the replicas of a template on a datastore are called: the same for everyone.

    Args:
        template: Name of the template, for people: all else is in the digits at the end.
        gateway: Gateway that makes them: two gateways share none.
        account: Cloud account.
        digest: Of what the template holds.
        datastore_ref: Moref of the datastore.
        profile: Identifier of the storage policy that it follows, if there is one.
    """
    stem = _NOT_IN_NAMES.sub("-", template.lower()).strip("-")[:_LONGEST_STEM].strip("-")
    what = json.dumps([gateway, account, digest, datastore_ref, *([profile] if profile else [])])
    digits = hashlib.sha256(what.encode()).hexdigest()[:_DIGITS]
    return f"{stem or 'template'}-{digits}"


def replica_name(family: str, ordinal: int) -> str:
    """Return the name of a replica, as resource and as VM.

    Whoever makes it comes to the same name. ``ordinal`` is 1, or more for one that stands in for
    others which cannot be used.
    """
    return family if ordinal == 1 else f"{family}-{ordinal}"
