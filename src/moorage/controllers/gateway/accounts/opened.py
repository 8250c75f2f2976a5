"""What the steps of an account share: its open session, and waking who waited for a condition."""

from moorage.controllers.gateway.env import Env
from moorage.kit.errors import DeferredError
from moorage.resources import CloudAccount
from moorage.vsphere import VCenter


def opened(account: CloudAccount, env: Env) -> VCenter:
    """Return the account's vCenter; raises ``DeferredError`` while its session is closed."""
    vcenter = env.accounts.get(account.metadata.name)
    if vcenter is None:
        raise DeferredError("NotConnected", "the session was closed; it is opened again", 1)
    return vcenter


def wake_if_healed(account: CloudAccount, condition: str, reason: str, env: Env) -> None:
    """Wake the machines if the account's condition, which holds now, was false for that reason."""
    before = account.status.condition(condition)
    if before is not None and before.reason == reason:
        env.wake_machines()
