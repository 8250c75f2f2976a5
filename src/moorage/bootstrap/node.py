"""What a machine's bootstrap data is rendered from."""

from dataclasses import dataclass

from moorage.bootstrap.pki import ClusterPKI
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

    def over(self, address: StaticAddress) -> "DNS":
        """Return it with what the IP pool says: other name servers, further search domains."""
        return DNS(
            self.name_servers or address.name_servers,
            tuple(dict.fromkeys((*self.search, *address.search))),
        )


@dataclass(frozen=True, slots=True)
class NodeInput:
    """One machine, with all that its user data depends on."""

    machine: Machine
    cluster: Cluster
    endpoint_host: str
    endpoint_port: int
    pki: ClusterPKI
    address: StaticAddress | None
    """``None``: the node takes its address by DHCP."""

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
    def server(self) -> str:
        """URL of the Kubernetes API."""
        return server_url(self.endpoint_host, self.endpoint_port)


def server_url(host: str, port: int) -> str:
    """Return the URL of an API server; IPv6 addresses get brackets."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
