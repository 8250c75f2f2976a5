"""What is asked of, and answered by, the operation that checks an account's privileges."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from moorage.resources.check import Check
from moorage.resources.cluster import Cluster, ClusterName, ClusterSpec
from moorage.resources.meta import InventoryPath, Model
from moorage.resources.nodepool import PoolDocument
from moorage.resources.size import MachineSize


class CheckTarget(Model):
    """Places in one vCenter that machines are to use, as a cluster's placement names them."""

    datacenter: InventoryPath
    folder: InventoryPath
    """VM folder for the machines, relative to the datacenter's VM folder."""
    folder_per_cluster: bool = False
    """Also what it takes to make, and remove, a folder for each cluster in it."""
    template: InventoryPath
    """Template to clone: path relative to the datacenter's VM folder, or a unique name."""
    compute_cluster: InventoryPath
    resource_pool: InventoryPath | None = None
    """``None`` is the root resource pool of the compute cluster."""
    datastore: InventoryPath | None = None
    """Needed unless there is a storage policy, whose datastores are then meant."""
    datastore_is_cluster: bool = False
    """``datastore`` names a datastore cluster, all datastores of which are meant."""
    storage_policy: InventoryPath | None = None
    """Also what it takes to see the policy, and to make machines that follow it."""
    network: InventoryPath

    @model_validator(mode="after")
    def _names_its_storage(self) -> Self:
        if self.datastore is None and (self.storage_policy is None or self.datastore_is_cluster):
            raise ValueError("give a datastore, or a storage policy")
        return self

    @classmethod
    def of_cluster(cls, cluster: Cluster, pools: Iterable[MachineSize] = ()) -> list[Self]:
        """Return what a cluster's placement names: by failure domain, datastore and network.

        Also what extra disks of its control plane name, and of these pools.
        """
        placement = cluster.spec.placement
        sizes = (cluster.spec.control_plane, *pools)
        disks = [disk for size in sizes for disk in size.extra_disks if disk.has_own_place]
        found: list[Self] = []
        for domain in placement.failure_domains:
            places = [
                (datastore or None, domain.storage_policy, domain.datastore_cluster is not None)
                for datastore in domain.storage()
            ]
            places += [(disk.datastore, disk.storage_policy, False) for disk in disks]
            found += [
                cls(
                    datacenter=placement.datacenter,
                    folder=placement.folder,
                    folder_per_cluster=placement.folder_per_cluster,
                    template=placement.template,
                    compute_cluster=domain.compute_cluster,
                    resource_pool=domain.resource_pool,
                    datastore=datastore,
                    datastore_is_cluster=is_cluster,
                    storage_policy=policy,
                    network=network,
                )
                for datastore, policy, is_cluster in dict.fromkeys(places)
                for network, _ in domain.cards()
            ]
        return found


class CheckedCluster(Model):
    """A cluster of the operation's project for which there shall be room."""

    name: ClusterName
    proposed: ClusterSpec | None = None
    """As it would be; ``None``: as it is, with all of its pools."""
    node_pools: list[PoolDocument] = Field(default_factory=list, max_length=100)
    """All that there would be."""


class CheckArguments(Model):
    """Arguments of the verb ``check``."""

    targets: list[CheckTarget] = Field(min_length=1, max_length=200)
    clusters: list[CheckedCluster] = Field(default_factory=list, max_length=50)
    """Without any, one machine of 4 GiB of memory shall fit into each target."""
    zone_tags: bool = False
    """Also what it takes to read, make and attach tags of regions and zones."""
    template_imports: bool = False
    """Also what it takes to import OVAs as templates."""
    template_imports_nfc: bool = False
    """The same by NFC leases."""


class FindingState(StrEnum):
    """What is wrong with an object."""

    MISSING = "missing"
    """The account sees the object and has not this privilege on it."""
    OPTIONAL = "optional"
    """The same, but Moorage does without it: what needs it is done in another way."""
    UNKNOWN = "unknown"
    """The account does not see the object: it lacks System.Read there, or it does not exist."""


class Finding(Model):
    """One privilege that an account lacks on one object, or one object that it does not see."""

    state: FindingState
    kind: str
    """Kind of object, such as ``datastore``."""
    object: str
    """Inventory path; what was asked for, where the object is not seen."""
    moref: str | None = None
    privilege: str
    """Privilege id, such as ``Datastore.AllocateSpace``; of an unknown object ``System.Read``."""
    shown: str
    """Name of the privilege in the vSphere Client of this vCenter's version."""
    needed_for: list[str]
    """Operations that fail without it."""
    message: str = ""
    """What was seen in place of an unknown object."""


class CheckedObject(Model):
    """One object that was looked for."""

    kind: str
    object: str
    """Inventory path; what was asked for, where the object is not seen."""
    moref: str | None = None
    """``None``: the account does not see it."""


class CheckResult(Model):
    """Result of the verb ``check``."""

    api_version: str
    """vCenter's API version: names and privileges are those of it."""
    objects: list[CheckedObject]
    """Everything that was looked for, once each."""
    checked: int
    """How many privileges were asked for, over all objects."""
    findings: list[Finding] = Field(default_factory=list)
    """Empty when nothing is missing; sorted by state: missing, optional, unknown."""
    checks: list[Check] = Field(default_factory=list)
    """Of what privileges say nothing about: places, template, room, addresses, clocks."""

    def needed(self) -> list[Finding]:
        """Return the findings without which machines cannot be made, or kept."""
        return [one for one in self.findings if one.state is not FindingState.OPTIONAL]

    def failed(self) -> list[Check]:
        """Return the checks without which machines cannot be made."""
        return [one for one in self.checks if one.blocking and not one.ok]
