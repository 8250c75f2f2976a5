"""The deletion brake: what it lets pass, what it holds, and how a person lets go of it."""

from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO

import pytest

from moorage.controllers.gateway.brake import DeletionBrake, approve, held_deletions
from moorage.gateway.deletions import approve_held
from moorage.gateway.identity import DataDir, EnrollmentRecord
from moorage.kit.clock import FakeClock
from moorage.kit.errors import InvalidError
from moorage.kit.ids import new_uid
from moorage.resources import Cluster, Machine
from moorage.store import SqlStore, audit
from tests.builders import a_cluster, a_machine
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, delete_all, powered_on, reason


async def a_made_machine(store: SqlStore, name: str, cluster: Cluster | None = None) -> Machine:
    machine = a_machine(name=name)
    machine.metadata.uid = new_uid()
    machine.metadata.owner = cluster.owner() if cluster else None
    machine = await store.create(machine)
    machine.status.vm = f"vm-{name}"
    await store.put_status(machine)
    return await store.get(Machine, *machine.key)


def a_brake(store: SqlStore, clock: FakeClock, clusters: int, machines: int) -> DeletionBrake:
    return DeletionBrake(store, clock, clusters_per_hour=clusters, machines_per_hour=machines)


async def test_an_hour_has_its_number_and_asking_again_costs_none(
    sqlite_store: SqlStore, clock: FakeClock
) -> None:
    brake = a_brake(sqlite_store, clock, 5, 2)
    machines = [await a_made_machine(sqlite_store, f"m-{number}") for number in range(3)]

    for _ in range(3):
        assert await brake.hold_machine(machines[0]) is None
    clock.advance(timedelta(minutes=61))
    assert await brake.hold_machine(machines[1]) is None
    assert await brake.hold_machine(machines[2]) is None
    fourth = await a_made_machine(sqlite_store, "m-4")
    held = await brake.hold_machine(fourth)

    assert held is not None
    assert "moorage-gateway deletions approve" in held


async def test_a_clock_set_forward_does_not_make_an_hour_pass(
    sqlite_store: SqlStore, clock: FakeClock
) -> None:
    brake = a_brake(sqlite_store, clock, 5, 2)
    machines = [await a_made_machine(sqlite_store, f"m-{number}") for number in range(3)]
    for machine in machines[:2]:
        assert await brake.hold_machine(machine) is None

    clock.set(timedelta(hours=2))

    assert await brake.hold_machine(machines[2]) is not None


async def test_once_it_holds_time_alone_does_not_release_it(
    sqlite_store: SqlStore, clock: FakeClock
) -> None:
    brake = a_brake(sqlite_store, clock, 5, 0)
    machine = await a_made_machine(sqlite_store, "m-1")

    assert await brake.hold_machine(machine) is not None
    clock.advance(timedelta(hours=5))
    again = a_brake(sqlite_store, clock, 5, 50)  # a restart, with other settings even
    assert await again.hold_machine(machine) is not None

    await approve(sqlite_store, [machine.metadata.uid], clock.now(), release=True)
    assert await again.hold_machine(machine) is None
    assert await again.hold_machine(await a_made_machine(sqlite_store, "m-2")) is None


async def test_an_approval_by_name_frees_only_what_it_names(
    sqlite_store: SqlStore, clock: FakeClock
) -> None:
    brake = a_brake(sqlite_store, clock, 5, 0)
    one, other = [await a_made_machine(sqlite_store, name) for name in ("m-1", "m-2")]
    assert await brake.hold_machine(one) is not None

    await approve(sqlite_store, [one.metadata.uid], clock.now(), release=False)

    assert await brake.hold_machine(one) is None
    assert await brake.hold_machine(other) is not None


async def test_a_cluster_goes_whole_or_not_at_all(sqlite_store: SqlStore, clock: FakeClock) -> None:
    brake = a_brake(sqlite_store, clock, 5, 3)
    cluster = a_cluster()
    cluster.metadata.finalizers = ["test"]
    cluster = await sqlite_store.create(cluster)
    machines = [await a_made_machine(sqlite_store, f"web-{n}", cluster) for n in range(4)]
    await sqlite_store.request_deletion(Cluster, *cluster.key)
    cluster = await sqlite_store.get(Cluster, *cluster.key)

    assert await brake.hold_machine(machines[0]) is not None, "four are more than three"
    await approve(sqlite_store, [cluster.metadata.uid], clock.now(), release=False)

    assert [await brake.hold_machine(machine) for machine in machines] == [None] * 4


async def test_what_was_never_made_is_not_counted(sqlite_store: SqlStore, clock: FakeClock) -> None:
    brake = a_brake(sqlite_store, clock, 0, 0)
    machine = a_machine(name="m-1")
    machine.metadata.uid = new_uid()

    assert await brake.hold_machine(await sqlite_store.create(machine)) is None


async def test_a_held_cluster_keeps_all_its_machines_until_it_is_approved(world: World) -> None:
    await world.stop()
    world.brake = {"machines_per_hour": 2}
    await world.start()
    cluster = await ask_all(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")

    await world.delete(cluster)
    await world.until(
        Cluster, lambda items: reason(items[0]) == "DeletionHeld", "the cluster is held"
    )
    assert [vm["power"] for vm in world.vms()] == ["poweredOn"] * 3
    held = await held_deletions(world.store)
    assert [one.metadata.name for one in held] == [cluster.metadata.name]

    told = await _approve_as_a_person_would(world, "default/demo")
    assert told == "approved: Cluster default/demo\n"
    await delete_all(world, cluster)
    assert world.vms() == []
    entry, *_ = await audit.list_entries(world.store, kind="Cluster")
    assert (entry.verb, entry.name) == ("approveDeletion", "demo")
    assert entry.actor.startswith("local/")


async def test_what_is_not_held_cannot_be_approved(world: World) -> None:
    with pytest.raises(InvalidError, match=r"not held: default/demo; see .*deletions list"):
        await _approve_as_a_person_would(world, "default/demo")
    with pytest.raises(InvalidError, match=r"either the names .* or --all"):
        await approve_held(data=world.database.parent)


async def _approve_as_a_person_would(world: World, *names: str) -> str:
    data = DataDir(world.database.parent)
    data.save_enrollment(EnrollmentRecord(gateway="site-a", installation="i", hub="https://hub"))
    told = StringIO()
    with redirect_stdout(told):
        await approve_held(*names, data=data.path)
    return told.getvalue()
