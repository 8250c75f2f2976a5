"""Log in to the vCenter of each cloud account, and keep its inventory."""

from datetime import timedelta

import structlog

from moorage.controllers.gateway.accounts.clock import ensure_clock
from moorage.controllers.gateway.accounts.opened import opened, wake_if_healed
from moorage.controllers.gateway.accounts.privileges import ensure_privileges_checked
from moorage.controllers.gateway.env import Env
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import ForbiddenError, TerminalError
from moorage.resources import CloudAccount, Secret, TemplateReplica
from moorage.resources.account import TriedLogin, credentials_digest
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.vsphere import State

log = structlog.get_logger(__name__)

_MAX_TEMPLATES = 200
_REPLICAS_PATIENCE = timedelta(hours=1)
_SYNC_TIMEOUT_S = 20.0


@step("Connected")
async def ensure_connected(account: CloudAccount, env: Env) -> Outcome:
    """Try new credentials, once; the keepers of all replicas use those that were accepted."""
    secret = await env.store.find(Secret, "", account.spec.secret)
    if secret is None:
        return wait(
            "SecretNotFound",
            f"secret {account.spec.secret} is not here: seal the password to this gateway "
            "with `moorage accounts set-password`",
        )
    try:
        password = env.vault.open_password(account, secret)
    except ForbiddenError as error:
        raise TerminalError("SecretNotForThisUse", str(error)) from error
    name, before = account.metadata.name, account.status.login
    credentials = credentials_digest(account, secret)
    if (
        before is not None
        and before.credentials == credentials
        and not before.accepted
        and env.accounts.get(name) is None
    ):
        raise ForbiddenError(before.message)  # said to another replica, or before a restart
    try:
        vcenter = await env.accounts.ensure(account, password)
    except ForbiddenError as error:
        account.status.login = TriedLogin(
            credentials=credentials, accepted=False, message=str(error)
        )
        raise
    account.status.login = TriedLogin(credentials=credentials, accepted=True)
    account.status.api_version = vcenter.api_version
    account.status.product = vcenter.product
    account.status.certificate = vcenter.health.certificate
    account.status.instance_uuid = vcenter.instance_uuid
    return DONE


@step("Responsive")
async def ensure_responsive(account: CloudAccount, env: Env) -> Outcome:
    """Ask an ailing vCenter now and then; wake who waits for it when it answers again."""
    await opened(account, env).health.ensure_responsive()
    wake_if_healed(account, "Responsive", State.AILING, env)
    return DONE


@step("InventorySynced")
async def ensure_synced(account: CloudAccount, env: Env) -> Outcome:
    vcenter = opened(account, env)
    await vcenter.wait_synced(_SYNC_TIMEOUT_S)
    await vcenter.rules.learn()  # known before the first machine has to wait for it
    account.status.templates = [t.path for t in await vcenter.templates()][:_MAX_TEMPLATES]
    return DONE


@step("ReplicasGone")
async def ensure_no_replicas(account: CloudAccount, env: Env) -> Outcome:
    """Take away the copies of templates that were made with the account, before it logs out.

    Where vCenter cannot be asked they are left there after an hour, and only forgotten.
    """
    name, asked = account.metadata.name, account.metadata.deletion_requested_at
    replicas = [one for one in await env.store.list(TemplateReplica) if one.spec.account == name]
    if not replicas:
        return DONE
    vcenter = env.accounts.get(name)
    is_connected = vcenter is not None and vcenter.state is State.CONNECTED
    is_late = asked is not None and env.clock.now() - asked > _REPLICAS_PATIENCE
    for replica in replicas:
        if is_late and not is_connected:
            log.warning("template replica left in vcenter", replica=replica.metadata.name)
            await env.store.delete(replica)
        elif not replica.is_deleting:
            await env.store.request_deletion(TemplateReplica, *replica.key)
    said = [replica.status.condition("Ready") for replica in replicas]
    why = "; ".join(dict.fromkeys(one.message for one in said if one is not None and one.message))
    return wait("DeletingReplicas", f"{len(replicas)} template replicas remain: {why}", after=2)


@step("Disconnected")
async def ensure_disconnected(account: CloudAccount, env: Env) -> Outcome:
    await env.accounts.forget(account.metadata.name)
    return DONE


ACCOUNT = StepReconciler(
    kind=CloudAccount,
    steps=(
        ensure_connected,
        ensure_responsive,
        ensure_synced,
        ensure_clock,
        ensure_privileges_checked,
    ),
    teardown=(ensure_no_replicas, ensure_disconnected),
    finalizer=GATEWAY_FINALIZER,
)
