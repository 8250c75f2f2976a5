"""All controllers of a gateway, with what makes each look again."""

from datetime import timedelta
from typing import Any

from moorage.controllers.gateway.account import ACCOUNT
from moorage.controllers.gateway.cluster import CLUSTER
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.ippool import IPPOOL
from moorage.controllers.gateway.machine import MACHINE
from moorage.controllers.gateway.nodepool import NODEPOOL
from moorage.controllers.gateway.operation import OPERATION
from moorage.engine import Change, Controller, Watch
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    IPAddress,
    Machine,
    NodePool,
    Secret,
)

NODES_LOOK = timedelta(seconds=30)
"""How often each cluster's nodes are counted when nothing happens."""


def controllers(env: Env) -> list[Controller[Any]]:
    """Return the gateway's controllers over one environment."""
    index = env.index
    return [
        Controller(
            name="account",
            reconciler=ACCOUNT,
            env=env,
            watches=(Watch(Secret, lambda _: sorted(index.accounts)),),
            concurrency=4,
        ),
        Controller(
            name="ippool", reconciler=IPPOOL, env=env, watches=(Watch(IPAddress, _pool_of),)
        ),
        Controller(
            name="cluster",
            reconciler=CLUSTER,
            env=env,
            watches=(
                Watch(Machine, index.cluster_of),
                Watch(NodePool, index.cluster_of),
                Watch(Assignment, lambda _: sorted(index.clusters.values())),
                Watch(CloudAccount, lambda _: sorted(index.clusters.values())),
            ),
            concurrency=16,
            resync=NODES_LOOK,
        ),
        Controller(
            name="nodepool",
            reconciler=NODEPOOL,
            env=env,
            watches=(
                Watch(Machine, index.pools_of),
                Watch(Cluster, lambda change: sorted(index.pools.get(change.uid, ()))),
            ),
            concurrency=16,
        ),
        Controller(
            name="machine",
            reconciler=MACHINE,
            env=env,
            watches=(Watch(Cluster, index.machines_of),),
            concurrency=32,
        ),
        Controller(name="operation", reconciler=OPERATION, env=env, concurrency=8),
    ]


def _pool_of(change: Change) -> list[str]:
    """The pool's name is what stands before the address's four numbers."""
    return [f"/{change.name.rsplit('-', 4)[0]}"]
