"""Turn a Machine into a running VM that is a Kubernetes node."""

from dataclasses import replace

from moorage.bootstrap import (
    NodeInput,
    bootstrap_token_name,
    bootstrap_token_secret,
    render_guestinfo,
)
from moorage.controllers.gateway.accounts.clock import MISSED_S, clock_disagreement
from moorage.controllers.gateway.env import MACHINE_FINALIZER, Env
from moorage.controllers.gateway.fence import assigned, bears_mark, mark_of
from moorage.controllers.gateway.machines.address import (
    cards_of,
    describe_network,
    ensure_address,
    ensure_address_kept,
)
from moorage.controllers.gateway.machines.allocation import cpu_allocation, memory_allocation
from moorage.controllers.gateway.machines.apart import ensure_rule_joined
from moorage.controllers.gateway.machines.controlplane import (
    ensure_no_member,
    ensure_replaced,
    why_not_join,
)
from moorage.controllers.gateway.machines.inside import FIELD_MANAGER
from moorage.controllers.gateway.machines.progress import (
    USER_DATA_KEYS,
    describe_progress,
    describe_silence,
    has_lost_its_data,
    note_progress,
    note_snapshots,
)
from moorage.controllers.gateway.machines.records import pools_of, role_of
from moorage.controllers.gateway.machines.teardown import (
    ensure_address_released,
    ensure_drained,
    ensure_no_node,
    ensure_no_vm,
    ensure_permitted,
)
from moorage.controllers.gateway.placement.following import OUTDATED, planned_place
from moorage.controllers.gateway.placement.place import resolve_machine
from moorage.controllers.gateway.placement.placing import ROOM_AGAIN_S, place_again
from moorage.controllers.gateway.templates.sources import clone_source
from moorage.controllers.gateway.vms import look_for_vm
from moorage.engine import DONE, Outcome, StepReconciler, Wait, step, wait
from moorage.kit.errors import DeferredError, TerminalError, UnavailableError
from moorage.kube import NodeInfo
from moorage.resources import Cluster, Machine
from moorage.resources.kubernetes import Role
from moorage.resources.machine import OffPlan
from moorage.vsphere import (
    VM,
    BusyError,
    CloneRequest,
    Found,
    Power,
    Rank,
    ResolvedTarget,
    Unknown,
    VCenter,
    why_full,
)

_LOOK_AGAIN_S = 2.0
_TASK_PATIENCE_S = 60.0
_MISSED_S = 30.0
"""Only the replica whose pass saw the milestone wakes the machines, and it may die before."""


@step("VMCreated")
async def ensure_vm(machine: Machine, env: Env) -> Outcome:
    vcenter = env.accounts.get(machine.spec.account)
    if vcenter is None:
        return wait(
            "AccountNotReady", f"cloud account {machine.spec.account} is not connected", after=30
        )
    match await look_for_vm(machine, vcenter):
        case Found(vm=vm):
            _record(machine, vm, env)
            if not bears_mark(vm, machine):
                await vcenter.set_identity(vm, mark_of(machine, env))
                return wait("IdentityLost", "the VM's UUID or epoch is another; it is set again")
            return DONE
        case Unknown(why=why, reason=reason):
            return wait(reason, why, after=_LOOK_AGAIN_S)
    if machine.status.node_name is not None:
        return wait(
            "VMMissing",
            f"the VM of node {machine.status.node_name} is gone from vCenter; it is replaced by "
            f"`moorage machines delete {machine.metadata.name}`",
        )
    return await _clone(machine, env)


@step("PoweredOn")
async def ensure_powered_on(machine: Machine, env: Env) -> Outcome:
    vcenter = env.accounts.get(machine.spec.account)
    seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm) if vcenter else None
    if vcenter is None or not isinstance(seen, Found):
        return wait("VMNotSeen", "looked for again on the next pass", after=_LOOK_AGAIN_S)
    if seen.vm.power is not Power.ON:
        if await has_lost_its_data(machine, seen.vm, vcenter):
            await env.store.request_deletion(Machine, *machine.key)
            return wait(
                "BootstrapDataLost",
                "it went down after it had read its user data and before it had begun: it could "
                "never join, and another machine is made",
            )
        described = await describe_network(machine, seen.vm, env)
        if described is not DONE:
            return described
        task = await vcenter.power_on(seen.vm)
        return wait("PoweringOn", f"waits for {task}", after=_TASK_PATIENCE_S)
    machine.status.provider_id = f"vsphere://{seen.vm.bios_uuid}"
    env.stamp(machine.status.timeline, "PoweredOn")
    return DONE


