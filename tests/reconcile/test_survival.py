"""What befalls a vCenter while machines are made: none is lost, none is made twice."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from moorage.resources import CloudAccount, Machine
from moorage.resources.account import Trust
from moorage.vsphere import Endpoint, Limits
from moorage.vsphere.types import OWNER_KEY
from moorage.vsphere.wire import server_fingerprint
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster, an_ip_pool
from tests.reconcile.conftest import PATIENCE_S, World
from tests.reconcile.test_accounts import give_password, logins
from tests.reconcile.test_machines import ask_all, powered_on, reason

LIMITS = Limits(read_s=5, effect_s=5, stream_wait_s=2)
"""So that what is never answered is given up in the time of a test."""


@pytest.fixture
async def world(vcenter: VCenterProcess, tmp_path: Path) -> AsyncIterator[World]:
    async with World.running(vcenter, tmp_path, limits=LIMITS) as world:
        yield world


def expire(vcenter: VCenterProcess) -> None:
    vcenter.control.expire_sessions()


def restart(vcenter: VCenterProcess) -> None:
    vcenter.control.restart(2)


def lose_token(vcenter: VCenterProcess) -> None:
    vcenter.control.fault("WaitForUpdatesEx", "fail", fault="InvalidCollectorVersion", count=3)


def stall(vcenter: VCenterProcess) -> None:
    for method in ("WaitForUpdatesEx", "CloneVM_Task", "PowerOnVM_Task", "RetrievePropertiesEx"):
        vcenter.control.fault(method, "stall")


def turn_away(vcenter: VCenterProcess) -> None:
    vcenter.control.fault("*", "status", count=6)


def turn_away_for_a_while(vcenter: VCenterProcess) -> None:
    vcenter.control.fault("*", "status", count=3, retry_after=2)


def renew_certificate(vcenter: VCenterProcess) -> None:
    vcenter.control.new_certificate(seconds=1)


@pytest.mark.parametrize(
    "befall",
    [expire, restart, lose_token, stall, turn_away, turn_away_for_a_while, renew_certificate],
)
async def test_machines_are_made_all_and_once(
    world: World, befall: Callable[[VCenterProcess], None]
) -> None:
    vcenter = world.vcenter
    vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 0.5})
    await ask_all(world, control_plane={"replicas": 3})
    await until(lambda: calls(vcenter, "CloneVM_Task") >= 1, "the first is being cloned")

    befall(vcenter)

    machines = await world.until(Machine, powered_on(5), "five machines are powered on")
    assert_each_once(vcenter, machines)
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    assert logins(world) <= 3
    assert most_sessions(vcenter) <= 2


async def until(claim: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.05)


def calls(vcenter: VCenterProcess, *methods: str) -> int:
    counted = vcenter.control.counters()["calls"]
    return sum(counted.get(method, 0) for method in methods or counted)


def assert_each_once(vcenter: VCenterProcess, machines: list[Machine]) -> None:
    """Ask the lab's account of all that was ever made."""
    ledger = vcenter.control.ledger()
    assert ledger.duplicates(OWNER_KEY) == []
    assert ledger.stray_files() == []
    alive = {vm.name for vm in ledger.of_kind("VirtualMachine", alive=True)}
    assert alive == {machine.metadata.name for machine in machines}


def most_sessions(vcenter: VCenterProcess) -> int:
    """Return how many sessions were open at the same time, over SOAP and REST together."""
    ledger = vcenter.control.ledger()
    lives = [one for kind in ("Session", "RestSession") for one in ledger.of_kind(kind)]
    return max(
        sum(other.made <= one.made and one.overlaps(other) for other in lives) for one in lives
    )


# Sent away: how often it is tried


def is_away(accounts: list[CloudAccount]) -> bool:
    """Tell whether an account says that its vCenter does not serve: either step may be first."""
    return reason(accounts[0]) in ("Unavailable", "VCenterAiling")


async def test_a_vcenter_that_asks_to_be_left_alone_is_left_alone(world: World) -> None:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.fault("*", "status", count=-1, retry_after=300)

    await ask_all(world)
    (account,) = await world.until(CloudAccount, is_away, "it is said")
    world.vcenter.control.reset_counters()
    await anyio.sleep(5)

    said = account.status.condition("Ready").message
    assert "HTTP 503" in said or "left alone for 300 s" in said
    assert calls(world.vcenter) <= 1, "a wait that was under way may have ended"
    world.vcenter.control.clear_faults()


