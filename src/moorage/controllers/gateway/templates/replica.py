"""Copy a template to a datastore, once: full clone, snapshot, template; and take it away again."""

from datetime import timedelta
from typing import Final

from moorage.controllers.gateway.env import REPLICA_FINALIZER, Env
from moorage.controllers.gateway.templates.prefetching import is_kept
from moorage.controllers.gateway.templates.sources import NOT_PERMITTED
from moorage.controllers.gateway.vms import look_for_vm, take_away_vm
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import InvalidError, TerminalError
from moorage.resources import Machine, Template, TemplateReplica
from moorage.resources.replica import LABEL_REPLICA
from moorage.vsphere import (
    REPLICA_KIND,
    VM,
    BusyError,
    CloneRequest,
    Found,
    OwnerMark,
    Rank,
    Target,
    Unknown,
    VCenter,
)

IDLE: Final = timedelta(hours=24)
"""How long a replica is kept that no machine needs: the next cluster may come soon."""
LOOK: Final = timedelta(minutes=5)
"""How often the machines of a replica are counted."""
_LOOK_AGAIN_S = 2.0
_TASK_PATIENCE_S = 60.0
_ASK_AGAIN_S = 300.0
_SHOWN = 5


@step("Cloned")
async def ensure_cloned(replica: TemplateReplica, env: Env) -> Outcome:
    """Have a full clone of the template, which bears the replica's UID and owner mark."""
    vcenter = env.accounts.get(replica.spec.account)
    if vcenter is None:
        return _no_account(replica)
    match await look_for_vm(replica, vcenter):
        case Found(vm=vm):
            _record(replica, vm, env)
            if not vm.identity_intact:
                await vcenter.set_identity(vm, _mark_of(replica, env))
                return wait("IdentityLost", "the VM's UUID is another; it is set again")
            return DONE
        case Unknown(why=why, reason=reason):
            return wait(reason, _progress(replica, why), after=_LOOK_AGAIN_S)
    if replica.status.vm is not None:
        return await _give_up(replica, env, "ReplicaGone", "the VM is gone from vCenter")
    return await _clone(replica, vcenter, env)


@step("SnapshotTaken")
async def ensure_snapshot(replica: TemplateReplica, env: Env) -> Outcome:
    """Take the snapshot that linked clones hang on: a template can take none any more."""
    if replica.status.snapshot is not None:
        return DONE
    vcenter, vm = _seen(replica, env)
    if vcenter is None or vm is None:
        return wait("VMNotSeen", "looked for again on the next pass", after=_LOOK_AGAIN_S)
    replica.status.snapshot = await vcenter.replicas.snapshot_of(vm)
    if replica.status.snapshot is not None:
        env.stamp(replica.status.timeline, "SnapshotTaken")
        return DONE
    if vm.template:
        why = "somebody has removed its snapshot, and a template takes no other"
        return await _give_up(replica, env, "SnapshotMissing", why)
    task = await vcenter.replicas.take_snapshot(vm)
    return wait("TakingSnapshot", f"waits for {task}", after=_TASK_PATIENCE_S)


@step("MarkedAsTemplate")
async def ensure_template(replica: TemplateReplica, env: Env) -> Outcome:
    vcenter, vm = _seen(replica, env)
    if vcenter is None or vm is None:
        return wait("VMNotSeen", "looked for again on the next pass", after=_LOOK_AGAIN_S)
    if not vm.template:
        try:
            await vcenter.replicas.mark_as_template(vm)
        except TerminalError as error:
            if error.reason != "NotSupported":  # what vCenter says of one that is a template now
                raise
        return wait("MarkingAsTemplate", "vCenter is about to show it", after=_LOOK_AGAIN_S)
    if "Ready" not in replica.status.timeline:
        env.stamp(replica.status.timeline, "Ready")
        env.index.milestones.add(replica.metadata.uid)  # machines wait for this
    return DONE


@step("Needed")
async def ensure_needed(replica: TemplateReplica, env: Env) -> Outcome:
    """Count the machines that are linked clones of it; without any it goes after a while.

    One that was made beforehand stays for as long as a template asks for that.
    """
    status, now = replica.status, env.clock.now()
    status.machines = len(await env.store.overview(Machine, labels=_users(replica)))
    if status.machines or is_kept(replica.metadata.name, await env.store.list(Template)):
        status.unused_since = None
        return DONE
    status.unused_since = min(status.unused_since or now, now)
    if now - status.unused_since >= env.replica_idle:
        await env.store.request_deletion(TemplateReplica, *replica.key)
        return wait("Unused", f"no machine has needed it for {env.replica_idle}: it is deleted")
    return DONE


