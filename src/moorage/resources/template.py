"""Template: a vSphere template that machines can be cloned from, and where it shall be at hand."""

import re
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

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

OvaUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s/?#@]+/[^\s#]*$", max_length=2048)
]
OvaFile = Annotated[str, StringConstraints(pattern=r"^[^./\\\x00][^/\\\x00]{0,254}$")]
"""Name of a file, and no path."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", to_lower=True)]
TemplateName = Annotated[
    str, StringConstraints(pattern=r"^[^/\\%\x00-\x1f]{1,80}$", strip_whitespace=True)
]
"""Of a virtual machine: vCenter takes 80 characters at most."""

Through = Literal["contentLibrary", "nfc"]

ItemName = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]


def resource_name(path: str) -> str:
    """Return what the resource about a template is called: ``r_u-2404`` becomes ``r-u-2404``.

    Args:
        path: Inventory path, or name, of the template.
    """
    name = path.strip("/").rpartition("/")[2].lower()
    return _NOT_IN_NAMES.sub("-", name).strip("-")[:_LONGEST_NAME].strip("-") or "template"


class LibraryItem(Model):
    """An OVF template in a content library, local or subscribed, by the names that people see."""

    library: ItemName
    item: ItemName


class TemplateSource(Model):
    """Where the template comes from: exactly one of these."""

    existing: InventoryPath | None = None
    """Template that is in vCenter already: nothing is made but its replicas."""
    virtual_machine: InventoryPath | None = None
    """Virtual machine that is marked as a template. It has to be powered off, without snapshots,
    and fit for machines."""
    url: OvaUrl | None = None
    """OVA that the gateway fetches: ``https://…``, or ``http://…`` of a file whose ``sha256`` is
    given. A proxy is that of the gateway's environment."""
    file: OvaFile | None = None
    """OVA beside the gateway: its name in the folder ``imports`` of the data directory, or in the
    ``importsFolder`` of the gateway's settings."""
    library_item: LibraryItem | None = None
    """OVF template that lies in a content library of vCenter already; it stays there."""
    through: Through = "contentLibrary"
    """How vCenter takes an OVA in: by a content library of its own (port 443 of vCenter), or by
    ``nfc``, straight to an ESXi host (port 443 of the hosts)."""
    ca_bundle: str | None = Field(default=None, max_length=64 * 1024)
    """PEM certificates that the server of ``url`` is verified by, in place of the system's."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        names = ("existing", "virtual_machine", "url", "file", "library_item")
        if sum(getattr(self, name) is not None for name in names) != 1:
            aliases = ", ".join(to_camel(name) for name in names)
            raise ValueError(f"exactly one of {aliases} has to be given")
        if self.ca_bundle is not None and self.url is None:
            raise ValueError("caBundle is for url only")
        if self.through != "contentLibrary" and self.url is None and self.file is None:
            raise ValueError("through is for url and file only")
        return self

    @property
    def path(self) -> str | None:
        """Inventory path of what is in vCenter already; ``None`` for an import."""
        return self.existing or self.virtual_machine

    def shown(self) -> str:
        """Return where an import comes from, for people: without credentials and parameters."""
        if self.library_item is not None:
            return f"item {self.library_item.item} of content library {self.library_item.library}"
        if self.url is None:
            return f"file {self.file}"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{parts.path}"


class TemplateSpec(Spec):
    """What is asked for. All but ``prefetch`` is fixed. Places are names, or inventory paths."""

    account: Name
    source: TemplateSource
    name: TemplateName | None = None
    """What an imported one is called in vCenter, such as ``r_u-2404-0-k-1344-0``."""
    sha256: Sha256 | None = None
    """Of the whole OVA. Its manifest is compared in either case, if it has one."""
    datacenter: InventoryPath
    folder: InventoryPath | None = None
    """VM folder for what is made; by default ``spectro-templates`` where the datacenter has such a
    folder, else ``templates``."""
    compute_cluster: InventoryPath | None = None
    """Compute cluster, or standalone host, that copies are made on."""
    resource_pool: InventoryPath | None = None
    """The compute cluster's own by default."""
    datastore: InventoryPath | None = None
    """What an imported one lies on."""
    network: InventoryPath | None = None
    """What copies are plugged into; machines get networks of their own."""
    prefetch: list[InventoryPath] = Field(default_factory=list, max_length=100)
    """Datastores on which a replica is made beforehand, and kept, for linked clones to hang on."""

    @model_validator(mode="after")
    def _names_what_copies_need(self) -> Self:
        if len(set(self.prefetch)) != len(self.prefetch):
            raise ValueError("prefetch names a datastore twice")
        is_import = self.source.path is None
        needed = {"computeCluster": self.compute_cluster, "network": self.network}
        if is_import:
            needed |= {"name": self.name, "datastore": self.datastore}
        missing = [name for name, value in needed.items() if value is None]
        if missing and (is_import or self.prefetch):
            what = "the OVA is imported as, and to" if is_import else "replicas are made"
            raise ValueError(f"{' and '.join(missing)} must be given: it is what {what}")
        if not is_import and (self.name or self.sha256 or self.datastore):
            raise ValueError("name, sha256 and datastore are for imports only")
        if self.source.library_item is not None and self.sha256 is not None:
            raise ValueError("sha256 is for url and file only")
        if (self.source.url or "").startswith("http://") and self.sha256 is None:
            raise ValueError("sha256 must be given: nothing else protects what comes over http")
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
    bytes_done: int = 0
    """Of an import: sent to vCenter so far."""
    bytes_total: int = 0
    bytes_per_second: int = 0
    """How fast it went lately; 0 while nothing is sent."""
    uploaded: bool = False
    """Whether the OVA lies in a content library now, to be deployed."""
    networks: list[str] = Field(default_factory=list)
    """Names that the OVA has for networks."""
    refused: str | None = None
    """Why the OVA can never be imported: it is not fetched again."""
    timeline: dict[str, str] = Field(default_factory=dict)
    """Milestone -> RFC 3339 time."""


class Template(Resource):
    plural: ClassVar[str] = "templates"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Template"] = "Template"
    spec: TemplateSpec
    status: TemplateStatus = Field(default_factory=TemplateStatus)