@step("TokenPublished")
async def ensure_token(machine: Machine, env: Env) -> Outcome:
    """Let the machine in: its own token, short-lived, made once the API answers."""
    if machine.spec.bootstrap == "init" or machine.status.node_name is not None:
        return DONE
    if machine.status.is_true("TokenPublished"):
        return DONE
    cluster = await _cluster(machine, env)
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
        cluster = await _cluster(machine, env)
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
        cluster = await _cluster(machine, env)
        client = await env.access.client(cluster)
        await client.patch_node(node.name, labels=labels)
    if not node.ready:
        return wait("NodeNotReady", node.ready_reason, after=2)
    env.stamp(machine.status.timeline, "Ready")
    return DONE


async def _clone(machine: Machine, env: Env) -> Outcome:
    vcenter = env.accounts.get(machine.spec.account)
    cluster = await _cluster(machine, env)
    keys = await env.access.keys(cluster)
    if vcenter is None or keys is None or cluster.status.endpoint is None:
        return wait("ClusterNotPrepared", "the cluster's keys or endpoint are not ready", after=1)
    target = await _source(machine, cluster, vcenter, env)
    if isinstance(target, Wait):
        return target
    request = CloneRequest(
        uid=machine.metadata.uid,
        rank=_rank(machine),
        name=machine.vm_name,
        target=target,
        mark=mark_of(machine, env),
        cpus=machine.spec.cpus,
        memory_mib=machine.spec.memory_mib,
        disk_gib=machine.spec.disk_gib,
        extra_disks=tuple((one.size_gib, one.thin) for one in machine.spec.extra_disks),
        cpu_allocation=cpu_allocation(machine.spec),
        memory_allocation=memory_allocation(machine.spec),
        host=machine.spec.host,
        mode=machine.spec.clone_mode,
    )
    if (why := vcenter.ask_to_clone(request)) is not None:
        return _waits_its_turn(why)
    cards = await cards_of(machine, env)
    host, _, port = cluster.status.endpoint.rpartition(":")
    node = NodeInput(
        machine=machine,
        cluster=cluster,
        endpoint_host=host.strip("[]"),
        endpoint_port=int(port),
        pki=keys,
        cards=cards,
    )
    try:
        task = await vcenter.clone(replace(request, guestinfo=render_guestinfo(node)))
    except BusyError as error:
        return _waits_its_turn(str(error))
    except TerminalError as error:
        if error.reason != "NameTaken":
            raise
        return await _name_taken(machine, env, str(error))
    machine.status.clone_task = task.moref
    machine.status.full_clone = why_full(target, request.mode, request.disk_gib)
    env.stamp(machine.status.timeline, "CloneStarted")
    return wait("Cloning", f"waits for {task}", after=_TASK_PATIENCE_S)


async def _source(
    machine: Machine, cluster: Cluster, vcenter: VCenter, env: Env
) -> ResolvedTarget | Wait:
    """Return what is cloned, and where to; or what the clone has to wait for."""
    if (not_yet := await _not_yet(machine, cluster, vcenter, env)) is not None:
        return not_yet
    try:
        resolved = await resolve_machine(vcenter, machine.spec)
    except DeferredError:
        if machine.spec.failure_domain.storage_policy is not None:
            machine.status.clone_failed = True  # another datastore may satisfy the policy now
        raise
    return await clone_source(machine, cluster, resolved, vcenter, env)


async def _not_yet(machine: Machine, cluster: Cluster, vcenter: VCenter, env: Env) -> Wait | None:
    """Return what a clone has to wait for before anything else, if anything."""
    skewed = await clock_disagreement(machine.spec.account, env)
    if skewed is not None:
        return wait("ClockSkewed", f"not cloned yet: {skewed}", after=MISSED_S)
    if (why := vcenter.why_clone_waits(machine.metadata.uid)) is not None:
        return _waits_its_turn(why)
    host = machine.spec.host
    if machine.status.clone_failed or (host and vcenter.estate.out_of_service(host)):
        return await _place_again(machine, cluster, env)
    return None


