"""All controllers of a gateway, what makes each look again, and what they share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from moorage.controllers.gateway.access import ClusterAccess
from moorage.controllers.gateway.accounts.account import ACCOUNT
from moorage.controllers.gateway.accounts.sessions import Sessions
from moorage.controllers.gateway.addresses.ippool import IPPOOL
from moorage.controllers.gateway.assignment import ASSIGNMENT
from moorage.controllers.gateway.brake import (
    CLUSTERS_PER_HOUR,
    MACHINES_PER_HOUR,
    DeletionBrake,
)
from moorage.controllers.gateway.clusters.cluster import CLUSTER
from moorage.controllers.gateway.clusters.nodepool import NODEPOOL
from moorage.controllers.gateway.env import Env, Vault
from moorage.controllers.gateway.keeper import Keeper
from moorage.controllers.gateway.machines.machine import MACHINE
from moorage.controllers.gateway.operation import OPERATION
from moorage.controllers.gateway.plans.plan import PLAN
from moorage.controllers.gateway.templates.replica import IDLE, LOOK, REPLICA
from moorage.controllers.gateway.templates.template import TEMPLATE
from moorage.engine import Change, Controller, Manager, Store, Watch
from moorage.kit.clock import Clock
from moorage.kit.skew import PeerClock
from moorage.kube import KubePool
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    IPAddress,
    Machine,
    NodePool,
    Plan,
    ResealedKeys,
    Secret,
    TemplateReplica,
)
from moorage.resources.ippool import claimed_address
from moorage.vsphere import Limits, SessionNote

PACE = timedelta(milliseconds=250)
"""A hundred machines change at once: what counts them looks at them four times a second."""
NODES_LOOK = timedelta(seconds=30)
"""How often each cluster's nodes are counted when nothing happens."""


