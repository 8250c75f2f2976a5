"""A gateway whose clock is off: nothing is made that would not hold, and all goes on by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from moorage.resources import (
    CloudAccount,
    Cluster,
    ClusterKeys,
    Machine,
    Metadata,
    Operation,
    Resource,
)
from moorage.resources.operation import OperationSpec, Verb
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, delete_all, powered_on, reason

HOURS = timedelta(hours=2)


def clones(world: World) -> int:
    found: int = world.vcenter.control.counters()["calls"].get("CloneVM_Task", 0)
    return found


def reason_text(resource: Resource) -> str:
    found = resource.status.condition("Ready")
    return str(found.message) if found else ""


@pytest.mark.parametrize("shift", [HOURS, -HOURS], ids=["ahead", "behind"])
async def test_nothing_is_made_until_the_clock_is_right(world: World, shift: timedelta) -> None:
    clock = await world.restart_with_clock(shift)
    await ask_all(world)
    (cluster,) = await world.until(
        Cluster, lambda c: reason(c[0]) == "ClockSkewed", "the cluster says so"
    )
    (account,) = await world.until(
        CloudAccount, lambda a: reason(a[0]) == "ClockSkewed", "the account says so"
    )
    way = "ahead of" if shift > timedelta() else "behind"
    for one in (cluster, account):
        assert f"the clock of this gateway is 120 min {way} vCenter" in reason_text(one)
    assert await world.store.list(ClusterKeys) == []
    assert clones(world) == 0

    clock.shift = timedelta()

    await world.until(Machine, powered_on(3), "three machines are powered on")
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    assert clones(world) == 3


async def test_a_clock_that_is_set_holds_new_machines_and_no_old_ones(world: World) -> None:
    clock = await world.restart_with_clock(timedelta())
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    cluster = await ask_all(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")

    clock.shift = HOURS
    bigger = await world.store.get(Cluster, *cluster.key)
    bigger.spec.control_plane.replicas = 3
    await world.ask(bigger)

    def held(machines: list[Machine]) -> bool:
        return sum(1 for m in machines if reason(m, "VMCreated") == "ClockSkewed") == 2

    machines = await world.until(Machine, held, "two machines wait for the clock")
    assert sum(1 for m in machines if m.status.is_true("PoweredOn")) == 3
    await world.until(Cluster, lambda c: reason(c[0]) == "ClockSkewed", "the cluster says so")
    assert clones(world) == 3

    # What is there may still go, whatever the clock shows.
    await delete_all(world, await world.store.get(Cluster, *cluster.key))
    assert world.vms() == []
    assert clones(world) == 3


async def test_a_request_ends_by_the_clock_of_the_hub_that_set_its_end(world: World) -> None:
    await world.restart_with_clock(HOURS)
    real = datetime.now(UTC)
    world.hub_clock.heard(real, since=world.clock.steady())

    for name, left in (("late", -timedelta(minutes=10)), ("timely", timedelta(minutes=10))):
        spec = OperationSpec(
            verb=Verb.DELETE, subject_kind="Machine", subject_name="none", expires_at=real + left
        )
        await world.ask(Operation(metadata=Metadata(name=name, project="default"), spec=spec))
    found = await world.until(
        Operation, lambda o: len(o) == 2 and all(x.status.completed_at for x in o), "both ended"
    )

    said = {one.metadata.name: str(one.status.message) for one in found}
    assert "expired" in said["late"]
    assert "expired" not in said["timely"]
