"""The manager: what makes it look, how much at once, and how it starts and stops."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from moorage.engine import (
    DONE,
    RESYNC,
    Controller,
    HeldLease,
    Manager,
    NotSettledError,
    Outcome,
    Result,
    Watch,
    manager,
    wait,
)
from moorage.engine.step import Context
from moorage.kit.clock import FakeClock
from moorage.resources import IPPool, Metadata, Project, Resource
from moorage.store import SqlStore, open_store
from tests.builders import an_ip_pool
from tests.engine.world import World, a_controller, a_manager, a_project, fake


@asynccontextmanager
async def running(managed: Manager) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(managed.run)
        yield
        tasks.cancel_scope.cancel()


async def until(store: SqlStore, holds: Callable[[], bool]) -> None:
    """Wait, by the loop's turns, until something holds."""
    with anyio.fail_after(20):
        while not holds():
            await store.version()  # lets others run, and is no sleep


async def test_everything_is_looked_at_once_at_the_start(sqlite_store: SqlStore) -> None:
    world = World()
    for number in range(3):
        await sqlite_store.create(a_project(f"p{number}"))

    assert await a_manager(sqlite_store, world).settle() == 3

    assert sorted(call for call in world.calls if call.startswith("first")) == [
        "first p0",
        "first p1",
        "first p2",
    ]


async def test_own_status_does_not_make_it_look_again(sqlite_store: SqlStore) -> None:
    turns = 0

    async def count(project: Project) -> Outcome:
        nonlocal turns
        turns += 1
        return wait("Waiting", f"turn {turns}")  # another message each time: status changes

    await sqlite_store.create(a_project())

    assert await a_manager(sqlite_store, World(first=count)).settle() == 1


async def test_resync_looks_again_though_nothing_changed(sqlite_store: SqlStore) -> None:
    world = World()
    managed = a_manager(sqlite_store, world, resync=timedelta(minutes=10))
    await sqlite_store.create(a_project())
    await managed.settle()

    fake(sqlite_store).advance(timedelta(minutes=8))
    assert await managed.settle() == 0
    fake(sqlite_store).advance(timedelta(minutes=4))
    assert await managed.settle() == 1


async def test_watches_make_it_look_at_what_depends(sqlite_store: SqlStore) -> None:
    world = World()
    managed = a_manager(
        sqlite_store, world, watches=(Watch(IPPool, lambda change: [f"/{change.name}-user"]),)
    )
    await sqlite_store.create(a_project("nodes-user"))
    await sqlite_store.create(a_project("other"))
    await managed.settle()
    world.calls.clear()

    pool = await sqlite_store.create(an_ip_pool("nodes"))
    await managed.settle()
    pool.status.free = 7
    await sqlite_store.put_status(pool)  # of another kind, status counts
    await managed.settle()

    assert world.calls == ["first nodes-user", "second nodes-user"] * 2


async def test_what_is_not_selected_is_left_alone(sqlite_store: SqlStore) -> None:
    world = World()
    managed = a_manager(
        sqlite_store, world, select=lambda project: project.spec.description == "ours"
    )
    project = await sqlite_store.create(a_project())
    await managed.settle()
    assert world.calls == []

    project.spec.description = "ours"
    await sqlite_store.put_spec(project)
    await managed.settle()

    assert world.calls == ["first blue", "second blue"]


async def test_controllers_that_never_rest_are_named(sqlite_store: SqlStore) -> None:
    async def restless(_project: Project) -> Outcome:
        return wait("Again", "", after=0)

    await sqlite_store.create(a_project())

    with pytest.raises(NotSettledError, match=r"project /blue \("):
        await a_manager(sqlite_store, World(first=restless)).settle(max_passes=20)


async def test_no_more_passes_run_at_once_than_allowed(sqlite_store: SqlStore) -> None:
    now = most = 0
    three_are_in = anyio.Event()
    world = World()

    async def count(_project: Project) -> Outcome:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 3:
            three_are_in.set()
        await three_are_in.wait()
        await sqlite_store.version()
        now -= 1
        return DONE

    world.first = count
    for number in range(10):
        await sqlite_store.create(a_project(f"p{number}"))
    async with running(a_manager(sqlite_store, world, concurrency=3)):
        await until(
            sqlite_store, lambda: all(f"second p{number}" in world.calls for number in range(10))
        )

    assert most == 3


async def test_a_running_manager_follows_changes(sqlite_store: SqlStore) -> None:
    world = World()
    async with running(a_manager(sqlite_store, world)):
        await sqlite_store.create(a_project("early"))
        await until(sqlite_store, lambda: "second early" in world.calls)
        await sqlite_store.create(a_project("late"))
        await until(sqlite_store, lambda: "second late" in world.calls)