@dataclass(frozen=True, slots=True)
class Work:
    """A gateway's controllers, wired to its vCenters. Call ``run``, then ``close``."""

    env: Env
    manager: Manager
    sessions: Sessions

    async def run(self) -> None:
        """Work until cancelled: first know what is there, then take keys."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(Keeper(self.env).run)
            await self.manager.run()

    async def close(self) -> None:
        """Log out of all vCenters and close all connections to clusters."""
        await self.sessions.close()
        await self.env.access.pool.aclose()


def wire(
    store: Store,
    *,
    clock: Clock,
    vault: Vault,
    installation: str,
    gateway: str,
    acknowledged: Callable[[], Awaitable[int]],
    hub_clock: PeerClock,
    kube_timeout_s: float = 10.0,
    clusters_per_hour: int = CLUSTERS_PER_HOUR,
    machines_per_hour: int = MACHINES_PER_HOUR,
    replica_idle: timedelta = IDLE,
    limits: Limits | None = None,
    imports_folder: Path | None = None,
    lease_ttl: timedelta = timedelta(seconds=60),
    note_for: Callable[[str], SessionNote | None] = lambda _: None,
) -> Work:
    """Put a gateway's controllers together.

    Args:
        store: The gateway's own.
        clock: Tells the time.
        vault: Opens what was sealed to this gateway.
        installation: UID of the hub's installation: stands in every owner mark.
        gateway: Name of this gateway.
        acknowledged: Returns the highest own version that the hub has confirmed.
        hub_clock: What the hub has said of its time.
        kube_timeout_s: Default deadline of a call to a cluster's API server.
        clusters_per_hour: How many may be deleted before the brake holds the next.
        machines_per_hour: The same for machines, those of deleted clusters among them.
        replica_idle: How long a replica of a template is kept that no machine needs.
        limits: How much may be asked of each vCenter at a time.
        imports_folder: Where OVAs lie that are imported by their name.
        lease_ttl: How long others leave a key alone whose replica no longer renews its lease.
        note_for: Returns where the vCenter session of an account is written down.
    """

    def trigger(controller: str, key: str) -> None:
        manager.trigger(controller, key)

    def on_change(uids: frozenset[str]) -> None:
        for uid in uids:
            known = env.index.machines.get(uid)
            if known is not None:
                trigger("machine", known[0])
            elif (cluster := env.index.clusters.get(uid)) is not None:
                trigger("cluster", cluster)
                for pool in sorted(env.index.pools.get(uid, ())):
                    trigger("nodepool", pool)
            elif (replica := env.index.replicas.get(uid)) is not None:
                trigger("replica", replica)
            elif (template := env.index.templates.get(uid)) is not None:
                trigger("template", template)

    def on_open() -> None:
        env.wake_machines()

    sessions = Sessions(
        installation=installation,
        clock=clock,
        on_change=on_change,
        on_state=lambda name: trigger("account", f"/{name}"),
        on_open=on_open,
        note_for=note_for,
        limits=limits,
    )
    env = Env(
        store=store,
        clock=clock,
        vault=vault,
        accounts=sessions,
        access=ClusterAccess(KubePool(timeout_s=kube_timeout_s, clock=clock), clock, store, vault),
        brake=DeletionBrake(
            store,
            clock,
            clusters_per_hour=clusters_per_hour,
            machines_per_hour=machines_per_hour,
        ),
        installation=installation,
        gateway=gateway,
        acknowledged=acknowledged,
        replica_idle=replica_idle,
        imports_folder=imports_folder,
        hub_clock=hub_clock,
        trigger=trigger,
    )
    manager = Manager(store, controllers(env), clock=clock, lease_ttl=lease_ttl)
    return Work(env, manager, sessions)


def controllers(env: Env) -> list[Controller[Any]]:
    """Return the gateway's controllers over one environment."""
    index = env.index
    return [
        Controller(
            name="account",
            reconciler=ACCOUNT,
            env=env,
            watches=(Watch(Secret, lambda _: sorted(index.accounts)),),
            concurrency=16,  # of several vCenters that do not answer each holds one for a while
        ),
        Controller(
            name="ippool",
            reconciler=IPPOOL,
            env=env,
            watches=(
                Watch(IPAddress, _pool_of),
                Watch(Cluster, index.ip_pools_asked),
                Watch(NodePool, index.ip_pools_asked),
            ),
            pace=PACE,
        ),
        Controller(
            name="cluster",
            reconciler=CLUSTER,
            env=env,
            watches=(
                Watch(Machine, index.cluster_of),
                Watch(NodePool, index.cluster_of),
                Watch(Plan, index.cluster_of),
                Watch(Assignment, index.cluster_of),
                Watch(ResealedKeys, index.cluster_of),
                Watch(CloudAccount, lambda _: sorted(index.clusters.values())),
            ),
            concurrency=16,
            resync=NODES_LOOK,
            pace=PACE,
        ),
        Controller(
            name="nodepool",
            reconciler=NODEPOOL,
            env=env,
            watches=(
                Watch(Machine, index.pools_of),
                Watch(Assignment, index.pools_of),
                Watch(Cluster, lambda change: sorted(index.pools.get(change.uid, ()))),
            ),
            concurrency=16,
            pace=PACE,
        ),
        Controller(
            name="machine",
            reconciler=MACHINE,
            env=env,
            watches=(
                Watch(Cluster, index.machines_of),
                Watch(Assignment, index.machines_assigned),
                Watch(TemplateReplica, index.machines_linked),
            ),
            concurrency=32,
        ),
        Controller(
            name="replica",
            reconciler=REPLICA,
            env=env,
            watches=(Watch(Machine, index.replicas_used),),
            concurrency=4,
            resync=LOOK,
            pace=PACE,
        ),
        Controller(
            name="template",
            reconciler=TEMPLATE,
            env=env,
            watches=(
                Watch(TemplateReplica, index.templates_asked),
                Watch(CloudAccount, index.templates_asked),
            ),
            concurrency=4,
            pace=PACE,
        ),
        Controller(
            name="assignment",
            reconciler=ASSIGNMENT,
            env=env,
            # That copies have to go stands in the status: the link writes it.
            watches=(Watch(Assignment, lambda change: [change.key]),),
            concurrency=4,
        ),
        Controller(name="operation", reconciler=OPERATION, env=env, concurrency=8),
        Controller(
            name="plan",
            reconciler=PLAN,
            env=env,
            watches=(Watch(Cluster, index.plans_of), Watch(NodePool, index.plans_of)),
            concurrency=4,
            pace=PACE,
        ),
    ]


def _pool_of(change: Change) -> list[str]:
    return [f"/{claimed_address(change.name)[0]}"]
