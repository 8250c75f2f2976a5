"""Take a machine away: drain, node, VM, address. Each step proves its own end."""

from datetime import timedelta

from moorage.controllers.gateway.brake import LOOK_AGAIN_S
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.vms import look_for_vm, take_away_vm
from moorage.engine import DONE, Outcome, step, wait
from moorage.ipam import release
from moorage.kit.errors import UnavailableError
from moorage.kube import KubeClient
from moorage.resources import Cluster, Machine
from moorage.vsphere import Absent

DRAIN_PATIENCE = timedelta(minutes=10)
"""After this a node is taken away with whatever still runs on it."""


@step("DeletionPermitted")
async def ensure_permitted(machine: Machine, env: Env) -> Outcome:
    """Ask the deletion brake before anything is taken away."""
    vcenter = env.accounts.get(machine.spec.account)
    if vcenter is not None and vcenter.health.is_read_only:
        return wait(
            "AccountReadOnly",
            f"cloud account {machine.spec.account} is read-only: nothing is drained or deleted "
            f"until `moorage accounts set-read-only {machine.spec.account} --off`",
        )
    held = await env.brake.hold_machine(machine)
    return DONE if held is None else wait("DeletionHeld", f"{held}", after=LOOK_AGAIN_S)


@step("Drained")
async def ensure_drained(machine: Machine, env: Env) -> Outcome:
    """Move pods elsewhere first, unless the whole cluster goes or there is no node."""
    client = await client_of(machine, env)
    if client is None or machine.status.node_name is None:
        return DONE
    vcenter = env.accounts.get(machine.spec.account)
    if vcenter is not None and isinstance(await look_for_vm(machine, vcenter), Absent):
        return DONE  # nothing runs there, and nobody would confirm that it has ended
    overdue = _is_overdue(machine, env)
    try:
        drain = await client.drain(machine.status.node_name)
    except UnavailableError as error:
        return DONE if overdue else wait("APIUnreachable", str(error), after=10)
    if drain.done or overdue:
        return DONE
    left = ", ".join(f"{pod.namespace}/{pod.name} ({pod.reason})" for pod in drain.remaining)
    return wait("Draining", f"pods that have not left: {left}", after=2)


@step("NodeDeleted")
async def ensure_no_node(machine: Machine, env: Env) -> Outcome:
    client = await client_of(machine, env)
    if client is None or machine.status.node_name is None:
        return DONE
    try:
        await client.delete_node(machine.status.node_name)
    except UnavailableError as error:
        if _is_overdue(machine, env):
            return DONE
        return wait("APIUnreachable", str(error), after=10)
    if machine.metadata.owner is not None:
        env.access.outdate_nodes(machine.metadata.owner.uid)
    return DONE


@step("VMDestroyed")
async def ensure_no_vm(machine: Machine, env: Env) -> Outcome:
    vcenter = env.accounts.get(machine.spec.account)
    if vcenter is None:
        return wait(
            "AccountNotReady", f"cloud account {machine.spec.account} is not connected", after=30
        )
    return await take_away_vm(machine, vcenter)


@step("AddressReleased")
async def ensure_address_released(machine: Machine, env: Env) -> Outcome:
    await release(env.store, machine.metadata.uid, now=env.clock.now())
    return DONE


def _is_overdue(machine: Machine, env: Env) -> bool:
    """Tell whether patience is at its end; counted anew by each process, whatever clocks show.

    The moment of the request is of another machine's clock, and ours may have been set since.
    """
    now = env.clock.steady()
    return now - env.leaving.setdefault(machine.metadata.uid, now) > DRAIN_PATIENCE.total_seconds()


async def client_of(machine: Machine, env: Env) -> KubeClient | None:
    """Return the cluster's API client; ``None`` when the whole cluster is going."""
    cluster = await env.store.find(Cluster, machine.metadata.project, machine.spec.cluster)
    if cluster is None or cluster.is_deleting:
        return None
    if "APIReachable" not in cluster.status.timeline:
        return None
    return await env.access.client(cluster)
