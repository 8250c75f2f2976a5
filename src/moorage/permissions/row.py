"""What a row of the table is made of: objects, features, and one privilege that is needed."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class On(StrEnum):
    """What a privilege is needed on."""

    ROOT = "vCenter"
    """The vCenter itself: its root folder, to which global permissions propagate."""
    DATACENTER = "datacenter"
    """For clusters it has no row: it is seen because of what is permitted in it."""
    COMPUTE_CLUSTER = "compute cluster"
    HOST = "host"
    """Every host of the compute cluster."""
    RESOURCE_POOL = "resource pool"
    FOLDER = "VM folder"
    VM = "virtual machine"
    """The machines that Moorage makes in the VM folder."""
    TEMPLATE = "template"
    DATASTORE = "datastore"
    NETWORK = "network"
    SWITCH = "distributed switch"
    """Of a distributed port group; other networks have none."""


GRANTED_ON: dict[On, On] = {kind: kind for kind in On}
GRANTED_ON |= {On.HOST: On.COMPUTE_CLUSTER, On.VM: On.FOLDER}
"""Object that carries the permission: where it is another one, the permission propagates."""


class Feature(StrEnum):
    """What of Moorage needs a row; a role holds the features that somebody wants."""

    CLUSTERS = "clusters"
    """Make, scale, repair and delete clusters from a template that is there."""
    ANTI_AFFINITY = "anti-affinity"
    """Let DRS keep the machines of a role apart. Without it each is made on a host of its own, as
    where there is no DRS, and stays on it."""
    CLUSTER_FOLDERS = "cluster-folders"
    """A VM folder for each cluster (``folderPerCluster``). Asked for by who wants it only."""
    REPLICAS = "template-replicas"
    """Make linked clones where the template does not lie, or has no snapshot. Without it each
    machine there is a full clone."""
    TEMPLATE_IMPORTS = "template-imports"
    """Import OVAs as templates. Asked for by who wants it only."""
    LEASE_IMPORTS = "template-imports-nfc"
    """Import OVAs by NFC leases, without a content library. Asked for by who wants it only."""
    STORAGE_POLICIES = "storage-policies"
    """Machines that follow a storage policy (``storagePolicy``). Asked for by who names one."""
    ZONE_TAGS = "zone-tags"
    """Read regions and zones from vSphere tags, make such tags. Asked for by who wants it only."""


STANDARD = (Feature.CLUSTERS, Feature.ANTI_AFFINITY, Feature.REPLICAS)
"""What is checked and granted unless somebody asks for more."""


OPTIONAL = frozenset({Feature.ANTI_AFFINITY, Feature.REPLICAS})
"""Features that have another way, which needs no privilege."""


_OUTSIDE = frozenset({Feature.ZONE_TAGS, Feature.TEMPLATE_IMPORTS})
"""Features whose objects are not children of the vCenter: permissions on it do not reach them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One privilege that one operation needs on one kind of object."""

    operation: str
    calls: tuple[str, ...]
    """Methods of the Web Services API, or operations of the Automation API, that make it up."""
    privilege: str
    on: On
    source: str
    """Vendor documentation that says so: book, page and section."""
    feature: Feature = Feature.CLUSTERS
    since: tuple[int, int] = (6, 7)
    """First release of vSphere with the privilege, of those that Moorage supports."""

    @property
    def is_global(self) -> bool:
        """Tell whether only a global permission counts: tags and libraries lie in no inventory."""
        return self.on is On.ROOT and self.feature in _OUTSIDE

    @property
    def propagate(self) -> bool:
        """Tell whether it must reach this object from the one that it is granted on."""
        return GRANTED_ON[self.on] is not self.on


def rows(
    operation: str,
    calls: tuple[str, ...],
    needs: Iterable[tuple[str, On, str]],
    feature: Feature = Feature.CLUSTERS,
    since: tuple[int, int] = (6, 7),
) -> tuple[Row, ...]:
    """Return the rows of one operation, from privilege, object and source of each."""
    return tuple(
        Row(operation, calls, privilege, on, source, feature, since)
        for privilege, on, source in needs
    )
