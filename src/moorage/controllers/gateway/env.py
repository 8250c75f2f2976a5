"""What the gateway's controllers share: sessions, keys, API clients, and who belongs to whom."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from moorage.controllers.gateway.access import ClusterAccess
from moorage.controllers.gateway.brake import DeletionBrake
from moorage.controllers.gateway.conflicts import Conflicts
from moorage.controllers.gateway.index import Index
from moorage.engine import lease
from moorage.engine.store import Store
from moorage.kit.clock import Clock
from moorage.kit.seal import SealedEnvelope
from moorage.kit.skew import PeerClock
from moorage.resources import (
    CloudAccount,
    Cluster,
    Machine,
    Secret,
    Template,
    TemplateReplica,
)
from moorage.vsphere import VCenter

MACHINE_FINALIZER = "moorage.dev/machine"
REPLICA_FINALIZER = "moorage.dev/template-replica"
LABEL_CLUSTER = "moorage.dev/cluster"
LABEL_POOL = "moorage.dev/pool"

Trigger = Callable[[str, str], None]
"""``trigger(controller, key)``: look at that key soon. May be called from any thread."""


class Vault(Protocol):
    """Opens what was sealed to this gateway, and seals what only it may read."""

    def open_password(self, account: CloudAccount, secret: Secret) -> str:
        """Return the account's password; raises ``ForbiddenError``."""
        ...

    async def seal_keys(self, cluster: Cluster, plain: bytes) -> SealedEnvelope:
        """Seal a cluster's keys to this gateway and the recovery key."""
        ...

    def open_keys(self, cluster: Cluster, sealed: SealedEnvelope) -> bytes:
        """Return a cluster's keys; raises ``ForbiddenError``."""
        ...


class Accounts(Protocol):
    """The vCenter of each cloud account that this process works with."""

    async def ensure(self, account: CloudAccount, password: str) -> VCenter:
        """Return the account's vCenter, logging in (again) when address or password changed."""
        ...

    def get(self, name: str) -> VCenter | None:
        """Return the vCenter of an account that is in use, else ``None``."""
        ...

    async def forget(self, name: str) -> None:
        """Log out."""
        ...


@dataclass(slots=True)
class Env:
    """Handed to every step. Holds no state that is not rebuilt after a restart."""

    store: Store
    clock: Clock
    vault: Vault
    accounts: Accounts
    access: ClusterAccess
    brake: DeletionBrake
    installation: str
    gateway: str
    acknowledged: Callable[[], Awaitable[int]]
    """Returns the highest own resource version that the hub has confirmed to have stored."""
    replica_idle: timedelta
    """How long a replica of a template is kept that no machine needs."""
    hub_clock: PeerClock
    """What the hub has said of its time: that in which it says when requests end."""
    trigger: Trigger
    index: Index = field(default_factory=Index)
    conflicts: Conflicts = field(default_factory=Conflicts)
    imports_folder: Path | None = None
    """Where OVAs lie that are imported by their name."""
    leaving: dict[str, float] = field(default_factory=dict)
    """UID of a machine -> since when this process takes it away, by the steady clock."""

    gathering: dict[str, float] = field(default_factory=dict)
    """UID of a machine -> since when it waits for others that join the same rule."""
    first_to_boot: dict[str, str] = field(default_factory=dict)
    """Name of a rule -> VM that boots without it, being the first of its role."""

    def hub_now(self) -> datetime:
        """Return the hub's time; ours, if the hub was not heard since this process began."""
        return self.hub_clock.now() or self.clock.now()

    def wake_machines(self) -> None:
        """Look at every machine soon: what all of them may wait for has come."""
        for key, _ in self.index.machines.values():
            self.trigger("machine", key)

    def stamp(self, timeline: dict[str, str], milestone: str) -> None:
        """Note the first time that a milestone was reached."""
        timeline.setdefault(milestone, rfc3339(self.clock.now()))


def key_of(resource: Cluster | Machine | CloudAccount | Template | TemplateReplica) -> str:
    """Return the engine's key of a resource: ``project/name``."""
    return f"{resource.metadata.project}/{resource.metadata.name}"


def rfc3339(moment: datetime) -> str:
    """Return a moment as text with milliseconds, in UTC."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def machines_of(env: Env, cluster: Cluster) -> list[Machine]:
    """Return all machines of a cluster, those being deleted included; a pass reads them once.

    The list is the pass's own: who makes a machine adds it, so that later steps see it.
    """
    held = lease.current()
    if held is None:
        return await env.store.list(Machine, owner=cluster.metadata.uid)
    key = f"machines of {cluster.metadata.uid}"
    if key not in held.memory:
        held.memory[key] = await env.store.list(Machine, owner=cluster.metadata.uid)
    found: list[Machine] = held.memory[key]
    return found
