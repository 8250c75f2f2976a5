"""Sessions are few, and other products have theirs: what happens when vCenter gives no more."""

import anyio
import pytest

from moorage.resources import CloudAccount, Machine
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, delete_all, powered_on, reason
from tests.reconcile.test_survival import assert_each_once, calls, most_sessions, until


async def test_a_process_has_two_sessions_for_an_account_at_most(world: World) -> None:
    cluster = await ask_all(world, control_plane={"replicas": 3})
    await world.until(Machine, powered_on(5), "five machines are powered on")
    await delete_all(world, cluster)
    await world.stop()

    ledger = world.vcenter.control.ledger()
    assert len(ledger.of_kind("Session")) == 1, "one over SOAP all the time"
    assert ledger.of_kind("RestSession"), "tags were read"
    assert most_sessions(world.vcenter) == 2
    assert ledger.of_kind("Session", alive=True) == []
    assert ledger.of_kind("RestSession", alive=True) == []
    await world.start()


async def test_a_vcenter_without_a_free_session_is_said_to_have_none(world: World) -> None:
    vcenter = world.vcenter
    with world._as_somebody():
        vcenter.control.set_limits(sessions=1)

        await ask_all(world, control_plane={"replicas": 3})
        (account,) = await world.until(
            CloudAccount, lambda a: reason(a[0], "Connected") != "NotBegun", "it is said"
        )
        assert "its limit of sessions is reached" in account.status.condition("Connected").message
        vcenter.control.reset_counters()
        await anyio.sleep(6)
        assert calls(vcenter, "RetrieveServiceContent", "Login") <= 12, "pauses grow"

    machines = await world.until(Machine, powered_on(5), "it goes on when somebody has left")
    assert_each_once(vcenter, machines)


@pytest.mark.parametrize("way", ["status", "fail"])
async def test_machines_that_wait_for_a_session_do_not_pile_up_logins(
    world: World, way: str
) -> None:
    vcenter = world.vcenter
    vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 0.5})
    await ask_all(world, control_plane={"replicas": 5})
    await until(lambda: calls(vcenter, "CloneVM_Task") >= 1, "the first is being cloned")
    vcenter.control.fault("Login", way, fault="SystemError" if way == "fail" else "", count=-1)
    vcenter.control.expire_sessions()

    (account,) = await world.until(
        CloudAccount, lambda a: reason(a[0], "Connected") == "Unavailable", "it is said"
    )
    vcenter.control.reset_counters()
    await anyio.sleep(6)

    assert "session" in account.status.condition("Connected").message
    assert calls(vcenter, "Login") <= 10, "one at a time, and the stream, with pauses"
    vcenter.control.clear_faults()
    machines = await world.until(Machine, powered_on(7), "it goes on by itself")
    assert_each_once(vcenter, machines)
