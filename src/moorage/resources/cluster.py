"""Cluster: a Kubernetes cluster on vSphere virtual machines, with its control plane."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, IPvAnyAddress, StringConstraints, model_validator

from moorage.resources.kubernetes import (
    MIN_CONTROL_PLANE_MEMORY_MIB,
    NodeSettings,
    Taint,
    VersionText,
)
from moorage.resources.meta import (
    NAME_PATTERN,
    InventoryPath,
    LabelKey,
    LabelValue,
    Model,
    Name,
    Ownership,
    Resource,
    Scope,
    Spec,
    Status,
)
from moorage.resources.network import Network, NetworkCard, SearchDomain
from moorage.resources.size import MachineSize
from moorage.resources.spans import Address
from moorage.resources.vmname import VMNamePattern

ClusterName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=30)]
"""At most 30 characters: with pool (20) and UID (10) it must fit a node's DNS label of 63."""

HostName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?\.)+"
        r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$",
        max_length=253,
        to_lower=True,
    ),
]
"""A full DNS name, such as ``api.example.com``."""


class FailureDomain(Model):
    """A place where machines may go; what fails together shares one."""

    name: Name
    compute_cluster: InventoryPath
    resource_pool: InventoryPath | None = None
    """``None`` is the root resource pool of the compute cluster."""
    datastore: InventoryPath | None = None
    """Where the machines' disks lie; give this, ``datastores``, ``datastoreCluster`` or
    ``storagePolicy``."""
    datastores: list[InventoryPath] = Field(default_factory=list, max_length=64)
    """Each machine takes the one that its clone copies least to, then the one with most space."""
    datastore_cluster: InventoryPath | None = None
    """The same among all datastores of this datastore cluster that hosts here reach."""
    storage_policy: InventoryPath | None = None
    """Name (or identifier) of the storage policy that home and disks of the machines follow.
    Without a datastore it is the same among all that satisfy it; those that are given have to."""
    network: InventoryPath
    """Port group (standard or distributed) or NSX segment of the first NIC."""
    ip_pool: Name | None = None
    """Where static addresses come from; without this and ``ipPools`` machines use DHCP."""
    ip_pools: list[Name] = Field(default_factory=list, max_length=16)
    """Several instead of one: a machine takes its address from the first that has one, and where
    pools of IPv4 and of IPv6 are named, one of each."""
    more_networks: list[NetworkCard] = Field(default_factory=list, max_length=9)
    """One more network card each, in this order."""
    name_servers: list[IPvAnyAddress] = Field(default_factory=list, max_length=8)
    """Of the nodes here: in place of the IP pool's, or beside those that DHCP names."""
    search: list[SearchDomain] = Field(default_factory=list, max_length=16)
    """Search domains of the nodes here, before those of the IP pool or of DHCP."""
    region: LabelValue = ""
    """Becomes ``topology.kubernetes.io/region`` on the nodes.

    Empty: the tag on the compute cluster, or on the nearest object above it, when a machine is
    made; no label where there is none.
    """
    zone: LabelValue = ""
    """Becomes ``topology.kubernetes.io/zone``.

    Empty: the tag, as with ``region``; the failure domain's name where there is none.
    """

    @model_validator(mode="after")
    def _names_its_storage(self) -> Self:
        named = sum(map(bool, (self.datastore, self.datastores, self.datastore_cluster)))
        if named > 1 or not (named or self.storage_policy):
            raise ValueError("give one of datastore, datastores, datastoreCluster or storagePolicy")
        if len(set(self.datastores)) != len(self.datastores):
            raise ValueError("datastores must differ from each other")
        return self

    @model_validator(mode="after")
    def _names_its_pools_once(self) -> Self:
        if self.ip_pool is not None and self.ip_pools:
            raise ValueError("give either ipPool or ipPools")
        named = self.every_pool()
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(
                f"ipPools must differ from each other, those of other cards too: {', '.join(twice)}"
            )
        return self

    def pools(self) -> tuple[str, ...]:
        """Return the IP pools that machines take addresses from, in order; none: DHCP."""
        return tuple(self.ip_pools) or ((self.ip_pool,) if self.ip_pool else ())

    def cards(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return network and IP pools of each network card; the first one is Kubernetes' own."""
        more = ((card.network, tuple(card.ip_pools)) for card in self.more_networks)
        return ((self.network, self.pools()), *more)

    def every_pool(self) -> list[str]:
        """Return the IP pools of all cards."""
        return [name for _, pools in self.cards() for name in pools]

    def storage(self) -> tuple[str, ...]:
        """Return the datastores that its machines may use, or the datastore cluster.

        ``""`` stands for all that satisfy the storage policy.
        """
        return tuple(self.datastores) or (self.datastore or self.datastore_cluster or "",)

    def on_datastore(self, datastore: str) -> "FailureDomain":
        """Return it with this one datastore: what a machine was placed on."""
        only: dict[str, Any] = {"datastore": datastore, "datastores": [], "datastore_cluster": None}
        return self.model_copy(update=only)


class Placement(Model):
    """Where in vCenter a cluster lives."""

    datacenter: InventoryPath
    folder: InventoryPath
    """VM folder for the machines, relative to the datacenter's VM folder."""
    folder_per_cluster: bool = False
    """Make a folder for this cluster's machines in ``folder``; it goes with the cluster, unless
    something else is in it by then."""
    vm_name: VMNamePattern | None = None
    """What new VMs are called in vCenter, such as ``K8S_{cluster}_{pool}_{uid}``. Without it, as
    their nodes always are: ``{cluster}-{pool}-{uid}``."""
    template: InventoryPath
    """Template to clone: path relative to the datacenter's VM folder, or a unique name."""
    failure_domains: list[FailureDomain] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [domain.name for domain in self.failure_domains]
        if len(set(names)) != len(names):
            raise ValueError("failureDomains must have different names")
        return self


API_PORT = 6443
"""Of the API servers themselves, whatever a load balancer in front of them listens on."""


class EndpointType(StrEnum):
    """How clients reach the API servers."""

    VIP = "VIP"
    """A virtual address that kube-vip moves between the control-plane machines."""
    EXTERNAL = "External"
    """A load balancer that somebody else runs in front of the control plane."""
    DDNS = "DDNS"
    """A virtual address that kube-vip leases by DHCP, whose server enters its name into DNS."""


class Endpoint(Model):
    """Address of the Kubernetes API."""

    type: EndpointType = EndpointType.VIP
    host: Annotated[Address | HostName, Field(union_mode="left_to_right")] | None = None
    """VIP: an address; ``None`` claims one from ``ip_pool``. External: address or name, required.
    DDNS: a name; ``None`` makes it from the cluster's and ``search_domain``."""
    search_domain: SearchDomain | None = None
    """DDNS only: the domain that the DHCP server enters names into. Without it and ``host`` it is
    that of the gateway's DNS mapping for the first failure domain of the control plane."""
    ip_pool: Name | None = None
    """Pool for the VIP; ``None`` takes the pools of the first failure domain."""
    port: int = Field(default=6443, ge=1, le=65535)
    interface: str = "eth0"
    """The nodes' network interface that carries the VIP."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        kind, is_name = self.type, isinstance(self.host, str)
        if kind is EndpointType.VIP and is_name:
            raise ValueError(
                f"host {self.host} is a name: with type VIP give an address, or use type DDNS or "
                "External"
            )
        if kind is EndpointType.EXTERNAL and self.host is None:
            raise ValueError("host is needed when type is External: that of the load balancer")
        if kind is EndpointType.DDNS and self.host is not None and not is_name:
            raise ValueError(f"host {self.host} is an address: with type DDNS give a name")
        if self.host is not None and self.search_domain is not None:
            raise ValueError("give either host (a full name) or searchDomain when type is DDNS")
        if kind is not EndpointType.DDNS and self.search_domain is not None:
            raise ValueError("searchDomain is of no use unless type is DDNS")
        if kind is not EndpointType.VIP and self.ip_pool is not None:
            raise ValueError("ipPool is of no use unless type is VIP")
        return self


class ControlPlane(MachineSize):
    """The control-plane machines. Their number is odd, so that etcd has a majority."""

    replicas: Literal[1, 3, 5] = 1
    failure_domains: list[Name] = Field(default_factory=list)
    """Names from ``placement.failureDomains``; empty means all."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    taints: list[Taint] = Field(default_factory=list)
    schedulable: bool = False
    """Let ordinary pods run on control-plane machines."""

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        least = MIN_CONTROL_PLANE_MEMORY_MIB
        if self.memory_mib < least:
            raise ValueError(f"memoryMib must be {least} or more on control-plane machines")
        if self.cpus < 2:  # noqa: PLR2004 - kubeadm's preflight
            raise ValueError("cpus must be 2 or more on control-plane machines")
        return self


class Layer(Model):
    """One part of the stack that is put into the cluster, in order."""

    name: Name
    pack: Name
    """Name of a pack, such as ``flannel``."""
    version: str | None = None
    """``None`` takes the pack's default."""
    values: dict[str, Any] = Field(default_factory=dict)


class KeyType(StrEnum):
    """Keys of the cluster's own certificate authorities and certificates."""

    P256 = "P256"
    RSA2048 = "RSA2048"


def default_layers() -> list[Layer]:
    """Return the layers of a cluster that asks for none: flannel as its CNI."""
    return [Layer(name="cni", pack="flannel")]


class ClusterSpec(Spec):
    """What is asked of a cluster. Node pools are resources of their own."""

    account: Name
    """Cloud account whose vCenter the machines are made in; immutable."""
    kubernetes_version: VersionText
    placement: Placement
    endpoint: Endpoint = Field(default_factory=Endpoint)
    network: Network = Field(default_factory=Network)
    control_plane: ControlPlane = Field(default_factory=ControlPlane)
    node: NodeSettings = Field(default_factory=NodeSettings)
    cloud_provider: Literal["none", "vsphere"] = "none"
    """``none``: Moorage sets provider ID and topology labels. ``vsphere``: the CPI does."""
    key_type: KeyType = KeyType.P256
    layers: list[Layer] = Field(default_factory=default_layers)
    clone_mode: Literal["auto", "linked", "full"] = "auto"
    """``auto``: linked where the template has a snapshot on the datastore, else full."""

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        known = {domain.name for domain in self.placement.failure_domains}
        unknown = [name for name in self.control_plane.failure_domains if name not in known]
        if unknown:
            raise ValueError(
                f"controlPlane.failureDomains names {', '.join(unknown)}, "
                f"but placement.failureDomains has only {', '.join(sorted(known))}"
            )
        claims_vip = self.endpoint.type is EndpointType.VIP and self.endpoint.host is None
        if claims_vip and not self.vip_pools():
            raise ValueError(
                "endpoint.host (an address outside the DHCP range) or endpoint.ipPool is needed "
                "when the first failure domain uses DHCP"
            )
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError("layers must have different names")
        return self

    def vip_pools(self) -> tuple[str, ...]:
        """Return the IP pools that a claimed VIP comes from, in order; none, if it is no VIP."""
        if self.endpoint.type is not EndpointType.VIP:
            return ()
        if self.endpoint.ip_pool is not None:
            return (self.endpoint.ip_pool,)
        return self.placement.failure_domains[0].pools()

    def ip_pools(self) -> set[str]:
        """Return the names of the IP pools that are named anywhere."""
        named = {name for one in self.placement.failure_domains for name in one.every_pool()}
        return named | set(self.vip_pools())

    def failure_domain(self, name: str) -> FailureDomain:
        """Return the failure domain of that name; raises ``KeyError``."""
        for domain in self.placement.failure_domains:
            if domain.name == name:
                return domain
        raise KeyError(name)


class DomainTopology(Model):
    """Region and zone of one failure domain, as tags told them."""

    failure_domain: Name
    region: str = ""
    """Empty: nodes get no such label."""
    region_from: str = ""
    """Inventory path of the object with the tag; empty: the failure domain names it, or nobody."""
    zone: str
    zone_from: str = ""
    """As with ``region_from``; where nobody names a zone it is the failure domain's name."""
    message: str = ""
    """What is wrong with the tags, or why they may not be seen."""


class ClusterFolder(Model):
    """The VM folder that was made for a cluster."""

    moref: str
    path: str = ""
    """Inventory path when last seen; empty while vCenter has not shown it yet."""


class Unplaced(Model):
    """Machines of a node pool that are wanted and cannot be made now."""

    pool: str
    reason: str
    """One UpperCamel word, such as ``NoRoom``; the pool's condition has it too."""
    message: str


class FollowedPlan(Model):
    """The plan by which the documents that are asked for now were applied."""

    name: Name
    uid: str
    applied_at: datetime
    is_outdated: bool = False
    """Nothing more is made by it; else all that it names is stored."""
    differences: list[str] = Field(default_factory=list)
    """What would have come otherwise than it says."""


class ClusterStatus(Status):
    """What was last seen of a cluster."""

    endpoint: str | None = None
    """``host:port`` of the Kubernetes API, once its address is claimed."""
    kubernetes_version: str | None = None
    """Version that the API server reports."""
    control_plane_replicas: int = 0
    control_plane_ready: int = 0
    nodes: int = 0
    nodes_ready: int = 0
    ca_certificate: str | None = None
    """PEM of the cluster's CA: public, needed in every kubeconfig."""
    join_offered: bool | None = None
    """Whether the encrypted CA keys lie in the cluster, for control planes that join."""
    layers: dict[str, str] = Field(default_factory=dict)
    """Layer name -> ``pack version`` last applied."""
    folder: ClusterFolder | None = None
    """With ``folderPerCluster``: where new machines are made."""
    topology: list[DomainTopology] = Field(default_factory=list)
    """Of the failure domains that do not name region and zone themselves: what tags said when a
    control-plane machine was last made."""
    plan: FollowedPlan | None = None
    """The last that was followed, or could not be."""
    unplaced: list[Unplaced] = Field(default_factory=list)
    """What keeps machines of node pools from being made; of the control plane a condition says."""
    timeline: dict[str, str] = Field(default_factory=dict)
    """Milestone -> RFC 3339 time, such as ``APIReachable``."""


class Cluster(Resource):
    plural: ClassVar[str] = "clusters"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["Cluster"] = "Cluster"
    spec: ClusterSpec
    status: ClusterStatus = Field(default_factory=ClusterStatus)
