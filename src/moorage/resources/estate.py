"""What the operation ``estate`` answers: names that a placement can choose from, and figures."""

from datetime import datetime

from pydantic import Field

from moorage.resources.meta import InventoryPath, Model


class EstateCompute(Model):
    """A compute cluster, or a host that stands alone."""

    path: InventoryPath
    """Below the datacenter's host folder: what ``computeCluster`` of a failure domain takes."""
    hosts: int
    hosts_usable: int
    """Connected and not in maintenance mode."""
    resource_pools: list[str] = Field(default_factory=list)
    """Below the root resource pool."""
    datastores: list[str] = Field(default_factory=list)
    """That at least one of its hosts reaches."""
    datastore_clusters: list[str] = Field(default_factory=list)
    networks: list[str] = Field(default_factory=list)
    """That at least one of its hosts is connected to."""


class EstateDatacenter(Model):
    """A datacenter."""

    path: InventoryPath
    folders: list[str] = Field(default_factory=list)
    """VM folders, below the datacenter's own."""
    templates: list[str] = Field(default_factory=list)
    compute: list[EstateCompute] = Field(default_factory=list)


class EstateCapacity(Model):
    """What the usable hosts and datastores hold that an account sees."""

    measured_at: datetime
    hosts: int
    hosts_usable: int
    """Connected and not in maintenance mode: the figures are of these."""
    cpu_mhz: int
    cpu_used_mhz: int
    memory_mib: int
    memory_used_mib: int
    datastores: int
    storage_bytes: int
    storage_used_bytes: int


class VCenterBudget(Model):
    """How much is asked of a vCenter at a moment, and how much may be."""

    calls: int
    """In flight, by this account and process."""
    calls_most: int
    calls_waiting: int
    clones: int
    """In flight, by all accounts of this vCenter in this process."""
    clones_most: int
    clones_waiting: int
    ailing: str = ""
    """Why calls are held back; empty while vCenter answers as it should."""


class EstateArguments(Model):
    """Arguments of the verb ``estate``."""

    measure: bool = False
    """Also read how much hosts and datastores hold: one call to vCenter."""


class EstateResult(Model):
    """Result of the verb ``estate``."""

    datacenters: list[EstateDatacenter] = Field(default_factory=list)
    capacity: EstateCapacity | None = None
    """When it was to be measured; the account's status keeps it."""
    budget: VCenterBudget | None = None
