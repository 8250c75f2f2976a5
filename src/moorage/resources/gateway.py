"""Gateway, Assignment, Handover: who works beside vCenter, and which clusters are whose."""

from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from moorage.resources.meta import (
    Document,
    InventoryPath,
    Model,
    Name,
    Ownership,
    Resource,
    Scope,
    Spec,
    Status,
)
from moorage.resources.network import SearchDomain


class DNSMapping(Model):
    """The domain that the DHCP server of a network enters the names of machines into."""

    search_domain: SearchDomain
    datacenter: InventoryPath
    compute_cluster: InventoryPath | None = None
    """``None``: any. One that names it comes before one that does not."""
    network: InventoryPath


class GatewaySpec(Spec):
    """An outbound-only process beside vCenter."""

    description: str = Field(default="", max_length=1024)
    dns_mappings: list[DNSMapping] = Field(default_factory=list, max_length=500)
    """What failure domains with DHCP get as ``search`` that name none, when a cluster is written.
    Places are compared as they are written."""

    @model_validator(mode="after")
    def _maps_each_place_once(self) -> Self:
        places = [_place(m.datacenter, m.compute_cluster, m.network) for m in self.dns_mappings]
        for number, place in enumerate(places):
            if place in places[:number]:
                raise ValueError(
                    f"dnsMappings[{number}] is about the same network as "
                    f"dnsMappings[{places.index(place)}]"
                )
        return self

    def search_domain_of(self, datacenter: str, compute_cluster: str, network: str) -> str | None:
        """Return the search domain of a network, if there is a mapping for it."""
        known = {
            _place(m.datacenter, m.compute_cluster, m.network): m.search_domain
            for m in self.dns_mappings
        }
        exact = known.get(_place(datacenter, compute_cluster, network))
        return exact or known.get(_place(datacenter, None, network))


def _place(datacenter: str, compute_cluster: str | None, network: str) -> tuple[str, str, str]:
    return datacenter.strip("/"), (compute_cluster or "").strip("/"), network.strip("/")


class MovedAway(Model):
    """What went to another gateway, and of which this one may still hold a copy."""

    kind: Literal["Cluster", "IPPool", "CloudAccount"]
    project: str
    name: Name
    uid: str
    epoch: int
    """Under which the other gateway works on it."""


class GatewayStatus(Status):
    """Written by the hub: what it knows of the gateway's process and keys."""

    enrolled: bool = False
    connected: bool = False
    last_seen_at: datetime | None = None
    version: str | None = None
    public_key: str | None = None
    """PEM of the identity key: signs the gateway's hello."""
    sealing_key: str | None = None
    """PEM of the key that secrets are sealed to, signed by the identity key."""
    sealing_key_signature: str | None = None
    fingerprint: str | None = None
    """SHA-256 of the identity key: shown by the gateway at its start, pinned by the CLI."""
    clusters: int = 0
    moved_away: list[MovedAway] = Field(default_factory=list)
    """What the gateway has not yet said to have dropped, after a move or its declared death."""


class Gateway(Resource):
    plural: ClassVar[str] = "gateways"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Gateway"] = "Gateway"
    spec: GatewaySpec = Field(default_factory=GatewaySpec)
    status: GatewayStatus = Field(default_factory=GatewayStatus)


class AssignmentSpec(Spec):
    """A cluster or IP pool belongs to exactly one gateway, without expiry (design, 3.5)."""

    subject_kind: Literal["Cluster", "IPPool"]
    subject_project: str
    subject_name: Name
    subject_uid: str
    gateway: Name
    epoch: int = Field(ge=1)
    moving_to: Name | None = None
    """The gateway stops all work on the subject; the hub then gives it to this one."""
    move: str = ""
    """UID of the move: all assignments that bear it change hands in one transaction."""


class AssignmentStatus(Status):
    """Written by the gateway."""

    acknowledged_epoch: int = 0
    """The gateway works under this epoch: every VM that it knows bears it."""
    stopped_move: str = ""
    """The move for which all work on the subject was stopped."""
    mirror_sequence: int = 0
    """The gateway's own version when it stopped: up to there the hub must have stored all."""
    superseded_epoch: int = 0
    """A higher epoch that was read in vCenter: another gateway took over, this one stopped."""
    dropped_epoch: int = 0
    """The epoch with which the hub asked to drop the copies here."""

    def stopped_by(self, epoch: int) -> int | None:
        """Return the higher epoch that stops work under ``epoch``, if there is one."""
        higher = max(self.superseded_epoch, self.dropped_epoch)
        return higher if higher > epoch else None


class Assignment(Resource):
    """Named ``{kind}-{uid}`` in lower case."""

    plural: ClassVar[str] = "assignments"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Assignment"] = "Assignment"
    spec: AssignmentSpec
    status: AssignmentStatus = Field(default_factory=AssignmentStatus)


def assignment_name(kind: str, uid: str) -> str:
    """Return the name of the assignment of a cluster or IP pool."""
    return f"{kind.lower()}-{uid}"


class HandoverSpec(Spec):
    """Mirrors of what the gateway before owned, for the one that owns it now."""

    gateway: Name
    epoch: int
    part: int = 0
    """Large ones come in several parts; the first one clears what was here before."""
    resources: list[Document] = Field(default_factory=list)


class HandoverStatus(Status):
    """Nothing beyond conditions."""


class Handover(Resource):
    """Derived resources on their way to another gateway, which takes each one once.

    Owned by its cluster or IP pool, written before the assignment changes hands and deleted when
    the new gateway has acknowledged. REST never shows it.
    """

    plural: ClassVar[str] = "handovers"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Handover"] = "Handover"
    spec: HandoverSpec
    status: HandoverStatus = Field(default_factory=HandoverStatus)