async def test_many_changes_make_one_pass_within_a_pace(sqlite_url: str) -> None:
    store = await open_store(sqlite_url, clock=FakeClock(), exclusive=True)
    world = World()
    try:
        managed = a_manager(store, world, pace=timedelta(seconds=30))
        async with running(managed):
            await store.create(a_project())
            await until(store, lambda: "second blue" in world.calls)
            for _ in range(5):
                managed.trigger("project", "/blue")
                await anyio.sleep(0.01)
            await store.create(a_project("other"))
            await until(store, lambda: "second other" in world.calls)
            assert world.calls.count("second blue") == 1
            fake(store).advance(timedelta(seconds=31))
            await until(store, lambda: world.calls.count("second blue") == 2)
    finally:
        await store.close()


async def is_due_in(store: SqlStore, least: timedelta, most: timedelta) -> bool:
    due = await store.next_due(["project"])
    await store.version()  # lets others run
    return due is not None and least < due - store.clock.now() < most


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_clock_that_is_set_neither_stops_nor_hurries_anything(
    sqlite_url: str, hours: int
) -> None:
    store = await open_store(sqlite_url, clock=FakeClock(), exclusive=True)
    world = World()
    clock = fake(store)
    try:
        await store.create(a_project())
        managed = a_manager(store, world, resync=timedelta(minutes=5), pace=timedelta(seconds=1))
        async with running(managed):
            await until(store, lambda: "second blue" in world.calls)
            world.calls.clear()

            clock.set(timedelta(hours=hours))
            managed.trigger("project", "/blue")
            clock.advance(timedelta(seconds=2))
            await until(store, lambda: world.calls.count("second blue") == 1)

            with anyio.fail_after(20):
                while not await is_due_in(store, timedelta(minutes=4), timedelta(minutes=6)):
                    pass
    finally:
        await store.close()


async def test_triggers_come_from_any_thread(sqlite_store: SqlStore) -> None:
    world = World()
    await sqlite_store.create(a_project())
    managed = a_manager(sqlite_store, world)
    async with running(managed):
        await until(sqlite_store, lambda: "second blue" in world.calls)
        world.calls.clear()
        thread = threading.Thread(target=managed.trigger, args=("project", "/blue"))
        thread.start()
        await until(sqlite_store, lambda: "second blue" in world.calls)
        thread.join()


async def test_a_trigger_during_a_pass_makes_another_pass(sqlite_store: SqlStore) -> None:
    world = World()
    managed = a_manager(sqlite_store, world)

    async def trigger_once(_project: Project) -> Outcome:
        if world.calls.count("first blue") == 1:
            managed.trigger("project", "/blue")
        return DONE

    world.first = trigger_once
    await sqlite_store.create(a_project())

    assert await managed.settle() == 2


async def test_a_trigger_for_no_controller_is_a_slip(sqlite_store: SqlStore) -> None:
    managed = a_manager(sqlite_store, World())

    with pytest.raises(ValueError, match="no controller is called 'machine'"):
        managed.trigger("machine", "/blue")
    with pytest.raises(ValueError, match="no controller is called 'machine'"):
        await managed.enqueue("machine", "/blue")


class Bare:
    """A reconciler without steps: counts its keys, and raises when told."""

    kind: type[Resource] | None = None

    def __init__(self, error: Exception | None = None) -> None:
        self.keys: list[str] = []
        self.error = error

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:
        self.keys.append(key)
        if self.error is not None:
            raise self.error
        return Result("done")


async def test_a_reconciler_may_have_keys_of_its_own(sqlite_store: SqlStore) -> None:
    bare = Bare()
    await sqlite_store.create(a_project())
    watch = Watch(Project, lambda change: [f"of-{change.name}"])
    managed = Manager(
        sqlite_store, [Controller("bare", bare, None, (watch,))], clock=sqlite_store.clock
    )

    await managed.settle()  # known from what it watches
    await managed.enqueue("bare", "asked")
    await managed.settle()

    assert bare.keys == ["of-blue", "asked"]


async def test_a_reconciler_that_raises_is_tried_again_and_harms_nobody(
    sqlite_store: SqlStore,
) -> None:
    world, bare = World(), Bare(RuntimeError("slip"))
    await sqlite_store.create(a_project())
    managed = Manager(
        sqlite_store,
        [Controller("bare", bare, None), a_controller(world)],
        clock=sqlite_store.clock,
    )
    await managed.enqueue("bare", "k")

    await managed.settle()
    fake(sqlite_store).advance(timedelta(seconds=1))
    await managed.settle()

    assert bare.keys == ["k", "k"]
    assert "second blue" in world.calls


async def test_stopping_gives_leases_back_at_once(sqlite_store: SqlStore) -> None:
    stuck = anyio.Event()

    async def block(_project: Project) -> Outcome:
        stuck.set()
        await anyio.sleep_forever()
        return DONE

    await sqlite_store.create(a_project())
    with anyio.fail_after(20):
        async with running(a_manager(sqlite_store, World(first=block))):
            await stuck.wait()

    second = World()
    assert await a_manager(sqlite_store, second).settle() == 1  # no time has gone by
    assert second.calls == ["first blue", "second blue"]


