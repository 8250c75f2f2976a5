"""Turn a Machine into a running VM that is a Kubernetes node."""

from dataclasses import replace

from moorage.bootstrap import (
    NodeInput,
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
)
from moorage.controllers.gateway.machines.misplaced import (
    name_taken,
    place_elsewhere,
    still_ends,
)
from moorage.controllers.gateway.machines.node import (
    ensure_joined,
    ensure_node_ready,
    ensure_token,
    ensure_user_data_cleared,
)
from moorage.controllers.gateway.machines.progress import (
    has_lost_its_data,
    note_progress,
    note_snapshots,
)
from moorage.controllers.gateway.machines.records import cluster_of
from moorage.controllers.gateway.machines.teardown import (
    ensure_address_released,
    ensure_drained,
    ensure_no_node,
    ensure_no_vm,
    ensure_permitted,
)
from moorage.controllers.gateway.placement.disks import new_disks
from moorage.controllers.gateway.placement.place import resolve_machine
from moorage.controllers.gateway.templates.sources import clone_source
from moorage.controllers.gateway.vms import look_for_vm
from moorage.engine import DONE, Outcome, StepReconciler, Wait, step, wait
from moorage.kit.errors import DeferredError, TerminalError
from moorage.resources import Cluster, Machine
from moorage.resources.kubernetes import Role
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


async def _clone(machine: Machine, env: Env) -> Outcome:
    vcenter = env.accounts.get(machine.spec.account)
    cluster = await cluster_of(machine, env)
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
        extra_disks=await new_disks(machine, vcenter),
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
        return await name_taken(machine, cluster, str(error), env)
    machine.status.clone_task, machine.status.off_plan = task.moref, None
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
    if machine.has_to_end and (decision := await still_ends(machine, cluster, env)) is not None:
        return decision
    host = machine.spec.host
    if machine.status.clone_failed or (host and vcenter.estate.out_of_service(host)):
        return await place_elsewhere(machine, cluster, env)
    return None


def _rank(machine: Machine) -> Rank:
    if machine.spec.bootstrap == "init":
        return Rank.FIRST_CONTROL_PLANE
    return Rank.WORKER if machine.spec.role is Role.WORKER else Rank.CONTROL_PLANE


def _waits_its_turn(why: str) -> Wait:
    """Wait to be called: asking again by itself, a hundred machines would do little else."""
    return wait("ClonesInFlight", why, after=_TASK_PATIENCE_S)


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
