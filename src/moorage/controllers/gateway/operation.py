"""One-shot requests: a kubeconfig, a node's logs, one machine less, an account's estate."""

from datetime import timedelta

from moorage.bootstrap import (
    ADMIN_GROUP,
    COLLECT_LOGS,
    REPLY_KEY,
    REQUEST_KEY,
    counter_of,
    parse_reply,
    render_request,
    sign_client,
)
from moorage.controllers.gateway.accounts.clock import LOOK_AGAIN_S, clock_disagreement
from moorage.controllers.gateway.accounts.privileges import target_of
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.fence import assigned
from moorage.controllers.gateway.machines.controlplane import why_kept
from moorage.controllers.gateway.placement.zones import tag_zones
from moorage.controllers.gateway.plans.preflight import preflight
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import ForbiddenError, InvalidError, NotFoundError
from moorage.permissions import wanted_features
from moorage.resources import CloudAccount, Cluster, Machine, Operation
from moorage.resources.estate import EstateArguments, EstateResult
from moorage.resources.kubernetes import Role
from moorage.resources.operation import Verb
from moorage.resources.permission import CheckArguments
from moorage.resources.zones import ZonesArguments
from moorage.vsphere import Found, VCenter

REQUESTED_BY = "moorage.dev/requested-by"
"""Label set by the hub, which knows who asked; users cannot."""
_MAX_TTL = timedelta(days=7)
_DEFAULT_TTL = timedelta(hours=8)


@step("Completed")
async def ensure_completed(operation: Operation, env: Env) -> Outcome:
    status = operation.status
    if status.completed_at is not None:
        return DONE
    expires = operation.spec.expires_at
    if expires is not None and env.hub_now() > expires:
        return _end(operation, env, failed="expired before it could be done; ask again")
    try:
        return await _WORK[operation.spec.verb](operation, env)
    except (InvalidError, NotFoundError) as error:
        return _end(operation, env, failed=str(error))


async def _kubeconfig(operation: Operation, env: Env) -> Outcome:
    cluster = await env.store.get(Cluster, operation.metadata.project, operation.spec.subject_name)
    keys = await env.access.keys(cluster)
    if keys is None or cluster.status.endpoint is None:
        return wait("ClusterNotPrepared", "the cluster has no keys or endpoint yet", after=2)
    skewed = await clock_disagreement(cluster.spec.account, env)
    if skewed is not None:
        return wait("ClockSkewed", f"no certificate is signed yet: {skewed}", after=LOOK_AGAIN_S)
    arguments = operation.spec.arguments
    asked = arguments.get("ttlSeconds")
    ttl = min(timedelta(seconds=float(asked)), _MAX_TTL) if asked else _DEFAULT_TTL
    signed = sign_client(
        keys,
        str(arguments.get("csr", "")),
        operation.metadata.labels.get(REQUESTED_BY, "moorage-user"),
        (ADMIN_GROUP,),
        ttl,
        now=env.clock.now(),
    )
    operation.status.result = {
        "certificate": signed.certificate,
        "ca": keys.ca.certificate,
        "server": f"https://{cluster.status.endpoint}",
    }
    return _end(operation, env)


async def _logs(operation: Operation, env: Env) -> Outcome:
    machine = await env.store.get(Machine, operation.metadata.project, operation.spec.subject_name)
    cluster = await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)
    keys = await env.access.keys(cluster)
    vcenter = env.accounts.get(machine.spec.account)
    seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm) if vcenter else None
    if vcenter is None or keys is None or not isinstance(seen, Found):
        return wait("VMNotSeen", "the machine's VM is not in sight yet", after=2)
    counter = operation.status.result.get("counter")
    if counter is None:
        # Milliseconds rise from request to request, also after a restart; unless the clock is set.
        before = await vcenter.read_extra_config(seen.vm, (REQUEST_KEY,))
        counter = int(env.clock.now().timestamp() * 1000)
        counter = max(counter, counter_of(before.get(REQUEST_KEY)) + 1)
        text = render_request(keys, machine.metadata.uid, counter, COLLECT_LOGS, {})
        await vcenter.set_guestinfo(seen.vm, {REQUEST_KEY: text})
        operation.status.result = {"counter": counter}
        return wait("WaitingForNode", "the request lies in the VM's mailbox", after=1)
    raw = seen.vm.extra.get(REPLY_KEY)
    reply = parse_reply(raw) if raw else None
    if reply is None or reply.counter != counter:
        return wait("WaitingForNode", "the node has not answered yet", after=1)
    if not reply.ok:
        return _end(operation, env, failed=reply.message)
    operation.status.result = {"logs": reply.text}
    return _end(operation, env)