async def test_a_vcenter_that_is_starting_is_asked_seldom(world: World) -> None:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.fault("*", "status", count=-1)

    cluster = await ask_all(world, control_plane={"replicas": 3})
    await world.until(CloudAccount, is_away, "it is said")
    world.vcenter.control.reset_counters()
    await anyio.sleep(8)

    assert calls(world.vcenter) <= 12, "one call at a time, and the stream, with pauses"
    world.vcenter.control.clear_faults()
    machines = await world.until(Machine, powered_on(5), "they are made after all")
    assert_each_once(world.vcenter, machines)
    assert cluster.metadata.name == "demo"


# Refused: what is said, and what is not done


async def test_another_certificate_is_refused_and_both_fingerprints_are_said(
    world: World,
) -> None:
    vcenter = world.vcenter
    asked = Endpoint(vcenter.address, vcenter.user)
    before = server_fingerprint(asked, 10)
    await ask_all(world, control_plane={"replicas": 3})
    await until(lambda: calls(vcenter, "CloneVM_Task") >= 1, "the first is being cloned")
    found = await world.store.get(CloudAccount, "", "lab")
    assert found.status.certificate == before

    authority = vcenter.control.new_certificate(new_authority=True)
    shown = server_fingerprint(asked, 10)
    assert shown != before
    for _ in ("while it works", "after a restart of the gateway"):
        (found,) = await world.until(CloudAccount, is_untrusted, "it is refused")
        vcenter.control.reset_counters()
        message = found.status.condition("Connected").message
        assert str(before) in message
        assert str(shown) in message
        assert "compare the new one beside vCenter" in message
        assert found.status.certificate == before
        await world.stop()
        assert calls(vcenter) == 0, "nothing was sent"
        await world.start()

    trust = Trust(ca_bundle=authority.read_text())
    await world.ask_account(trust=trust)
    machines = await world.until(Machine, powered_on(5), "it goes on with the new trust")
    assert_each_once(vcenter, machines)
    await world.until(
        CloudAccount, lambda a: a[0].status.certificate == shown, "the new one is noted"
    )


def is_untrusted(accounts: list[CloudAccount]) -> bool:
    return reason(accounts[0], "Connected") == "UntrustedCertificate"


async def test_a_changed_password_costs_one_failed_login(world: World) -> None:
    vcenter = world.vcenter
    account = await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    vcenter.control.set_password(vcenter.user, "another")
    vcenter.control.reset_counters()
    vcenter.control.expire_sessions()

    await ask_all_but_the_account(world)
    (found,) = await world.until(
        CloudAccount, lambda a: reason(a[0], "Connected") == "Forbidden", "it is refused"
    )
    await anyio.sleep(5)

    assert "refused the login" in found.status.condition("Connected").message
    assert calls(vcenter, "Login") == 1
    assert vcenter.control.counters()["sessions"]["logins"] == 0
    assert world.vms() == []

    await give_password(world, account, "another")
    machines = await world.until(Machine, powered_on(3), "it goes on with the new password")
    assert calls(vcenter, "Login") == 2
    assert_each_once(vcenter, machines)


async def test_accounts_of_one_vcenter_do_not_disturb_each_other(world: World) -> None:
    vcenter, other = world.vcenter, "administrator@vsphere.local"
    await world.ask_account("well")
    await world.ask_account("ill", username=other)
    await world.until(
        CloudAccount,
        lambda found: len(found) == 2 and all(one.status.is_true("Ready") for one in found),
        "both accounts are ready",
    )
    vcenter.control.set_password(other, "another")
    vcenter.control.reset_counters()
    vcenter.control.expire_sessions()
    await world.ask(an_ip_pool())
    for name in ("ill", "well"):
        await world.ask_cluster(a_cluster(name, account=name))

    machines = await world.until(
        Machine,
        lambda found: powered_on(1)([one for one in found if one.spec.account == "well"]),
        "the other account works",
    )
    found = await world.until(
        CloudAccount,
        lambda found: {reason(one, "Connected") for one in found} == {"Done", "Forbidden"},
        "one of both is refused",
    )
    assert {one.metadata.name for one in found if one.status.is_true("Ready")} == {"well"}
    assert calls(vcenter, "Login") == 2, "one for each"
    assert_each_once(vcenter, [one for one in machines if one.spec.account == "well"])


async def ask_all_but_the_account(world: World) -> None:
    await world.ask(an_ip_pool())
    await world.ask_cluster(a_cluster(control_plane={"replicas": 3}))