@step("Unused")
async def ensure_unused(replica: TemplateReplica, env: Env) -> Outcome:
    """Look once more that nothing hangs on its disks: our machines, then whatever vCenter shows."""
    count = len(await env.store.overview(Machine, labels=_users(replica)))
    if count:
        return wait("InUse", f"{count} machines are linked clones of it", after=_ASK_AGAIN_S)
    if replica.status.is_true("Unused"):
        return DONE
    vcenter, vm = _seen(replica, env)
    if vcenter is None:
        return _no_account(replica)
    if vm is None:
        return DONE  # whether it is really gone is proven by the next step
    users = await vcenter.replicas.users(vm)
    if users:
        more = f" and {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
        return wait(
            "DiskChainInUse",
            f"the disks of these VMs hang on its disks, so it stays: {', '.join(users[:_SHOWN])}"
            f"{more}. They are not machines of this gateway: remove them, or clone them in full",
            after=_ASK_AGAIN_S,
        )
    return DONE


@step("VMDestroyed")
async def ensure_no_vm(replica: TemplateReplica, env: Env) -> Outcome:
    vcenter = env.accounts.get(replica.spec.account)
    if vcenter is None:
        return _no_account(replica)
    return await take_away_vm(replica, vcenter)


async def _clone(replica: TemplateReplica, vcenter: VCenter, env: Env) -> Outcome:
    spec, status = replica.spec, replica.status
    if spec.host is not None and (why := vcenter.estate.out_of_service(spec.host)):
        return await _give_up(replica, env, "HostOutOfService", f"the host chosen for it is {why}")
    try:
        target = await vcenter.resolve(_target(replica))
    except InvalidError as error:
        raise TerminalError("PlacementInvalid", str(error)) from error
    if (target.template.digest, target.datastore) != (spec.digest, spec.datastore_ref):
        why = "the template, or the datastore, is another one than when the copy was asked for"
        return await _give_up(replica, env, "TemplateChanged", why)
    status.size_bytes = target.template.committed_bytes
    missing = await vcenter.replicas.missing_privileges(target.folder)
    if missing:
        return wait(
            NOT_PERMITTED,
            f"the account lacks {', '.join(missing)} on VM folder {spec.folder}: grant them (see "
            f"`moorage accounts roles {spec.account}`), or full clones are made",
            after=_ASK_AGAIN_S,
        )
    request = CloneRequest(
        uid=replica.metadata.uid,
        name=replica.metadata.name,
        target=target,
        mark=_mark_of(replica, env),
        host=spec.host,
        mode="full",
        rank=Rank.FIRST_CONTROL_PLANE,
    )
    if (why_busy := vcenter.ask_to_clone(request)) is not None:
        return wait("ClonesInFlight", why_busy, after=_TASK_PATIENCE_S)
    try:
        task = await vcenter.clone(request)
    except BusyError as error:
        return wait("ClonesInFlight", str(error), after=_TASK_PATIENCE_S)
    status.clone_task, status.clone_failed = task.moref, False
    env.stamp(status.timeline, "CloneStarted")
    return wait("Cloning", _progress(replica, f"waits for {task}"), after=_TASK_PATIENCE_S)


async def _give_up(replica: TemplateReplica, env: Env, reason: str, why: str) -> Outcome:
    """Have it taken away; who needs one asks for another."""
    await env.store.request_deletion(TemplateReplica, *replica.key)
    env.index.milestones.add(replica.metadata.uid)
    return wait(reason, f"{why}: another one is made when a machine needs it")


def _target(replica: TemplateReplica) -> Target:
    spec = replica.spec
    return Target(
        datacenter=spec.datacenter,
        folder=spec.folder,
        template=spec.template,
        compute_cluster=spec.compute_cluster,
        resource_pool=spec.resource_pool,
        datastore=spec.datastore,
        network=spec.network,
        storage_policy=spec.storage_policy,
        path="spec.placement",
    )


def _mark_of(replica: TemplateReplica, env: Env) -> OwnerMark:
    return OwnerMark(installation=env.installation, kind=REPLICA_KIND, uid=replica.metadata.uid)


def _users(replica: TemplateReplica) -> dict[str, str]:
    return {LABEL_REPLICA: replica.metadata.name}


def _seen(replica: TemplateReplica, env: Env) -> tuple[VCenter | None, VM | None]:
    vcenter = env.accounts.get(replica.spec.account)
    seen = (
        vcenter.find(replica.metadata.uid, moref=replica.status.vm) if vcenter is not None else None
    )
    return vcenter, seen.vm if isinstance(seen, Found) else None


def _record(replica: TemplateReplica, vm: VM, env: Env) -> None:
    replica.status.vm, replica.status.host = vm.moref, vm.host
    env.stamp(replica.status.timeline, "Cloned")


def _no_account(replica: TemplateReplica) -> Outcome:
    return wait(
        "AccountNotReady", f"cloud account {replica.spec.account} is not connected", after=30
    )


def _progress(replica: TemplateReplica, why: str) -> str:
    size, since = replica.status.size_bytes, replica.status.timeline.get("CloneStarted")
    if size is None or since is None:
        return why
    return f"{size / 1024**3:.1f} GiB are copied to {replica.spec.datastore} since {since}: {why}"


REPLICA = StepReconciler(
    kind=TemplateReplica,
    steps=(ensure_cloned, ensure_snapshot, ensure_template, ensure_needed),
    teardown=(ensure_unused, ensure_no_vm),
    finalizer=REPLICA_FINALIZER,
)
