"""Changes: what watchers and the link are told, and that they miss nothing."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import CursorResult, Executable

from moorage.engine import RESYNC, Change, Tombstone
from moorage.kit.clock import FakeClock
from moorage.resources import Metadata, Project, Resource
from moorage.store import SqlStore, resource_read
from moorage.store.database import Unit
from moorage.store.fanout import Subscription


class OddError(Exception):
    """No error that the store knows."""


def a_project(name: str, route: str = "") -> Project:
    return Project(metadata=Metadata(name=name, route=route))


def names(found: list[Resource | Tombstone]) -> list[str]:
    return [f"-{one.name}" if isinstance(one, Tombstone) else one.metadata.name for one in found]


async def set_status(store: SqlStore, project: Project, clock: FakeClock) -> Project:
    fresh = await store.get(Project, *project.key)
    fresh.status.observed_generation += 1
    await store.put_status(fresh)
    return await store.get(Project, *project.key)


async def test_each_resource_is_told_once_at_its_last_change(
    store: SqlStore, clock: FakeClock
) -> None:
    one = await store.create(a_project("one"))
    two = await store.create(a_project("two"))
    three = await store.create(a_project("three"))
    await set_status(store, one, clock)
    await store.delete(two)

    assert names(await store.changed_since(0)) == ["three", "one", "-two"]
    assert names(await store.changed_since(three.metadata.resource_version)) == ["one", "-two"]
    assert await store.changed_since(await store.version()) == []


async def test_spec_changes_alone_can_be_asked_for(store: SqlStore, clock: FakeClock) -> None:
    one = await store.create(a_project("one"))
    two = await store.create(a_project("two"))
    await set_status(store, one, clock)
    two.metadata.finalizers = ["f"]
    await store.put_spec(two)
    await store.request_deletion(Project, "", "two")

    found = await store.changed_since(0, spec_only=True)

    assert names(found) == ["one", "two"]
    positions = [one.metadata.resource_version for one in found if isinstance(one, Resource)]
    assert positions == [1, 5]  # where to go on from: the change of status does not count


async def test_changes_can_be_asked_for_by_route(store: SqlStore) -> None:
    for name, route in (("a", "east"), ("b", "west"), ("c", "east")):
        await store.create(a_project(name, route))
    await store.delete(await store.get(Project, "", "c"))
    await store.delete(await store.get(Project, "", "b"))

    assert names(await store.changed_since(0, route="east")) == ["a", "-c"]
    assert names(await store.changed_since(0, route="west")) == ["-b"]


async def do(store: SqlStore, act: str, name: str) -> None:
    found = await store.find(Project, "", name)
    if found is None:
        if act == "c":
            await store.create(a_project(name))
        return
    if act == "d":
        await store.delete(found)
    elif act == "s":
        found.status.observed_generation += 1
        await store.put_status(found)
    elif act == "u":
        found.spec.description += "x"
        await store.put_spec(found)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    acts=st.lists(st.tuples(st.sampled_from("cdsu"), st.integers(0, 4)), min_size=1, max_size=25),
    limit=st.integers(1, 4),
    spec_only=st.booleans(),
)
async def test_following_in_small_pages_ends_with_what_is_there(
    sqlite_store: SqlStore, acts: list[tuple[str, int]], limit: int, spec_only: bool
) -> None:
    """A follower that is told page by page, while writing goes on, ends up with the truth."""
    store = sqlite_store
    copy: dict[str, str] = {}
    position = 0
    for project in await store.list(Project):
        await store.delete(project)

    async def follow() -> int:
        nonlocal position
        page = await store.changed_since(position, limit=limit, spec_only=spec_only)
        assert len(page) <= limit
        for one in page:
            if isinstance(one, Tombstone):
                copy.pop(one.uid, None)
                position = one.resource_version
            else:
                copy[one.metadata.uid] = one.metadata.name
                position = one.metadata.resource_version
        return len(page)

    for act, number in acts:
        await do(store, act, f"p{number}")
        if number % 2:
            await follow()
    while await follow():
        pass

    there = {p.metadata.uid: p.metadata.name for p in await store.list(Project)}
    assert copy == there
    for project in await store.list(Project):
        await store.delete(project)


async def test_no_lower_version_appears_after_a_higher_one(store: SqlStore) -> None:
    """Writers at once, a reader that follows: versions come in order, without a gap."""
    seen: list[int] = []
    writers, each = 6, 8

    async def write(number: int) -> None:
        for turn in range(each):
            await store.create(a_project(f"p{number}-{turn}"))

    async def read() -> None:
        while len(seen) < writers * each:
            found = await store.changed_since(seen[-1] if seen else 0)
            seen.extend(one.metadata.resource_version for one in found)  # type: ignore[union-attr]
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for number in range(writers):
                tasks.start_soon(write, number)

    assert seen == list(range(1, writers * each + 1))


class Interrupted(Unit):
    """A unit in whose course, after one of its statements, somebody else commits."""

    def __init__(self, unit: Unit, after: int, others: Callable[[], Awaitable[None]]) -> None:
        super().__init__(unit.connection, is_postgresql=unit.is_postgresql)
        self._left = after
        self._others = others

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        result = await super().execute(statement, parameters)
        self._left -= 1
        if self._left == 0:
            await self._others()
        return result


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_what_is_committed_between_two_statements_is_not_passed_over(
    store: SqlStore, after: int
) -> None:
    old = await store.create(a_project("old"))

    async def others() -> None:
        await store.create(a_project("new"))
        await store.delete(old)  # its tombstone is above "new"

    async with store.reading() as unit:
        first = await resource_read.changed_since(
            Interrupted(unit, after, others), 0, route=None, spec_only=False, limit=10
        )
    position = max((_position(one) for one in first), default=0)
    second = await store.changed_since(position)

    assert "new" in names(first + second)
    assert "-old" in names(first + second)


def _position(one: Resource | Tombstone) -> int:
    return one.resource_version if isinstance(one, Tombstone) else one.metadata.resource_version


async def test_watchers_hear_of_what_is_committed(store: SqlStore, clock: FakeClock) -> None:
    async with store.watch() as changes:
        made = await store.create(a_project("one", "east"))
        assert changes.drain() == [
            Change("Project", "", "one", made.metadata.uid, 1, False, "east", True, "")
        ]
        await set_status(store, made, clock)
        assert [(c.spec_changed, c.deleted) for c in changes.drain()] == [(False, False)]
        await store.delete(made)
        assert [(c.spec_changed, c.deleted) for c in changes.drain()] == [(True, True)]


async def test_watchers_do_not_hear_of_what_is_rolled_back(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.create(a_project("one"))
            raise OddError

    async with store.watch() as changes:
        with pytest.raises(OddError):
            await fail()

        assert changes.drain() == []


async def test_a_change_is_not_told_before_it_can_be_read(store: SqlStore) -> None:
    found: list[Project | None] = []

    async def follow(changes: object) -> None:
        async for change in changes:  # type: ignore[attr-defined]
            found.append(await store.find(Project, change.project, change.name))
            return

    with anyio.fail_after(10):
        async with store.watch() as changes, anyio.create_task_group() as tasks:
            tasks.start_soon(follow, changes)
            await store.create(a_project("one"))

    assert [project is not None for project in found] == [True]


async def test_waiting_changes_of_one_resource_become_one(
    store: SqlStore, clock: FakeClock
) -> None:
    async with store.watch() as changes:
        made = await store.create(a_project("one"))
        await store.create(a_project("two"))
        last = await set_status(store, made, clock)

        waiting = changes.drain()

    assert [change.name for change in waiting] == ["two", "one"]
    assert waiting[1].spec_changed  # the creation is not forgotten over the status
    assert waiting[1].resource_version == last.metadata.resource_version


def test_a_watcher_far_behind_is_told_to_list_again() -> None:
    slow = Subscription(most_waiting=3)
    for number in range(5):
        slow.put(Change("Project", "", f"p{number}", f"u{number}", number, False, "", True, ""))

    assert slow.drain() == [RESYNC]

    slow.put(Change("Project", "", "p9", "u9", 9, False, "", True, ""))
    assert [change.name for change in slow.drain()] == ["p9"]


async def test_every_watcher_gets_its_own_copy_until_it_leaves(store: SqlStore) -> None:
    async with store.watch() as one:
        async with store.watch() as other:
            await store.create(a_project("a"))
            assert len(one.drain()) == len(other.drain()) == 1
        await store.create(a_project("b"))
        assert [change.name for change in one.drain()] == ["b"]
        assert other.drain() == []


async def test_old_tombstones_can_be_forgotten(store: SqlStore, clock: FakeClock) -> None:
    await store.delete(await store.create(a_project("old")))
    clock.advance(timedelta(days=100))
    await store.delete(await store.create(a_project("new")))

    assert await store.prune_tombstones(clock.now() - timedelta(days=90)) == 1

    assert names(await store.changed_since(0)) == ["-new"]
