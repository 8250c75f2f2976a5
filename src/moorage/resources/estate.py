"""What the operation ``estate`` answers: the names that a cluster's placement can choose from."""

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


class EstateResult(Model):
    """Result of the verb ``estate``."""

    datacenters: list[EstateDatacenter] = Field(default_factory=list)
