"""Steps: which run, what their conditions say, and what is written."""

from datetime import timedelta

import pytest

from moorage.engine import DONE, Outcome, wait
from moorage.kit.errors import (
    ConflictError,
    DeferredError,
    ForbiddenError,
    InvalidError,
    TerminalError,
    UnavailableError,
)
from moorage.resources import Project
from moorage.store import SqlStore
from tests.engine.world import (
    MINE,
    Behaviour,
    World,
    a_manager,
    a_project,
    ensure_first,
    fake,
    reasons,
    succeed,
)


def fail(error: Exception) -> Behaviour:
    async def behave(_project: Project) -> Outcome:
        raise error

    return behave


def wait_for(reason: str, after: float | None = None) -> Behaviour:
    async def behave(_project: Project) -> Outcome:
        return wait(reason, f"waits for {reason}", after=after)

    return behave


async def read(store: SqlStore) -> Project:
    return await store.get(Project, "", "blue")


async def test_when_all_steps_are_done_the_resource_is_ready(sqlite_store: SqlStore) -> None:
    await sqlite_store.create(a_project())

    await a_manager(sqlite_store, World()).settle()

    project = await read(sqlite_store)
    assert reasons(project) == {
        "FirstDone": "True/Done",
        "SecondDone": "True/Done",
        "Ready": "True/Done",
    }
    assert project.status.observed_generation == 1


async def test_the_first_step_that_waits_stops_the_pass_and_explains(
    sqlite_store: SqlStore,
) -> None:
    world = World(first=wait_for("Cloning"))
    await sqlite_store.create(a_project())

    await a_manager(sqlite_store, world).settle()

    project = await read(sqlite_store)
    assert world.calls == ["first blue"]
    assert reasons(project) == {
        "FirstDone": "False/Cloning",
        "SecondDone": "Unknown/WaitingForEarlierStep",
        "Ready": "False/Cloning",
    }
    ready = project.status.condition("Ready")
    assert ready is not None
    assert ready.message == "waits for Cloning"


async def test_a_condition_that_was_seen_stays_while_an_earlier_step_waits(
    sqlite_store: SqlStore,
) -> None:
    world = World()
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()
    world.first = wait_for("Cloning")

    await manager.enqueue("project", "/blue")
    await manager.settle()

    assert reasons(await read(sqlite_store)) == {
        "FirstDone": "False/Cloning",
        "SecondDone": "True/Done",
        "Ready": "False/Cloning",
    }


async def test_a_wait_is_looked_at_again_after_its_time(sqlite_store: SqlStore) -> None:
    world = World(second=wait_for("Booting", after=20))
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()
    world.calls.clear()

    fake(sqlite_store).advance(timedelta(seconds=19))
    assert await manager.settle() == 0
    fake(sqlite_store).advance(timedelta(seconds=1))
    assert await manager.settle() == 1

    assert world.calls == ["first blue", "second blue"]


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (UnavailableError("vCenter is away"), "Unavailable", "vCenter is away"),
        (InvalidError("no such folder"), "Invalid", "no such folder"),
        (ForbiddenError("not ours"), "Forbidden", "not ours"),
        (ConflictError("changed meanwhile"), "Conflict", "changed meanwhile"),
        (KeyError("slip"), "Error", "KeyError: 'slip'"),
        (RuntimeError("login with password=hunter2"), "Error", "password=[redacted]"),
    ],
)
async def test_an_error_becomes_the_condition_and_is_tried_again(
    sqlite_store: SqlStore, error: Exception, reason: str, message: str
) -> None:
    world = World(first=fail(error))
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()

    condition = (await read(sqlite_store)).status.condition("FirstDone")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", reason)
    assert message in condition.message

    world.first = succeed
    fake(sqlite_store).advance(timedelta(seconds=1))
    await manager.settle()
    assert (await read(sqlite_store)).status.is_true("Ready")


async def test_a_terminal_error_waits_for_a_new_spec(sqlite_store: SqlStore) -> None:
    world = World(first=fail(TerminalError("NameTaken", "the name is taken")))
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()
    assert reasons(await read(sqlite_store))["Ready"] == "False/NameTaken"

    fake(sqlite_store).advance(timedelta(minutes=4))
    assert await manager.settle() == 0  # no retry

    project = await read(sqlite_store)
    project.spec.description = "another"
    await sqlite_store.put_spec(project)
    assert await manager.settle() == 1


async def test_what_was_deferred_waits_for_its_time_with_its_own_reason(
    sqlite_store: SqlStore,
) -> None:
    world = World(first=fail(DeferredError("WaitingForVCenter", "it ails", 20)))
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()
    assert reasons(await read(sqlite_store))["Ready"] == "False/WaitingForVCenter"

    for _ in range(3):
        fake(sqlite_store).advance(timedelta(seconds=19))
        assert await manager.settle() == 0
        fake(sqlite_store).advance(timedelta(seconds=2))
        assert await manager.settle() == 1, "no longer and longer pauses"


