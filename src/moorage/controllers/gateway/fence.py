"""Whose is this cluster? Asked at the start of each pass and before each effect (design, 3.5).

An assignment gives a cluster to one gateway under an epoch. Whoever takes it over writes the
higher epoch into the owner mark of every VM first; a gateway that reads a higher epoch than its
own stops for good: vCenter is the fence.
"""

from functools import partial
from typing import TypeVar

from moorage.controllers.gateway.env import Env, machines_of
from moorage.engine import DONE, Outcome, Step, lease, step, wait
from moorage.engine.store import LeaseLostError
from moorage.resources import Assignment, Cluster, Machine, Resource
from moorage.resources.gateway import assignment_name
from moorage.vsphere import VM, Found, OwnerMark, TaskState, Unknown, VCenter

R = TypeVar("R", bound=Resource)

SUPERSEDED = "Superseded"
"""Condition and reason of a cluster that another gateway has taken over."""
ADOPTION_NEEDED = "AdoptionNeeded"
"""Condition of a cluster with VMs of which the gateway before had not told the hub."""
_FRESH_S = 5.0
"""An effect may rest on marks that were seen this lately; older ones are read again."""
_LOOK_AGAIN_S = 1.0
_SHOWN = 10


def mark_of(machine: Machine, env: Env) -> OwnerMark:
    """Return the mark that the machine's VM has to bear."""
    return OwnerMark(
        installation=env.installation,
        kind="Machine",
        uid=machine.metadata.uid,
        instance_uuid=machine.metadata.uid,
        epoch=machine.metadata.epoch,
        cluster=machine.metadata.owner.uid if machine.metadata.owner else "",
    )


def bears_mark(vm: VM, machine: Machine) -> bool:
    """Tell whether UUID and mark agree, and the mark's epoch is not an older one."""
    is_older = vm.owner is not None and vm.owner.epoch < machine.metadata.epoch
    return vm.identity_intact and not is_older


def assigned() -> Step[R, Env]:
    """Return the first step of everything that belongs to a cluster, teardown included."""
    return Step("Assigned", _ensure_assigned)


async def _ensure_assigned(resource: Resource, env: Env) -> Outcome:
    """Go on only if the cluster is this gateway's; from then on each effect is checked."""
    subject = await _subject_of(resource, env)
    if subject is None:
        return DONE
    uid, account = subject
    assignment = await env.store.find(Assignment, "", assignment_name(Cluster.kind_name(), uid))
    if assignment is None:
        if isinstance(resource, Cluster) and not resource.is_deleting:
            return wait("NotAssigned", f"no assignment gives the cluster to gateway {env.gateway}")
        return DONE
    own = assignment.spec.epoch
    vcenter = env.accounts.get(account)
    if vcenter is not None and (seen := vcenter.marks.highest_seen(uid)) > own:
        assignment = await _supersede(assignment, seen, env)
    if (held := _held(assignment, env)) is not None:
        if isinstance(resource, Cluster):
            _say_superseded(resource, assignment, env)
        return held
    if assignment.status.acknowledged_epoch < own and own == 1:
        assignment.status.acknowledged_epoch = own
        await env.store.put_status(assignment)
    if assignment.status.acknowledged_epoch < own and not isinstance(resource, Cluster):
        return wait("NotFenced", "the cluster was taken over; its VMs get this gateway's epoch")
    held_lease = lease.current()
    if held_lease is not None:
        held_lease.before_effect = partial(_check_epoch, assignment, account, env)
    return DONE


def _held(assignment: Assignment, env: Env) -> Outcome | None:
    spec = assignment.spec
    higher = assignment.status.stopped_by(spec.epoch)
    if spec.gateway != env.gateway:
        return wait("NotAssigned", f"the cluster is assigned to gateway {spec.gateway}")
    if higher is not None:
        return wait(SUPERSEDED, _superseded(spec.epoch, higher))
    if spec.moving_to is not None:
        return wait(
            "Moving",
            f"moves to gateway {spec.moving_to}: nothing is done here until it is there, or "
            "the move is cancelled",
        )
    return None


def _superseded(own: int, higher: int) -> str:
    return (
        f"another gateway took the cluster over (epoch {higher}, {own} here): nothing is done "
        "here any more, neither in vCenter nor in the cluster, and nothing is deleted. These "
        "copies go when the hub says so"
    )


def _say_superseded(cluster: Cluster, assignment: Assignment, env: Env) -> None:
    own = assignment.spec.epoch
    higher = assignment.status.stopped_by(own)
    if higher is not None:
        cluster.status.set_condition(
            SUPERSEDED,
            "True",
            "HigherEpoch",
            _superseded(own, higher),
            now=env.clock.now(),
            generation=cluster.metadata.generation,
        )


