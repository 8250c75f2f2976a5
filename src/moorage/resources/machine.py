"""Machine: one virtual machine that is, or will become, a Kubernetes node."""

from typing import ClassVar, Literal

from pydantic import Field

from moorage.resources.cluster import FailureDomain
from moorage.resources.kubernetes import Role, Taint
from moorage.resources.meta import (
    InventoryPath,
    Model,
    Name,
    Ownership,
    Resource,
    Scope,
    Spec,
    Status,
)
from moorage.resources.size import CPUAllocation, ExtraDisk, MemoryAllocation


class MachineDisk(ExtraDisk):
    """An extra disk of one machine."""

    placed_on: InventoryPath | None = None
    """The datastore that was chosen for it; ``None``: the machine's."""


class MachineSpec(Spec):
    """What the owner asks for; chosen before the VM is made, and then never changed.

    The Machine's name is that of its node; it ends in ten digits of the UID.
    """

    cluster: Name
    pool: str | None = None
    """Name of the pool inside the cluster; ``None`` is the control plane."""
    role: Role
    bootstrap: Literal["init", "join"]
    """``init`` on the one machine that founds the cluster."""
    account: Name
    kubernetes_version: str
    datacenter: str
    folder: str
    vm_name: str | None = None
    """What the VM is called, where a pattern was set; ends in the same digits. ``None``: like the
    Machine."""
    template: str
    failure_domain: FailureDomain
    host: str | None = None
    """Moref of the host that it is cloned on; ``None``: DRS chooses one at power-on."""
    clone_mode: Literal["auto", "linked", "full"] = "auto"
    cpus: int
    memory_mib: int
    disk_gib: int | None = None
    extra_disks: list[MachineDisk] = Field(default_factory=list)
    cpu_allocation: CPUAllocation | None = None
    memory_allocation: MemoryAllocation | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    taints: list[Taint] = Field(default_factory=list)


class OffPlan(Model):
    """That a machine cannot be where a plan has promised it."""

    plan: str
    """UID of the plan."""
    why: str
    ends: bool = False
    """It cannot be at all, wherever it goes: another has to be made in its place."""


class MachineStatus(Status):
    """What was last seen. Only reconcilers write it."""

    vm: str | None = None
    """Moref of the VM, once seen."""
    clone_task: str | None = None
    """Moref of the clone task: what it made is ours even if vCenter changed the UUID."""
    full_clone: str = ""
    """Why it is a full clone of its template; empty for a linked one."""
    clone_failed: bool = False
    """Whether vCenter could not make the clone: datastore and host are chosen again first."""
    off_plan: OffPlan | None = None
    """Set while nothing is cloned: its place is gone, and it waits for somebody's decision."""
    power: str | None = None
    addresses: list[str] = Field(default_factory=list)
    """Addresses that the guest reports; the static one is claimed as an IPAddress."""
    bios_uuid: str | None = None
    provider_id: str | None = None
    node_name: str | None = None
    joined_with: list[str] = Field(default_factory=list)
    """Addresses that its node registered with."""
    progress: str | None = None
    """Last word of the node itself while it boots. Untrusted: for people, never a decision."""
    progress_detail: str | None = None
    progress_failed: bool = False
    timeline: dict[str, str] = Field(default_factory=dict)
    """Milestone -> RFC 3339 time."""


class Machine(Resource):
    plural: ClassVar[str] = "machines"
    ownership: ClassVar[Ownership] = Ownership.DERIVED
    scope: ClassVar[Scope] = Scope.PROJECT

    kind: Literal["Machine"] = "Machine"
    spec: MachineSpec
    status: MachineStatus = Field(default_factory=MachineStatus)

    @property
    def has_to_end(self) -> bool:
        """Tell whether it can never be what a plan has promised, and waits to be replaced."""
        off = self.status.off_plan
        return off is not None and off.ends and self.status.vm is None

    @property
    def vm_name(self) -> str:
        """Name of its VM in vCenter."""
        return self.spec.vm_name or self.metadata.name