async def test_after_a_kill_a_restart_goes_on_at_once(
    sqlite_url: str, sqlite_store: SqlStore
) -> None:
    """The killed process wrote a resource that it did not enqueue, and held a lease."""
    killed = await open_store(sqlite_url, clock=sqlite_store.clock, exclusive=True)
    await killed.create(a_project("held"))
    await killed.create(a_project("written"))
    await killed.enqueue("project", "/held", killed.clock.now())
    await killed.lease("project", limit=1, ttl=timedelta(seconds=60))
    await killed.close()

    world = World()
    restarted = await open_store(sqlite_url, clock=sqlite_store.clock, exclusive=True)
    await a_manager(restarted, world).settle()
    await restarted.close()

    assert {"first held", "first written"} <= set(world.calls)


async def test_one_unreadable_resource_does_not_stop_the_others(sqlite_store: SqlStore) -> None:
    world = World()
    await sqlite_store.create(a_project("good"))
    await sqlite_store.create(a_project("odd"))
    async with sqlite_store.writing() as unit:  # as a release with other rules left it
        await unit.execute(text("""UPDATE resource SET spec = '{"x": 1}' WHERE name = 'odd'"""))

    await a_manager(sqlite_store, world).settle()

    assert world.calls == ["first good", "second good"]
    assert await sqlite_store.next_due(["project"]) == fake(sqlite_store).now() + timedelta(
        seconds=1
    )


async def test_missed_changes_make_it_look_at_everything(sqlite_store: SqlStore) -> None:
    world = World()
    managed = a_manager(sqlite_store, world)
    for number in range(3):
        await sqlite_store.create(a_project(f"p{number}"))
    await managed.settle()
    world.calls.clear()
    sqlite_store._fanout.publish([RESYNC])

    assert await managed.settle() == 3


async def test_a_full_disk_is_survived(
    sqlite_store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_STORE_PAUSE_S", 0.0)
    world = World()
    async with running(a_manager(sqlite_store, world)):
        await sqlite_store.create(a_project("before"))
        await until(sqlite_store, lambda: "second before" in world.calls)
        await limit_pages(sqlite_store, 1)
        for number in range(40):
            project = a_project(f"p{number}")
            project.metadata.labels = {"l": "x" * 60}
            try:
                await sqlite_store.create(project)
            except Exception:  # noqa: BLE001, S112 - whatever it is, what was stored counts
                continue
        await limit_pages(sqlite_store, 1_000_000)
        stored = [p.metadata.name for p in await sqlite_store.list(Project)]
        assert len(stored) > 1
        await sqlite_store.create(a_project("after"))
        await until(sqlite_store, lambda: {f"first {n}" for n in stored} <= set(world.calls))
        await until(sqlite_store, lambda: "second after" in world.calls)


async def limit_pages(store: SqlStore, most: int) -> None:
    async with store.writing() as unit:
        await unit.execute(text(f"PRAGMA max_page_count = {most}"))


async def test_passes_and_queue_are_counted(sqlite_store: SqlStore) -> None:
    labels = {"controller": "project", "outcome": "done"}

    def passes() -> float:
        return REGISTRY.get_sample_value("moorage_reconcile_seconds_count", labels) or 0.0

    before = passes()
    for number in range(3):
        await sqlite_store.create(Project(metadata=Metadata(name=f"p{number}")))
    await a_manager(sqlite_store, World()).settle()

    assert passes() >= before + 3
    depth = REGISTRY.get_sample_value("moorage_queue_depth", {"controller": "project"})
    assert depth == 0.0


async def test_looking_again_does_not_keep_those_for_whom_something_has_come(
    sqlite_url: str,
) -> None:
    """Twenty look again sooner than one place can serve them: nobody gains from that."""
    world = World()

    async def look(project: Project) -> Outcome:
        await anyio.sleep(0.02)
        if project.metadata.name == "wanted":
            return DONE
        return wait("Waiting", "for nothing that comes", after=0.05)

    world.first = look
    store = await open_store(sqlite_url, exclusive=True)  # on the clock that ticks
    passes_before: list[int] = []
    try:
        await store.create(a_project("wanted"))
        for number in range(20):
            await store.create(a_project(f"p{number}"))
        managed = a_manager(store, world, concurrency=1)
        async with running(managed):
            for turn in range(1, 6):
                await until(store, lambda: len(world.calls) >= 50 * turn)  # noqa: B023
                begun = len(world.calls)
                await managed.enqueue("project", "/wanted")
                await until(store, lambda: "second wanted" in world.calls[begun:])  # noqa: B023
                passes_before.append(world.calls.index("second wanted", begun) - begun)
    finally:
        await store.close()

    assert sorted(passes_before)[2] < 15, "20, were looking again not put off"
