"""Nothing that holds from one moment to another is made for nodes while the moment is in doubt."""

from collections.abc import Iterable

from moorage.controllers.gateway.accounts.opened import opened, wake_if_healed
from moorage.controllers.gateway.env import Env
from moorage.engine import DONE, Outcome, step, wait
from moorage.resources import CloudAccount, Machine

CLOCK_SKEWED = "ClockSkewed"
LOOK_AGAIN_S = 5.0
"""How often the account looks while clocks disagree: costs no call to vCenter, most times."""
MISSED_S = 60.0
"""For those that the account wakes when the clocks agree again."""


@step("ClockAgrees")
async def ensure_clock(account: CloudAccount, env: Env) -> Outcome:
    """Compare our clock with vCenter's; wake the machines when they agree again."""
    disagreement = await opened(account, env).clocks.disagreement()
    if disagreement is not None:
        return wait(
            "ClockSkewed",
            "nothing is cloned, signed or let in until the clocks of gateway and vCenter agree: "
            + disagreement,
            after=LOOK_AGAIN_S,
        )
    wake_if_healed(account, "ClockAgrees", CLOCK_SKEWED, env)
    return DONE


async def clock_disagreement(account: str, env: Env) -> str | None:
    """Say how far our clock and that of the account's vCenter are apart, if too far.

    The account is then looked at too, so that it shows it. Without a connection nobody can tell,
    and ``None`` is returned.
    """
    vcenter = env.accounts.get(account)
    disagreement = await vcenter.clocks.disagreement() if vcenter is not None else None
    if disagreement is not None:
        env.trigger("account", f"/{account}")
    return disagreement


def any_waits_for_clock(machines: Iterable[Machine]) -> bool:
    """Tell whether a machine waits until the clocks agree."""
    conditions = (machine.status.condition("Ready") for machine in machines)
    return any(ready is not None and ready.reason == CLOCK_SKEWED for ready in conditions)
