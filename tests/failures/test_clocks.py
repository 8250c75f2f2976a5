"""Hub or gateway is two hours off, at its start and by a jump: nothing is lost, all heals."""

from datetime import timedelta
from typing import Any

import pytest

from tests.failures.shifted import LIBRARY, WHY_NOT, restart_gateway, restart_hub
from tests.failures.world import PATIENCE_S, assert_clean, await_ready, delete, seen, vms
from tests.faults.site import GATEWAY, Site

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(420),
    pytest.mark.skipif(LIBRARY is None, reason=WHY_NOT),
]
BOTH_WAYS = pytest.mark.parametrize(
    "shift", [timedelta(hours=2), timedelta(hours=-2)], ids=["ahead", "behind"]
)
RIGHT = timedelta()


@BOTH_WAYS
def test_a_gateway_makes_nothing_while_its_clock_is_off(site: Site, shift: timedelta) -> None:
    site.apply("before", 0)
    await_ready(site, "before", 1)
    running = vms(site)

    gateway = restart_gateway(site, shift)
    site.apply("new", 0)
    await_reason(site, "accounts", "lab", "Ready", "ClockSkewed")
    await_reason(site, "clusters", "new", "Ready", "ClockSkewed")
    await_reason(site, "gateways", GATEWAY, "ClockAgrees", "ClockSkewed")
    assert vms(site) == running
    delete(site, "before")
    assert not vms(site)

    gateway.set(RIGHT)
    await_ready(site, "new", 1)
    running = vms(site)

    # Now it jumps while it runs, the other way.
    gateway.set(-shift)
    site.apply("new", 1)
    site.until(
        lambda: any(
            one["reason"] == "ClockSkewed" for one in site.conditions("Machine", "VMCreated")
        ),
        "the new machine waits for the clock",
        PATIENCE_S,
    )
    assert vms(site) == running

    gateway.set(RIGHT)
    await_ready(site, "new", 2)
    await_reason(site, "accounts", "lab", "Ready", "Done")
    assert running.items() <= vms(site).items()
    delete(site, "new")
    assert_clean(site)
    assert gateway.deaths == 0


@BOTH_WAYS
def test_a_hub_whose_clock_is_off_locks_nobody_out(site: Site, shift: timedelta) -> None:
    site.apply("before", 0)
    await_ready(site, "before", 1)
    running = vms(site)

    hub = restart_hub(site, shift)
    for at in (shift, -shift, RIGHT):
        hub.set(at)
        # The session of before holds, and so does a new one; requests are carried out.
        site.ask("clusters", "list")
        log_in_again(site)
        name = "right" if at == RIGHT else "ahead" if at > RIGHT else "behind"
        site.ask("clusters", "kubeconfig", "before", "--file", str(site.folder / name))
        site.apply(name, 0)
        await_ready(site, name, 1)
        delete(site, name)
        assert vms(site) == running
    entries = seen(site, "audit", "list", "--limit", "500")
    numbers = [int(entry["id"]) for entry in entries]
    assert numbers == sorted(numbers)
    times = [entry["at"] for entry in entries]
    assert times != sorted(times), "the clock went back, the order did not"
    delete(site, "before")
    assert_clean(site)
    assert hub.deaths == 0


def log_in_again(site: Site) -> None:
    site.ask(
        "login", f"https://127.0.0.1:{site.port}",
        "--ca-file", str(site.hub.data / "ca.crt"),
        "--password-file", str(site.hub.data / "initial-admin-password"),
    )  # fmt: skip


def await_reason(site: Site, noun: str, name: str, of_type: str, reason: str) -> None:
    """Wait until a condition of something at the hub has that reason."""

    def has_reason() -> bool:
        found: dict[str, Any] = seen(site, noun, "describe", name) or {"status": {}}
        claims = found["status"].get("conditions", ())
        return any(one["type"] == of_type and one["reason"] == reason for one in claims)

    site.until(has_reason, f"{noun} {name}: {of_type} is {reason}", PATIENCE_S)