async def test_back_off_grows_to_a_minute_and_ends_with_success(sqlite_store: SqlStore) -> None:
    world = World(first=fail(UnavailableError("away")))
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()
    pauses = []
    for _ in range(9):
        due = await sqlite_store.next_due(["project"])
        assert due is not None
        pauses.append((due - sqlite_store.clock.now()).total_seconds())
        fake(sqlite_store).advance(due - sqlite_store.clock.now())
        assert await manager.settle() == 1

    assert pauses[0] == 1.0
    for attempt, pause in enumerate(pauses):
        assert min(2**attempt, 60) * 0.6 <= pause <= min(2**attempt, 60)
    assert max(pauses[6:]) <= 60

    world.first = succeed
    fake(sqlite_store).advance(timedelta(minutes=1))
    await manager.settle()
    world.first = fail(UnavailableError("away"))
    await manager.enqueue("project", "/blue")
    await manager.settle()
    assert await sqlite_store.next_due(["project"]) == sqlite_store.clock.now() + timedelta(
        seconds=1
    )


@pytest.mark.parametrize("error", [None, UnavailableError("away")])
async def test_what_a_step_saw_is_kept_though_it_waits_or_fails(
    sqlite_store: SqlStore, error: Exception | None
) -> None:
    async def see(project: Project) -> Outcome:
        project.status.observed_generation = 77
        project.status.set_condition("Seen", "True", "Seen", "", now=sqlite_store.clock.now())
        if error is not None:
            raise error
        return wait("Later", "")

    await sqlite_store.create(a_project())
    await a_manager(sqlite_store, World(first=see)).settle()

    assert (await read(sqlite_store)).status.is_true("Seen")


async def test_a_step_cannot_change_what_is_asked(sqlite_store: SqlStore) -> None:
    async def meddle(project: Project) -> Outcome:
        project.spec.description = "meddled"
        project.metadata.labels["meddled"] = "true"
        return DONE

    await sqlite_store.create(a_project())
    await a_manager(sqlite_store, World(first=meddle)).settle()

    project = await read(sqlite_store)
    assert project.spec.description == ""
    assert project.metadata.labels == {}


async def test_a_pass_that_changes_nothing_writes_nothing(sqlite_store: SqlStore) -> None:
    manager = a_manager(sqlite_store, World())
    await sqlite_store.create(a_project())
    await manager.settle()
    version = await sqlite_store.version()

    await manager.enqueue("project", "/blue")
    assert await manager.settle() == 1

    assert await sqlite_store.version() == version


async def test_a_spec_changed_during_a_pass_is_looked_at_again(sqlite_store: SqlStore) -> None:
    store = sqlite_store
    world = World()

    async def change_once(project: Project) -> Outcome:
        if project.metadata.generation == 1:
            other = await store.get(Project, "", "blue")
            other.spec.description = "changed meanwhile"
            await store.put_spec(other)
        return DONE

    world.first = change_once
    await store.create(a_project())
    await a_manager(store, world).settle()

    project = await read(store)
    assert project.spec.description == "changed meanwhile"
    assert project.status.observed_generation == project.metadata.generation == 2


async def test_the_finalizer_is_stored_before_the_first_step_runs(sqlite_store: SqlStore) -> None:
    stored: list[list[str]] = []

    async def look(_project: Project) -> Outcome:
        stored.append((await read(sqlite_store)).metadata.finalizers)
        return DONE

    project = a_project()
    project.metadata.finalizers = []
    await sqlite_store.create(project)
    await a_manager(sqlite_store, World(first=look)).settle()

    assert stored[0] == [MINE]


async def test_deletion_runs_the_teardown_until_it_is_done(sqlite_store: SqlStore) -> None:
    world = World(teardown=wait_for("Draining", after=5))
    manager = a_manager(sqlite_store, world)
    await sqlite_store.create(a_project())
    await manager.settle()
    world.calls.clear()
    await sqlite_store.request_deletion(Project, "", "blue")
    await manager.settle()
    assert world.calls == ["teardown blue"]
    assert reasons(await read(sqlite_store))["Ready"] == "False/Draining"

    world.teardown = succeed
    fake(sqlite_store).advance(timedelta(seconds=5))
    await manager.settle()

    assert await sqlite_store.find(Project, "", "blue") is None
    assert await sqlite_store.next_due(["project"]) is None  # nothing is left in the queue


async def test_a_teardown_that_is_done_waits_for_other_finalizers(
    sqlite_store: SqlStore,
) -> None:
    project = a_project()
    project.metadata.finalizers = [MINE, "moorage.dev/other"]
    world = World()
    await sqlite_store.create(project)
    await sqlite_store.request_deletion(Project, "", "blue")

    await a_manager(sqlite_store, world).settle()

    assert world.calls == ["teardown blue"]
    assert (await read(sqlite_store)).metadata.finalizers == ["moorage.dev/other"]


async def test_a_resource_that_vanishes_during_a_pass_is_forgotten(
    sqlite_store: SqlStore,
) -> None:
    async def vanish(project: Project) -> Outcome:
        await sqlite_store.delete(project)
        return DONE

    await sqlite_store.create(a_project())
    await a_manager(sqlite_store, World(first=vanish)).settle()

    assert await sqlite_store.next_due(["project"]) is None


async def test_a_step_can_be_called_like_its_function() -> None:
    world = World(first=wait_for("Cloning"))

    assert await ensure_first(a_project(), world) == wait("Cloning", "waits for Cloning")
    assert world.calls == ["first blue"]
