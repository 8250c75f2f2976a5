"""Template: a vSphere template that machines can be cloned from, and where it shall be at hand."""

import re
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from moorage.resources.meta import (
    InventoryPath,
    Model,
    Name,
    Ownership,
    Resource,
    Scope,
    Spec,
    Status,
)

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 63


def resource_name(path: str) -> str:
    """Return what the resource about a template is called: ``r_u-2404`` becomes ``r-u-2404``.

    Args:
        path: Inventory path, or name, of the template.
    """
    name = path.strip("/").rpartition("/")[2].lower()
    return _NOT_IN_NAMES.sub("-", name).strip("-")[:_LONGEST_NAME].strip("-") or "template"


class TemplateSource(Model):
    """Where the template comes from: exactly one of these."""

    existing: InventoryPath | None = None
    """Template that is in vCenter already: nothing is made but its replicas."""
    virtual_machine: InventoryPath | None = None
    """Virtual machine that is marked as a template. It has to be powered off, without snapshots,
    and fit for machines."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            names = (field.alias or name for name, field in type(self).model_fields.items())
            raise ValueError(f"exactly one of {', '.join(names)} has to be given")
        return self

    @property
    def path(self) -> str | None:
        """Inventory path of what is in vCenter already."""
        return self.existing or self.virtual_machine


class TemplateSpec(Spec):
    """What is asked for. All but ``prefetch`` is fixed. Places are names, or inventory paths."""

    account: Name
    source: TemplateSource
    datacenter: InventoryPath
    folder: InventoryPath | None = None
    """VM folder for what is made; by default ``spectro-templates`` where the datacenter has such a
    folder, else ``templates``."""
    compute_cluster: InventoryPath | None = None
    """Compute cluster, or standalone host, that copies are made on."""
    resource_pool: InventoryPath | None = None
    """The compute cluster's own by default."""
    network: InventoryPath | None = None
    """What copies are plugged into; machines get networks of their own."""
    prefetch: list[InventoryPath] = Field(default_factory=list, max_length=100)
    """Datastores on which a replica is made beforehand, and kept, for linked clones to hang on."""

    @model_validator(mode="after")
    def _names_what_copies_need(self) -> Self:
        if len(set(self.prefetch)) != len(self.prefetch):
            raise ValueError("prefetch names a datastore twice")
        needed = {"computeCluster": self.compute_cluster, "network": self.network}
        missing = [name for name, value in needed.items() if value is None]
        if missing and self.prefetch:
            raise ValueError(f"{' and '.join(missing)} must be given: replicas are made there")
        return self


class Prefetched(Model):
    """What linked clones on one datastore hang on."""

    datastore: str
    """As it was asked for."""
    replica: Name | None = None
    """Name of the replica; ``None`` where they hang on the template itself."""
    ready: bool = False
    message: str = ""
    """What it waits for."""


class TemplateStatus(Status):
    """What was last seen."""

    path: str | None = None
    """Path below the datacenter's VM folder, as a cluster's ``template`` takes it."""
    vm: str | None = None
    """Moref of the template."""
    prefetched: list[Prefetched] = Field(default_factory=list)
    timeline: dict[str, str] = Field(default_factory=dict)
    """Milestone -> RFC 3339 time."""


class Template(Resource):
    plural: ClassVar[str] = "templates"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Template"] = "Template"
    spec: TemplateSpec
    status: TemplateStatus = Field(default_factory=TemplateStatus)
