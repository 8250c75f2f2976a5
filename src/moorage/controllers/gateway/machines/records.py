"""Making and finding Machine resources: shared by control plane and node pools."""

from collections.abc import Sequence
from typing import Literal

from moorage.controllers.gateway.env import (
    LABEL_CLUSTER,
    LABEL_POOL,
    MACHINE_FINALIZER,
    Env,
    machines_of,
)
from moorage.controllers.gateway.placement.placing import Spot
from moorage.engine import lease
from moorage.kit.ids import uid_suffix
from moorage.resources import Cluster, Machine, Metadata, NodePool
from moorage.resources.cluster import ControlPlane
from moorage.resources.kubernetes import Role
from moorage.resources.machine import MachineSpec
from moorage.resources.nodepool import NodePoolSpec
from moorage.resources.size import MachineSize
from moorage.resources.vmname import vm_name

CONTROL_PLANE = "cp"
"""Stands in the names of control-plane machines where workers have their pool's name."""


def machine_stem(cluster: str, pool: str | None) -> str:
    """Return what the names of a role's machines have before the end that is the UID's."""
    return f"{cluster}-{pool or CONTROL_PLANE}"


def machine_name(cluster: str, pool: str | None, uid: str) -> str:
    """Return the name of a machine and its node."""
    return f"{machine_stem(cluster, pool)}-{uid_suffix(uid)}"


async def cluster_of(machine: Machine, env: Env) -> Cluster:
    """Return the cluster that a machine is of."""
    return await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)


async def pools_of(env: Env, cluster: Cluster) -> list[NodePool]:
    """Return the cluster's pools, those being deleted left out; a pass reads them once."""
    held = lease.current()
    key = f"pools of {cluster.metadata.uid}"
    if held is not None and key in held.memory:
        known: list[NodePool] = held.memory[key]
        return known
    found = await env.store.list(NodePool, owner=cluster.metadata.uid)
    staying = [pool for pool in found if not pool.is_deleting]
    if held is not None:
        held.memory[key] = staying
    return staying


async def role_of(env: Env, cluster: Cluster, pool: str | None) -> list[Machine]:
    """Return those of one pool; ``None``: of the control plane."""
    return [one for one in await machines_of(env, cluster) if one.spec.pool == pool]


def allowed_domains(cluster: Cluster, asked: Sequence[str]) -> list[str]:
    """Return the failure domains that a pool may use: those asked for, else all."""
    return list(asked) or [d.name for d in cluster.spec.placement.failure_domains]


def folder_of(cluster: Cluster) -> str:
    """Return the VM folder that a new machine is made in."""
    own = cluster.status.folder
    return own.path if own is not None and own.path else cluster.spec.placement.folder


def control_plane_machine(
    env: Env, cluster: Cluster, spot: Spot, bootstrap: Literal["init", "join"], uid: str
) -> Machine:
    """Return the Machine resource for a new control-plane machine; nothing is stored yet."""
    shape = cluster.spec.control_plane
    return _machine(
        env,
        cluster,
        spot,
        bootstrap,
        uid,
        pool=None,
        role=Role.CONTROL_PLANE,
        shape=shape,
    )


def worker_machine(env: Env, cluster: Cluster, pool: NodePool, spot: Spot, uid: str) -> Machine:
    """Return the Machine resource for a new worker; nothing is stored yet."""
    shape = pool.spec
    return _machine(
        env,
        cluster,
        spot,
        "join",
        uid,
        pool=shape.pool,
        role=Role.WORKER,
        shape=shape,
    )


def _vm_name(cluster: Cluster, pool: str | None, uid: str) -> str | None:
    """Return what a pattern makes of a machine; ``None``: its VM is called as it is itself."""
    pattern = cluster.spec.placement.vm_name
    if pattern is None:
        return None
    name, word = cluster.metadata.name, pool or CONTROL_PLANE
    return vm_name(pattern, cluster=name, pool=word, uid=uid_suffix(uid))


def _machine(
    env: Env,
    cluster: Cluster,
    spot: Spot,
    bootstrap: Literal["init", "join"],
    uid: str,
    *,
    pool: str | None,
    role: Role,
    shape: ControlPlane | NodePoolSpec,
) -> Machine:
    placement = cluster.spec.placement
    spec = MachineSpec.model_validate(
        {
            "cluster": cluster.metadata.name,
            "pool": pool,
            "role": role,
            "bootstrap": bootstrap,
            "account": cluster.spec.account,
            "kubernetes_version": cluster.spec.kubernetes_version,
            "datacenter": placement.datacenter,
            "folder": folder_of(cluster),
            "vm_name": _vm_name(cluster, pool, uid),
            "template": placement.template,
            "failure_domain": spot.domain,
            "host": spot.host,
            "clone_mode": cluster.spec.clone_mode,
            **{name: getattr(shape, name) for name in MachineSize.model_fields},
            "labels": shape.labels,
            "taints": shape.taints,
            "extra_disks": spot.placed(shape.extra_disks),
        }
    )
    return Machine(
        metadata=Metadata(
            name=machine_name(cluster.metadata.name, pool, uid),
            project=cluster.metadata.project,
            uid=uid,
            labels={LABEL_CLUSTER: cluster.metadata.name, LABEL_POOL: pool or CONTROL_PLANE},
            finalizers=[MACHINE_FINALIZER],
            owner=cluster.owner(),
            route=env.gateway,
            epoch=cluster.metadata.epoch,
        ),
        spec=spec,
    )