async def _place_again(machine: Machine, cluster: Cluster, env: Env) -> Wait | None:
    """Choose datastore and host anew while nothing is cloned: vCenter refused those chosen.

    The failure domain stays, so that the machines of its pool stay spread. What a plan has
    promised stays too: if it cannot be had, the plan is outdated.
    """
    others = [
        one for one in await role_of(env, cluster, machine.spec.pool) if one.key != machine.key
    ]
    planned = await planned_place(machine, cluster, await pools_of(env, cluster), env)
    if isinstance(planned, Wait):
        return replace(planned, after=ROOM_AGAIN_S)
    spot = await place_again(machine, cluster, others, env, planned)
    if isinstance(spot, str) and planned is not None:
        machine.status.off_plan = OffPlan(plan=planned.plan, why=spot)
        return wait(OUTDATED, f"it cannot be where the plan says: {spot}", after=ROOM_AGAIN_S)
    if isinstance(spot, str):
        return wait("NoRoom", f"there is no room for it: {spot}", after=ROOM_AGAIN_S)
    machine.status.clone_failed, machine.status.off_plan = False, None
    if (spot.domain, spot.host) != (machine.spec.failure_domain, machine.spec.host):
        machine.spec.failure_domain, machine.spec.host = spot.domain, spot.host
        stored = await env.store.put_spec(machine, if_version=machine.metadata.resource_version)
        machine.metadata = stored.metadata
    return None


def _rank(machine: Machine) -> Rank:
    if machine.spec.bootstrap == "init":
        return Rank.FIRST_CONTROL_PLANE
    return Rank.WORKER if machine.spec.role is Role.WORKER else Rank.CONTROL_PLANE


def _waits_its_turn(why: str) -> Wait:
    """Wait to be called: asking again by itself, a hundred machines would do little else."""
    return wait("ClonesInFlight", why, after=_TASK_PATIENCE_S)


async def _name_taken(machine: Machine, env: Env, said: str) -> Outcome:
    """End a machine whose name a stranger's VM has; the founder, of which there is one, waits."""
    if machine.spec.bootstrap == "join":
        await env.store.request_deletion(Machine, *machine.key)
        return wait("NameTaken", f"{said}; this machine ends, and another is made")
    return wait("NameTaken", f"{said}: rename or remove that VM; it is looked at again", after=15)


def _record(machine: Machine, vm: VM, env: Env) -> None:
    machine.status.vm = vm.moref
    machine.status.bios_uuid = vm.bios_uuid
    machine.status.power = vm.power.value
    if vm.addresses:
        machine.status.addresses = list(vm.addresses)
        env.stamp(machine.status.timeline, "AddressSeen")
    env.stamp(machine.status.timeline, "VMCreated")
    note_snapshots(machine, vm, env)
    note_progress(machine, vm, env)


def _labels(machine: Machine) -> dict[str, str]:
    """Labels that a kubelet may not give itself."""
    if machine.spec.pool is None:
        return machine.spec.labels
    return {**machine.spec.labels, "node-role.kubernetes.io/worker": ""}


async def _node(machine: Machine, env: Env, *, max_age_s: float) -> NodeInfo | None:
    cluster = await _cluster(machine, env)
    nodes = await env.access.nodes(cluster, max_age_s=max_age_s)
    return next((node for node in nodes if node.name == machine.metadata.name), None)


async def _cluster(machine: Machine, env: Env) -> Cluster:
    return await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)


MACHINE = StepReconciler(
    kind=Machine,
    steps=(
        assigned(),
        ensure_address,
        ensure_vm,
        ensure_rule_joined,
        ensure_powered_on,
        ensure_token,
        ensure_joined,
        ensure_user_data_cleared,
        ensure_address_kept,
        ensure_node_ready,
    ),
    teardown=(
        assigned(),
        ensure_permitted,
        ensure_replaced,
        ensure_drained,
        ensure_no_member,
        ensure_no_node,
        ensure_no_vm,
        ensure_address_released,
    ),
    finalizer=MACHINE_FINALIZER,
)
