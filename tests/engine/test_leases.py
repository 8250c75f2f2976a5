"""Two replicas, one store: whoever lost a lease causes no effect and writes nothing."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import pytest

from moorage.engine import DONE, HeldLease, LeaseLostError, Outcome
from moorage.engine.lease import current, hold, set_current
from moorage.kit.clock import FakeClock
from moorage.resources import Project
from moorage.store import SqlStore
from tests.builders import EARLY
from tests.engine.world import World, a_manager, a_project, fake

TTL = timedelta(seconds=60)
DEADLINE = timedelta(seconds=10)


class Paused:
    """A step that stops in the middle, as under SIGSTOP, and then goes on to an effect."""

    def __init__(self, before_effect: Callable[[], Awaitable[None]]) -> None:
        self.stopped = anyio.Event()
        self.go_on = anyio.Event()
        self.effects = 0
        self._before_effect = before_effect

    async def __call__(self, project: Project) -> Outcome:
        self.stopped.set()
        await self.go_on.wait()
        await self._before_effect()
        self.effects += 1
        project.status.set_condition("Mark", "True", "ByTheFirst", "", now=EARLY)
        return DONE


async def before_effect() -> None:
    await hold(DEADLINE)


async def nothing() -> None:
    pass


@pytest.mark.parametrize("guard", [before_effect, nothing])
async def test_a_replica_stopped_past_its_lease_does_nothing_when_it_goes_on(
    store: SqlStore, guard: Callable[[], Awaitable[None]]
) -> None:
    paused = Paused(guard)
    other = World()
    await store.create(a_project())
    first, second = a_manager(store, World(first=paused)), a_manager(store, other)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.settle)
            await paused.stopped.wait()
            fake(store).advance(TTL)
            assert await second.settle() == 1
            written = await store.get(Project, "", "blue")
            paused.go_on.set()

    assert other.calls == ["first blue", "second blue"]
    assert await store.get(Project, "", "blue") == written
    if guard is before_effect:
        assert paused.effects == 0


async def test_a_replica_stopped_for_less_than_its_lease_goes_on(store: SqlStore) -> None:
    paused = Paused(before_effect)
    other = World()
    await store.create(a_project())
    first, second = a_manager(store, World(first=paused)), a_manager(store, other)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.settle)
            await paused.stopped.wait()
            fake(store).advance(TTL - timedelta(seconds=1))
            assert await second.settle() == 0
            paused.go_on.set()

    assert paused.effects
    assert other.calls == []
    assert (await store.get(Project, "", "blue")).status.is_true("Mark")


async def test_heartbeats_keep_a_long_pass_alone(store: SqlStore) -> None:
    paused = Paused(before_effect)
    other = World()
    await store.create(a_project())
    first, second = a_manager(store, World(first=paused)), a_manager(store, other)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.settle)
            await paused.stopped.wait()
            for _ in range(5):
                fake(store).advance(TTL / 3)
                await first.heartbeat()
                assert await second.settle() == 0
            paused.go_on.set()

    assert paused.effects
    assert other.calls == []


async def test_a_lost_lease_cancels_the_pass(store: SqlStore) -> None:
    paused = Paused(nothing)
    await store.create(a_project())
    first, second = a_manager(store, World(first=paused)), a_manager(store, World())
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.settle)
            await paused.stopped.wait()
            fake(store).advance(TTL)
            await second.settle()
            await first.heartbeat()  # never set to go on: it ends nevertheless

    assert paused.effects == 0


async def test_the_lease_can_be_asked_for_inside_a_pass_only(store: SqlStore) -> None:
    seen: list[HeldLease | None] = []

    async def look(_project: Project) -> Outcome:
        seen.append(current())
        return DONE

    await store.create(a_project())
    await a_manager(store, World(first=look)).settle()

    (held,) = seen
    assert held is not None
    assert (held.lease.controller, held.lease.key) == ("project", "/blue")
    assert current() is None
    await hold(DEADLINE)  # outside of a pass there is nothing to hold


async def test_threads_of_a_pass_see_its_lease(store: SqlStore) -> None:
    seen: list[bool] = []

    def look() -> None:
        held = current()
        assert held is not None
        held.ensure_outlives(DEADLINE)
        seen.append(True)

    async def in_thread(_project: Project) -> Outcome:
        await anyio.to_thread.run_sync(look)
        return DONE

    await store.create(a_project())
    await a_manager(store, World(first=in_thread)).settle()

    assert seen == [True]


async def test_a_lease_too_short_for_a_call_writes_nothing_and_is_tried_again(
    store: SqlStore,
) -> None:
    calls = 0

    async def call(_project: Project) -> Outcome:
        nonlocal calls
        calls += 1
        held = current()
        assert held is not None
        held.ensure_outlives(TTL)
        return DONE

    made = await store.create(a_project())
    manager = a_manager(store, World(first=call))
    await manager.settle()

    assert await store.get(Project, "", "blue") == made
    assert await store.next_due(["project"]) == store.clock.now() + timedelta(seconds=1)
    fake(store).advance(timedelta(seconds=1))
    await manager.settle()
    assert calls == 2


async def test_holding_extends_a_lease_that_is_too_short(
    store: SqlStore,
) -> None:
    held = await a_held_lease(store)
    fake(store).advance(TTL - DEADLINE)
    assert not held.outlives(DEADLINE)
    with pytest.raises(LeaseLostError, match="does not outlive a call of 10 s"):
        held.ensure_outlives(DEADLINE)

    await held.hold(timedelta(minutes=5))

    held.ensure_outlives(timedelta(minutes=5))
    fake(store).advance(timedelta(minutes=5))
    assert await store.lease("c", limit=1, ttl=TTL) == []


async def test_holding_a_lost_lease_is_refused_each_time(store: SqlStore) -> None:
    held = await a_held_lease(store)
    fake(store).advance(TTL)
    await store.lease("c", limit=1, ttl=TTL)

    for _ in range(2):
        with pytest.raises(LeaseLostError):
            await held.hold(DEADLINE)
    assert held.is_lost
    assert not held.outlives(timedelta(0))


async def a_held_lease(store: SqlStore) -> HeldLease:
    await store.enqueue("c", "k", store.clock.now())
    (held,) = await HeldLease.take(store, store.clock, "c", limit=1, ttl=TTL)
    return held


@pytest.mark.parametrize("write", ["create", "put_spec", "delete", "set_value", "transaction"])
async def test_whatever_a_pass_writes_is_refused_once_its_lease_is_lost(
    store: SqlStore, write: str
) -> None:
    made = await store.create(a_project())
    held = await a_held_lease(store)
    set_current(held)
    try:
        await store.set_value("before", "yes")
        fake(store).advance(TTL)
        await store.lease("c", limit=1, ttl=TTL)

        with pytest.raises(LeaseLostError):
            await _write(store, made, write)
    finally:
        set_current(None)

    assert [one.metadata.name for one in await store.list(Project)] == ["blue"]
    assert (await store.get(Project, "", "blue")).metadata.labels == {}
    assert await store.get_value("before") == "yes"


async def _write(store: SqlStore, made: Project, write: str) -> None:
    match write:
        case "create":
            await store.create(a_project("green"))
        case "put_spec":
            made.metadata.labels["a"] = "b"
            await store.put_spec(made)
        case "delete":
            await store.delete(made)
        case "set_value":
            await store.set_value("before", "no")
        case "transaction":
            async with store.transaction() as inside:
                await inside.set_value("before", "no")


async def test_all_leases_are_extended_at_once_and_lost_ones_are_told(store: SqlStore) -> None:
    await store.enqueue_many([("c", key) for key in "abc"], store.clock.now())
    all_held = await HeldLease.take(store, store.clock, "c", limit=3, ttl=TTL)
    fake(store).advance(TTL)
    (lost,) = await store.lease("c", limit=1, ttl=TTL)

    await HeldLease.extend_all(all_held, TTL)

    assert {one.lease.key for one in all_held if one.is_lost} == {lost.key}
    fake(store).advance(TTL / 2)
    assert [one.outlives(timedelta(0)) for one in all_held] == [
        one.lease.key != lost.key for one in all_held
    ]


async def test_a_clock_that_is_set_back_does_not_lengthen_a_lease(store: SqlStore) -> None:
    clock = TwoClocks()
    await store.enqueue("c", "k", store.clock.now())
    (held,) = await HeldLease.take(store, clock, "c", limit=1, ttl=TTL)

    clock.passed = TTL.total_seconds()

    assert not held.outlives(timedelta(0))


class TwoClocks(FakeClock):
    """A machine whose wall clock stands still while time goes on."""

    passed = 0.0

    def steady(self) -> float:
        return self.passed
