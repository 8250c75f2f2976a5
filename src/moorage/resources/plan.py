"""Plan: what would become of a cluster's machines if its documents were these."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import Field, IPvAnyAddress

from moorage.resources.check import Check
from moorage.resources.cluster import ClusterName, ClusterSpec
from moorage.resources.kubernetes import Role
from moorage.resources.meta import (
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
from moorage.resources.nodepool import PoolDocument


class DocumentVersion(Model):
    """A document, and which one of its versions is meant."""

    kind: Literal["Cluster", "NodePool"]
    name: Name
    uid: str = ""
    """Empty: there was none yet."""
    generation: int = 0
    """Counts changes of what is asked; what was seen since changes no plan's ground."""
    resource_version: int = 0


class AppliedPlan(Model):
    """That a plan was applied, and to what."""

    at: datetime
    by: str
    documents: list[DocumentVersion]
    """As they are with it: whoever changes one of them later is not bound by the plan."""
    withdrawn: bool = False
    """The same documents were applied again without the plan."""


class PlanSpec(Spec):
    """What is proposed, and on what that rests."""

    cluster: ClusterName
    cluster_uid: str = ""
    """Of the cluster, which a new one gets when the plan is applied."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Of the cluster."""
    proposed: ClusterSpec
    node_pools: list[PoolDocument] = Field(default_factory=list)
    """All that there would be: those that the proposal does not name stay as they are."""
    rests_on: list[DocumentVersion] = Field(default_factory=list)
    host_lost: str | None = None
    """Only to know: what if this host (its name or moref) failed? Cannot be applied."""
    how_many: bool = False
    """Only to know: how many more such clusters fit? Cannot be applied."""
    created_by: str = ""
    expires_at: datetime | None = None
    """Not applied after this moment."""
    applied: AppliedPlan | None = None


class PlanState(StrEnum):
    """How far a plan is."""

    WAITING_FOR_GATEWAY = "WaitingForGateway"
    """Its gateway has not taken it up: it is away, or busy."""
    PENDING = "Pending"
    """The gateway waits for something; the condition ``Ready`` says for what."""
    READY = "Ready"
    """It can be applied, unless it only answers a question."""
    REFUSED = "Refused"
    """Checks fail, so that the outcome would be another than what is asked."""
    OUTDATED = "Outdated"
    """The world has moved since: plan again."""
    APPLYING = "Applying"
    APPLIED = "Applied"
    """Every machine that it names is stored, or on its way out."""


class PlannedDisk(Model):
    """A disk beside the template's."""

    size_gib: int
    thin: bool
    datastore: str
    datastore_ref: str | None = None
    """Of a new one."""
    storage_policy: str | None = None
    """What it follows there, if it names one itself."""


class PlannedReplica(Model):
    """A copy of the template that is made before the first linked clone on a datastore."""

    name: str
    datastore: str
    datastore_ref: str
    bytes_to_copy: int


class PlannedFolder(Model):
    """The VM folder of the cluster's own."""

    path: str
    """Inventory path."""
    is_new: bool
    """It is made; else it is there."""


class PlannedMachine(Model):
    """What becomes of one machine."""

    action: Literal["create", "delete", "replace", "keep"]
    role: Role
    pool: str | None = None
    """``None`` is the control plane."""
    ordinal: int | None = None
    """Among the new ones of its pool, from 1."""
    machine: str
    """Its name; a new one has it already, as it will be made."""
    uid: str
    replaces: str | None = None
    """Name of the machine in whose place it comes."""
    failure_domain: Name
    compute_cluster: str
    host: str | None = None
    """Name; ``None``: DRS chooses at power-on."""
    host_ref: str | None = None
    datastore: str
    datastore_ref: str | None = None
    storage_policy: str | None = None
    """What home and disks follow there."""
    network: str
    addresses: list[str] = Field(default_factory=list)
    """``pool/address``; none: by DHCP."""
    template: str
    clone_mode: Literal["linked", "full"] | None = None
    """Of a new one."""
    replica: str | None = None
    """Name of the template's replica that it becomes a linked clone of; ``None``: of none."""
    bytes_to_copy: int = 0
    """Of the template, by its full clone."""
    extra_disks: list[PlannedDisk] = Field(default_factory=list)
    reason: str


class AddressRoom(Model):
    """What an IP pool has left."""

    pool: str
    free: int
    """Now: neither claimed nor known to be used by others."""
    needed: int
    """By new machines and the endpoint."""
    held: int = 0
    """By the cluster, now."""
    peak: int = 0
    """The most that the cluster holds at a time: new machines come before old ones have gone."""


class Fit(Model):
    """How many more such clusters fit."""

    clusters: int
    at_least: bool = False
    """There may be room for more: the count was ended."""
    limited_by: str = ""
    """What the next one lacks."""
    by_memory: int = 0
    """How many before hosts have to share out more memory than they have."""


class PlanStatus(Status):
    """What the gateway found."""

    state: PlanState = PlanState.WAITING_FOR_GATEWAY
    message: str = ""
    actions: list[PlannedMachine] = Field(default_factory=list)
    """Control plane first, then pools by name."""
    endpoint: IPvAnyAddress | None = None
    """Address that the cluster's API gets, where one has to be claimed."""
    endpoint_pool: str | None = None
    surge_peak: int = 0
    """Machines that there are at most at a time, those about to go included."""
    bytes_to_copy: int = 0
    """By full clones and to make replicas."""
    replicas: list[PlannedReplica] = Field(default_factory=list)
    """Those that are not there yet."""
    folder: PlannedFolder | None = None
    """Where machines go, if not to the placement's own folder."""
    template_digest: str = ""
    """Of what the template of new machines holds."""
    addresses: list[AddressRoom] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    fit: Fit | None = None
    facts: str = ""
    """SHA-256 over what it was made from, figures that always move left out."""
    planned_at: datetime | None = None
    differences: list[str] = Field(default_factory=list)
    """Of an outdated one: what would be, or is, otherwise."""


class Plan(Resource):
    plural: ClassVar[str] = "plans"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["Plan"] = "Plan"
    spec: PlanSpec
    status: PlanStatus = Field(default_factory=PlanStatus)

    @property
    def is_question(self) -> bool:
        """Tell whether it only answers something, and cannot be applied."""
        return self.spec.host_lost is not None or self.spec.how_many

    @property
    def binds(self) -> bool:
        """Tell whether its cluster has to follow it, or waits since it cannot be followed."""
        applied = self.spec.applied
        is_open = applied is not None and not applied.withdrawn
        return is_open and self.status.state is not PlanState.APPLIED
