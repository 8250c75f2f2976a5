"""What admission looks at: the resources around the one that is written. No I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from moorage.controllers.tally import Tally
from moorage.resources import CloudAccount, Cluster, Gateway, IPPool, Secret


@dataclass(frozen=True, slots=True)
class Estate:
    """A consistent picture: the hub-wide kinds by name, and what all clusters take."""

    gateways: Mapping[str, Gateway] = field(default_factory=dict)
    accounts: Mapping[str, CloudAccount] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ip_pools: Mapping[str, IPPool] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    recovery_key_id: str | None = None
    """``key_id`` of the installation's recovery key, once there is one."""


def cluster_key(cluster: Cluster) -> str:
    """Return ``project/name``, as IPAddress names a cluster."""
    return f"{cluster.metadata.project}/{cluster.metadata.name}"
