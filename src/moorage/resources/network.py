"""Networks of a cluster: of its pods and services, and those of further network cards."""

from functools import partial
from ipaddress import IPv4Network
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from moorage.resources.meta import InventoryPath, Model, Name
from moorage.resources.spans import V4, V6, Address, Subnet

SearchDomain = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?"
        r"(\.[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?)*\.?$",
        max_length=253,
    ),
]
"""A DNS domain that nodes try short names in."""


class Route(Model):
    """A network that is reached through one card only."""

    to: Subnet
    via: Address
    """A router on the card's own network."""

    @model_validator(mode="after")
    def _is_of_one_family(self) -> Self:
        if self.to.version != self.via.version:
            raise ValueError(f"{self.to} cannot be reached through {self.via}: another family")
        if not self.to.prefixlen:
            raise ValueError("the default route is that of the first card")
        return self


class NetworkCard(Model):
    """A network card beside the first one, such as for storage. Kubernetes does not use it."""

    network: InventoryPath
    """Port group (standard or distributed) or NSX segment."""
    ip_pools: list[Name] = Field(default_factory=list, max_length=16)
    """As with the first card; none: DHCP of IPv4, of which it takes neither router nor DNS."""
    routes: list[Route] = Field(default_factory=list, max_length=32)
    """What is reached through this card beside its own network."""


def _as_list(given: object) -> object:
    return given if isinstance(given, list | tuple) else [given]


Subnets = Annotated[list[Subnet], BeforeValidator(_as_list), Field(min_length=1, max_length=2)]
"""A network, or one of each family; the first one's family is the cluster's main one."""
_NODE_BITS = {V4: 24, V6: 64}
"""Prefix length of what each node takes of the pods' network: kubeadm's own defaults."""
_MOST_BITS = {"nodes": 16, "services": 20}
"""What kubeadm accepts: bits that number nodes, and services."""


def _subnet(text: str) -> list[Subnet]:
    return [IPv4Network(text)]


class Network(Model):
    """Networks inside the cluster. They must not overlap each other or the machines'.

    With one of each family nodes, pods and services have addresses of both.
    """

    pods: Subnets = Field(default_factory=partial(_subnet, "10.244.0.0/16"))
    services: Subnets = Field(default_factory=partial(_subnet, "10.96.0.0/12"))
    dns_domain: str = "cluster.local"

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions of the cluster, the main one first."""
        return tuple(one.version for one in self.pods)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        services = tuple(one.version for one in self.services)
        if len(set(self.versions)) != len(self.versions):
            raise ValueError("pods has two networks of one family: give one of each")
        if self.versions != services:
            raise ValueError("pods and services must be of the same families, in the same order")
        for pods, service in zip(self.pods, self.services, strict=True):
            _check_size(pods, service)
        return self


def _check_size(pods: Subnet, services: Subnet) -> None:
    if pods.overlaps(services):
        raise ValueError(f"pods {pods} and services {services} overlap")
    node = _NODE_BITS[pods.version]
    least, most = node - 2, node - _MOST_BITS["nodes"]
    if not most <= pods.prefixlen <= least:
        raise ValueError(
            f"pods {pods} is too {'small' if pods.prefixlen > least else 'large'}: each node takes "
            f"a /{node}; use /{most} to /{least}"
        )
    widest = services.max_prefixlen - _MOST_BITS["services"]
    if services.prefixlen < widest:
        raise ValueError(f"services {services} is too large: use /{widest} or narrower")
