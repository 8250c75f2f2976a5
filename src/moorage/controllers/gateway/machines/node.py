"""From a VM that boots to a node that is Ready: let it in, see it join, take its secrets away."""

from moorage.bootstrap import bootstrap_token_name, bootstrap_token_secret
from moorage.controllers.gateway.accounts.clock import MISSED_S, clock_disagreement
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.controlplane import why_not_join
from moorage.controllers.gateway.machines.inside import FIELD_MANAGER, LAYERS
from moorage.controllers.gateway.machines.progress import (
    USER_DATA_KEYS,
    describe_progress,
    describe_silence,
)
from moorage.controllers.gateway.machines.records import cluster_of
from moorage.engine import DONE, Outcome, step, wait
from moorage.kit.errors import UnavailableError
from moorage.kube import NodeInfo
from moorage.resources import Machine
from moorage.resources.kubernetes import Role
from moorage.vsphere import Found

_LOOK_AGAIN_S = 2.0
_MISSED_S = 60.0
"""Only the replica whose pass saw the milestone wakes the machines, and it may die before."""


@step("TokenPublished")
async def ensure_token(machine: Machine, env: Env) -> Outcome:
    """Let the machine in: its own token, short-lived, made once the API answers."""
    if machine.spec.bootstrap == "init" or machine.status.node_name is not None:
        return DONE
    if machine.status.is_true("TokenPublished"):
        return DONE
    cluster = await cluster_of(machine, env)
    keys = await env.access.keys(cluster)
    if keys is None or "APIReachable" not in cluster.status.timeline:
        return wait(
            "WaitingForAPI",
            f"joins when the API answers at {cluster.status.endpoint}{describe_progress(machine)}",
            after=_MISSED_S,
        )
    skewed = await clock_disagreement(machine.spec.account, env)
    if skewed is not None:
        return wait("ClockSkewed", f"its token would not hold: {skewed}", after=MISSED_S)
    is_control_plane = machine.spec.role is Role.CONTROL_PLANE
    if is_control_plane and (why := await why_not_join(machine, env)) is not None:
        return wait("WaitingForEtcd", f"joins when etcd takes it: {why}", after=_LOOK_AGAIN_S)
    secret = bootstrap_token_secret(
        keys,
        machine.metadata.uid,
        machine.spec.role,
        machine_name=machine.metadata.name,
        now=env.clock.now(),
    )
    client = await env.access.client(cluster)
    await client.apply([secret], FIELD_MANAGER)
    return DONE


@step("Joined")
async def ensure_joined(machine: Machine, env: Env) -> Outcome:
    if machine.status.node_name is not None:
        return DONE
    try:
        # A node that says so is in the API server: an older list would only be asked again later.
        said = machine.status.progress == "Joined"
        node = await _node(machine, env, max_age_s=0.1 if said else 1.0)
    except UnavailableError as error:
        return wait("WaitingForAPI", f"{error}{describe_progress(machine)}", after=_LOOK_AGAIN_S)
    if node is None:
        vcenter = env.accounts.get(machine.spec.account)
        seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm) if vcenter else None
        if isinstance(seen, Found) and (why := describe_silence(machine, seen.vm, env)):
            return wait("NodeSilent", why, after=_MISSED_S)
        failed = machine.status.progress_failed
        return wait(
            "BootstrapFailed" if failed else "WaitingForNode",
            "the machine has not registered as a node yet" + describe_progress(machine),
            after=_LOOK_AGAIN_S,
        )
    machine.status.node_name = node.name
    machine.status.joined_with = list(node.addresses)
    env.stamp(machine.status.timeline, "Joined")
    return DONE


@step("UserDataCleared")
async def ensure_user_data_cleared(machine: Machine, env: Env) -> Outcome:
    """Take the secrets out of vCenter's sight and out of the cluster, and make sure."""
    if machine.status.is_true("UserDataCleared"):
        return DONE
    vcenter = env.accounts.get(machine.spec.account)
    seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm) if vcenter else None
    if vcenter is None or not isinstance(seen, Found):
        return wait("VMNotSeen", "looked for again on the next pass", after=_LOOK_AGAIN_S)
    left = await vcenter.clear_guestinfo(seen.vm, USER_DATA_KEYS)
    if left:
        return wait("UserDataRemains", f"vCenter still shows {', '.join(left)}", after=5)
    if machine.spec.bootstrap == "join":
        cluster = await cluster_of(machine, env)
        keys = await env.access.keys(cluster)
        if keys is not None:
            name = bootstrap_token_name(keys, machine.metadata.uid)
            client = await env.access.client(cluster)
            await client.delete_secret("kube-system", name)
    return DONE


@step("NodeReady")
async def ensure_node_ready(machine: Machine, env: Env) -> Outcome:
    node = await _node(machine, env, max_age_s=_LOOK_AGAIN_S / 2)
    if node is None:
        return wait("NodeMissing", "the API server no longer knows this node", after=10)
    labels = {
        key: value for key, value in _labels(machine).items() if node.labels.get(key) != value
    }
    if labels:
        cluster = await cluster_of(machine, env)
        client = await env.access.client(cluster)
        await client.patch_node(node.name, labels=labels)
    if not node.ready:
        cluster = await cluster_of(machine, env)
        if LAYERS not in cluster.status.timeline:  # its first network among them: a milestone
            return wait(
                "NodeNotReady",
                f"{node.ready_reason}; the cluster's layers come with its next pass",
                after=_MISSED_S,
            )
        return wait("NodeNotReady", node.ready_reason, after=_LOOK_AGAIN_S)
    env.stamp(machine.status.timeline, "Ready")
    return DONE


def _labels(machine: Machine) -> dict[str, str]:
    """Labels that a kubelet may not give itself."""
    if machine.spec.pool is None:
        return machine.spec.labels
    return {**machine.spec.labels, "node-role.kubernetes.io/worker": ""}


async def _node(machine: Machine, env: Env, *, max_age_s: float) -> NodeInfo | None:
    cluster = await cluster_of(machine, env)
    nodes = await env.access.nodes(cluster, max_age_s=max_age_s)
    return next((node for node in nodes if node.name == machine.metadata.name), None)