async def _delete(operation: Operation, env: Env) -> Outcome:
    machine = await env.store.get(Machine, operation.metadata.project, operation.spec.subject_name)
    if machine.metadata.uid != operation.spec.subject_uid:
        return _end(operation, env, failed="another machine has this name by now")
    if machine.is_deleting:
        return _end(operation, env)
    if machine.spec.role is Role.CONTROL_PLANE and (why := await why_kept(machine, env)):
        failed = f"control plane {machine.metadata.name} is not replaced now: {why}"
        return _end(operation, env, failed=failed)
    await env.store.request_deletion(Machine, *machine.key)
    return _end(operation, env)


async def _check(operation: Operation, env: Env) -> Outcome:
    name = operation.spec.subject_name
    vcenter = env.accounts.get(name)
    if vcenter is None or not vcenter.marks.is_complete:
        return _no_session(name, vcenter)
    arguments = CheckArguments.model_validate(operation.spec.arguments)
    features = wanted_features(
        arguments.targets,
        zone_tags=arguments.zone_tags,
        template_imports=arguments.template_imports,
        lease_imports=arguments.template_imports_nfc,
    )
    result = await vcenter.access.check([target_of(one) for one in arguments.targets], features)
    result.checks = await preflight(name, operation.metadata.project, arguments, env)
    operation.status.result = result.document()
    return _end(operation, env)


async def _zones(operation: Operation, env: Env) -> Outcome:
    arguments = ZonesArguments.model_validate(operation.spec.arguments)
    account = await env.store.get(CloudAccount, "", operation.spec.subject_name)
    vcenter = env.accounts.get(account.metadata.name)
    if vcenter is None or not vcenter.marks.is_complete:
        return _no_session(account.metadata.name, vcenter)
    try:
        result = await tag_zones(vcenter, account, arguments)
    except ForbiddenError as error:
        return _end(operation, env, failed=str(error))
    operation.status.result = result.document()
    return _end(operation, env)


async def _estate(operation: Operation, env: Env) -> Outcome:
    name = operation.spec.subject_name
    vcenter = env.accounts.get(name)
    if vcenter is None or not vcenter.marks.is_complete:
        return _no_session(name, vcenter)
    arguments = EstateArguments.model_validate(operation.spec.arguments)
    result = EstateResult(datacenters=vcenter.estate.outline(await vcenter.templates()))
    if arguments.measure:
        result.budget = vcenter.health.budget()
        result.capacity = await vcenter.estate.capacity.measure(env.clock.now())
        account = await env.store.get(CloudAccount, "", name)
        account.status.capacity = result.capacity
        await env.store.put_status(account)
    operation.status.result = result.document()
    return _end(operation, env)


def _no_session(account: str, vcenter: VCenter | None) -> Outcome:
    why = vcenter.message if vcenter is not None else f"see `moorage accounts describe {account}`"
    return wait("AccountNotReady", f"cloud account {account} is not connected: {why}", after=1)


def _end(operation: Operation, env: Env, *, failed: str | None = None) -> Outcome:
    operation.status.completed_at = env.clock.now()
    operation.status.failed = failed is not None
    operation.status.message = failed
    return DONE


_WORK = {
    Verb.KUBECONFIG: _kubeconfig,
    Verb.LOGS: _logs,
    Verb.DELETE: _delete,
    Verb.CHECK: _check,
    Verb.ZONES: _zones,
    Verb.ESTATE: _estate,
}

OPERATION = StepReconciler(kind=Operation, steps=(assigned(), ensure_completed))
