"""What a machine's bootstrap data is rendered from."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from moorage.bootstrap.pki import ClusterPKI
from moorage.kit.net import host_port
from moorage.resources.cluster import Cluster, FailureDomain
from moorage.resources.kubernetes import Role
from moorage.resources.machine import Machine


@dataclass(frozen=True, slots=True)
class StaticAddress:
    """One address from an IP pool, and what a node needs beside it."""

    address: str
    prefix: int
    router: str
    name_servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DNS:
    """What a failure domain says of name resolution; with DHCP it adds to the lease."""

    name_servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()

    @classmethod
    def of(cls, domain: FailureDomain) -> "DNS":
        """Return what a failure domain says."""
        return cls(tuple(map(str, domain.name_servers)), tuple(domain.search))

    def over(self, addresses: Sequence[StaticAddress]) -> "DNS":
        """Return it with what the IP pools say: other name servers, further search domains."""
        from_pools = (server for one in addresses for server in one.name_servers)
        search = (*self.search, *(domain for one in addresses for domain in one.search))
        return DNS(
            self.name_servers or tuple(dict.fromkeys(from_pools)), tuple(dict.fromkeys(search))
        )


@dataclass(frozen=True, slots=True)
class Card:
    """A network card of a machine."""

    addresses: tuple[StaticAddress, ...] = ()
    """One of each family at most; none: the card is configured by DHCP."""
    mac: str | None = None
    """Known once the VM is made; only a machine with several cards needs it."""
    routes: tuple[tuple[str, str], ...] = ()
    """Networks (CIDR) that are reached through this card, each with its router."""


@dataclass(frozen=True, slots=True)
class NodeInput:
    """One machine, with all that its user data depends on."""

    machine: Machine
    cluster: Cluster
    endpoint_host: str
    endpoint_port: int
    pki: ClusterPKI
    cards: tuple[Card, ...]
    """The network cards; Kubernetes uses the first one."""

    @property
    def name(self) -> str:
        """Name of machine, VM, host and node: one name for all."""
        return self.machine.metadata.name

    @property
    def is_control_plane(self) -> bool:
        """Tell whether the machine runs etcd and an API server."""
        return self.machine.spec.role is Role.CONTROL_PLANE

    @property
    def is_first(self) -> bool:
        """Tell whether the machine founds the cluster."""
        return self.machine.spec.bootstrap == "init"

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions that the cluster speaks, the main one first."""
        return self.cluster.spec.network.versions

    @property
    def card(self) -> Card:
        """The card that Kubernetes uses."""
        return self.cards[0]

    @property
    def node_ips(self) -> tuple[str, ...]:
        """Static addresses of the node, one of each family of the cluster; none with DHCP."""
        by_version = {ip_address(one.address).version: one.address for one in self.card.addresses}
        return tuple(by_version[version] for version in self.versions if version in by_version)

    @property
    def server(self) -> str:
        """URL of the Kubernetes API."""
        return server_url(self.endpoint_host, self.endpoint_port)


def server_url(host: str, port: int) -> str:
    """Return the URL of an API server; IPv6 addresses get brackets."""
    return f"https://{host_port(host, port)}"