async def _check_epoch(assignment: Assignment, account: str, env: Env) -> None:
    """Raise ``LeaseLostError`` when vCenter shows that the cluster was taken over."""
    vcenter = env.accounts.get(account)
    if vcenter is None:
        return
    spec = assignment.spec
    seen = await vcenter.marks.highest_epoch(spec.subject_uid, max_age_s=_FRESH_S)
    if seen > spec.epoch:
        await _supersede(assignment, seen, env)
        raise LeaseLostError(_superseded(spec.epoch, seen))


async def _supersede(assignment: Assignment, seen: int, env: Env) -> Assignment:
    """Store for good that another gateway took over; a later assignment to this one ends it."""
    async with env.store.transaction() as store:
        found = await store.get(Assignment, *assignment.key)
        if seen > max(found.spec.epoch, found.status.superseded_epoch):
            found.status.superseded_epoch = seen
            await store.put_status(found)
    return found


async def _subject_of(resource: Resource, env: Env) -> tuple[str, str] | None:
    """Return UID and account of the cluster that a resource belongs to."""
    if isinstance(resource, Cluster):
        return resource.metadata.uid, resource.spec.account
    owner = resource.metadata.owner
    if isinstance(resource, Machine):
        return (owner.uid, resource.spec.account) if owner is not None else None
    if owner is not None and owner.kind == Machine.kind_name():
        machine = await env.store.find_uid(Machine, owner.uid)
        owner = machine.metadata.owner if machine is not None else None
    cluster = await env.store.find_uid(Cluster, owner.uid) if owner is not None else None
    return (cluster.metadata.uid, cluster.spec.account) if cluster is not None else None


@step("EpochWritten")
async def ensure_epoch_written(cluster: Cluster, env: Env) -> Outcome:
    """Before anything else under a higher epoch: write it into every VM of the cluster."""
    name = assignment_name(Cluster.kind_name(), cluster.metadata.uid)
    assignment = await env.store.find(Assignment, "", name)
    if assignment is None or assignment.spec.epoch == 1:
        return DONE
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None or not vcenter.marks.is_complete:
        return wait(
            "AccountNotReady",
            f"cloud account {cluster.spec.account} is not connected, or not yet read completely",
            after=_LOOK_AGAIN_S,
        )
    machines = await machines_of(env, cluster)
    _say_unknown(cluster, machines, vcenter, env)
    if assignment.status.acknowledged_epoch >= assignment.spec.epoch:
        return DONE
    waits = await _write_epoch(machines, vcenter, env)
    if waits is not None:
        return waits
    assignment.status.acknowledged_epoch = assignment.spec.epoch
    await env.store.put_status(assignment)
    return DONE


async def _write_epoch(machines: list[Machine], vcenter: VCenter, env: Env) -> Outcome | None:
    """Start to write the mark into each VM that lacks it; ``None`` when all bear it."""
    without = 0
    for machine in machines:
        task = machine.status.clone_task
        if task is not None and machine.status.vm is None:
            running = vcenter.task(task, machine.metadata.uid)
            if running is not None and running.state is TaskState.RUNNING:
                return wait("Cloning", f"vCenter task {task} ends first", after=_LOOK_AGAIN_S)
        match vcenter.find(machine.metadata.uid, moref=machine.status.vm):
            case Unknown(why=why, reason=reason):
                return wait(reason, why, after=_LOOK_AGAIN_S)
            case Found(vm=vm) if not bears_mark(vm, machine):
                await vcenter.set_identity(vm, mark_of(machine, env))
                without += 1
    if not without:
        return None
    return wait(
        "WritingEpoch",
        f"this gateway's epoch is written into {without} of {len(machines)} VMs",
        after=_LOOK_AGAIN_S,
    )


def _say_unknown(cluster: Cluster, machines: list[Machine], vcenter: VCenter, env: Env) -> None:
    """Name the VMs of the cluster that no Machine stands for: they are only shown."""
    known = {machine.metadata.uid for machine in machines}
    unknown = [
        vm.name
        for vm in vcenter.marks.of_cluster(cluster.metadata.uid)
        if vm.owner is not None and vm.owner.uid not in known
    ]
    if not unknown and cluster.status.condition(ADOPTION_NEEDED) is None:
        return
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    cluster.status.set_condition(
        ADOPTION_NEEDED,
        "True" if unknown else "False",
        "UnknownMachines" if unknown else "Done",
        "the gateway before made these VMs and the hub never heard of them; they are not "
        f"touched, look at each and remove it by hand: {', '.join(unknown[:_SHOWN])}{more}"
        if unknown
        else "",
        now=env.clock.now(),
        generation=cluster.metadata.generation,
    )
