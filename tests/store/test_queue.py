"""The queue: due times, leases and their fences, on a clock that only we move."""

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.engine import Lease, LeaseLostError
from moorage.kit.clock import FakeClock
from moorage.resources import Metadata, Project
from moorage.store import SqlStore, open_store

TTL = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


@pytest.fixture(params=["shared", "memory", pytest.param("postgres", marks=pytest.mark.postgres)])
async def queue(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[SqlStore]:
    """Open a store with each kind of queue."""
    kind = "postgres" if request.param == "postgres" else "sqlite"
    url: str = request.getfixturevalue(f"{kind}_url")
    opened = await open_store(url, clock=clock, exclusive=request.param == "memory")
    yield opened
    await opened.close()


async def take(store: SqlStore, limit: int = 10, controller: str = "c") -> list[str]:
    return [lease.key for lease in await store.lease(controller, limit=limit, ttl=TTL)]


async def one_lease(store: SqlStore, key: str = "k") -> Lease:
    await store.enqueue("c", key, store.clock.now())
    (lease,) = await store.lease("c", limit=1, ttl=TTL)
    return lease


async def test_a_key_is_leased_when_due_and_to_one_only(queue: SqlStore, clock: FakeClock) -> None:
    await queue.enqueue("c", "k", clock.now() + SECOND)
    assert await take(queue) == []
    clock.advance(SECOND)

    assert await take(queue) == ["k"]
    assert await take(queue) == []


async def test_controllers_have_queues_of_their_own(queue: SqlStore, clock: FakeClock) -> None:
    await queue.enqueue_many([("c", "k"), ("d", "k")], clock.now())

    assert await take(queue, controller="d") == ["k"]
    assert await take(queue, controller="c") == ["k"]


async def test_the_longest_due_come_first(queue: SqlStore, clock: FakeClock) -> None:
    for age, key in ((1, "young"), (3, "old"), (2, "middle")):
        await queue.enqueue("c", key, clock.now() - age * SECOND)

    leases = await queue.lease("c", limit=2, ttl=TTL)

    assert {lease.key for lease in leases} == {"old", "middle"}


async def test_the_earlier_due_time_wins(queue: SqlStore, clock: FakeClock) -> None:
    await queue.enqueue("c", "k", clock.now() + 5 * SECOND)
    await queue.enqueue("c", "k", clock.now() + 2 * SECOND)
    await queue.enqueue("c", "k", clock.now() + 9 * SECOND)

    assert await queue.next_due(["c"]) == clock.now() + 2 * SECOND


async def test_finish_without_due_forgets_the_key(queue: SqlStore) -> None:
    lease = await one_lease(queue)

    await queue.finish(lease, due=None)

    assert await queue.next_due(["c"]) is None


async def test_an_enqueue_during_a_lease_is_remembered(queue: SqlStore, clock: FakeClock) -> None:
    lease = await one_lease(queue)
    await queue.enqueue("c", "k", clock.now())
    assert await take(queue) == []  # not while it is leased

    await queue.finish(lease, due=None)

    assert await take(queue) == ["k"]


@pytest.mark.parametrize("end", ["finish", "fail"])
async def test_an_enqueue_during_a_lease_beats_a_later_due_time(
    queue: SqlStore, clock: FakeClock, end: str
) -> None:
    lease = await one_lease(queue)
    await queue.enqueue("c", "k", clock.now())

    if end == "finish":
        await queue.finish(lease, due=clock.now() + TTL)
    else:
        await queue.fail(lease, due=clock.now() + TTL)

    assert await take(queue) == ["k"]


async def test_attempts_count_failures_in_a_row(queue: SqlStore, clock: FakeClock) -> None:
    lease = await one_lease(queue)
    for attempts in (0, 1, 2):
        assert lease.attempts == attempts
        await queue.fail(lease, due=clock.now())
        (lease,) = await queue.lease("c", limit=1, ttl=TTL)
    await queue.finish(lease, due=clock.now())

    (lease,) = await queue.lease("c", limit=1, ttl=TTL)
    assert lease.attempts == 0


async def test_after_its_end_a_lease_can_be_taken_and_the_first_holder_is_fenced_off(
    store: SqlStore, clock: FakeClock
) -> None:
    project = await store.create(Project(metadata=Metadata(name="p")))
    lost = await one_lease(store)
    clock.advance(TTL)
    (taken,) = await store.lease("c", limit=1, ttl=TTL)

    project.status.observed_generation = 9
    with pytest.raises(LeaseLostError):
        await store.put_status(project, lease=lost)
    with pytest.raises(LeaseLostError):
        await store.finish(lost, due=None)
    with pytest.raises(LeaseLostError):
        await store.finish(lost, due=clock.now())
    with pytest.raises(LeaseLostError):
        await store.fail(lost, due=clock.now())
    assert await store.extend([lost, taken], TTL) == {taken}
    await store.release([lost])

    assert (await store.get(Project, "", "p")).status.observed_generation == 0
    assert await take(store) == []  # it is still the second one's
    await store.put_status(project, lease=taken)


async def test_a_lost_lease_is_told_even_if_there_is_nothing_to_write(
    queue: SqlStore, clock: FakeClock
) -> None:
    project = await queue.create(Project(metadata=Metadata(name="p")))
    lease = await one_lease(queue)
    await queue.finish(lease, due=None)

    with pytest.raises(LeaseLostError):
        await queue.put_status(project, lease=lease)


async def test_an_extended_lease_lasts(store: SqlStore, clock: FakeClock) -> None:
    lease = await one_lease(store)
    clock.advance(TTL - SECOND)

    assert await store.extend([lease], TTL) == {lease}
    assert await store.extend([lease], SECOND) == {lease}  # never for less
    clock.advance(TTL - SECOND)

    assert await take(store) == []
    clock.advance(SECOND)
    assert await take(store) == ["k"]


async def test_released_leases_are_due_at_once(queue: SqlStore, clock: FakeClock) -> None:
    await queue.fail(await one_lease(queue), due=clock.now())
    (lease,) = await queue.lease("c", limit=1, ttl=TTL)

    await queue.release([lease])

    (again,) = await queue.lease("c", limit=1, ttl=TTL)
    assert again.attempts == 1


async def test_what_waits_is_counted(queue: SqlStore, clock: FakeClock) -> None:
    await queue.enqueue_many([("c", "a"), ("c", "b"), ("d", "a")], clock.now())
    await queue.enqueue("e", "a", clock.now() + SECOND)
    await queue.lease("d", limit=1, ttl=TTL)
    oldest = clock.now()
    clock.advance(SECOND / 2)

    assert [tuple(depth) for depth in await queue.queue_depths()] == [("c", 2, oldest)]


async def test_many_workers_share_the_keys_without_overlap(
    queue: SqlStore, clock: FakeClock
) -> None:
    keys = {f"k{number}" for number in range(60)}
    await queue.enqueue_many([("c", key) for key in keys], clock.now())
    taken: list[str] = []

    async def work() -> None:
        while leases := await queue.lease("c", limit=3, ttl=TTL):
            taken.extend(lease.key for lease in leases)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(work)

    # On PostgreSQL a worker may pass over rows that another one is just taking, and find none.
    taken.extend(await take(queue, limit=100))
    assert sorted(taken) == sorted(keys)


async def test_the_queue_in_memory_ends_with_its_process(sqlite_url: str, clock: FakeClock) -> None:
    first = await open_store(sqlite_url, clock=clock, exclusive=True)
    await one_lease(first)
    await first.close()

    second = await open_store(sqlite_url, clock=clock, exclusive=True)
    try:
        assert await second.next_due(["c"]) is None  # a manager makes everything due at its start
    finally:
        await second.close()


async def test_the_only_process_cannot_lose_a_lease_by_time(
    sqlite_url: str, clock: FakeClock
) -> None:
    store = await open_store(sqlite_url, clock=clock, exclusive=True)
    try:
        project = await store.create(Project(metadata=Metadata(name="p")))
        lease = await one_lease(store)
        clock.advance(10 * TTL)  # stopped, or the machine slept

        assert await take(store) == []
        assert await store.extend([lease], TTL) == {lease}
        await store.put_status(project, lease=lease)
        await store.finish(lease, due=None)
        with pytest.raises(LeaseLostError):
            await store.finish(lease, due=None)
    finally:
        await store.close()


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(["enqueue", "lease", "finish", "forget", "fail", "tick"]),
            st.integers(0, 3),
        ),
        max_size=30,
    )
)
async def test_the_queue_behaves_as_its_model(
    sqlite_store: SqlStore, acts: list[tuple[str, int]]
) -> None:
    """One key, against a model in plain variables: due, held until, asked meanwhile."""
    store = sqlite_store
    clock = store.clock
    assert isinstance(clock, FakeClock)
    key = f"model-{clock.now().timestamp()}"
    ready = asked = None
    held: Lease | None = None
    for act, number in acts:
        now, later = clock.now(), clock.now() + number * SECOND
        if act == "tick":
            clock.advance(number * TTL / 2)
        elif act == "enqueue":
            await store.enqueue("c", key, later)
            if held is None:
                ready = later if ready is None else min(ready, later)
            else:
                asked = later if asked is None else min(asked, later)
        elif act == "lease":
            leases = await store.lease("c", limit=5, ttl=TTL)
            assert bool(leases) == (ready is not None and ready <= now)
            if leases:
                (held,) = leases
                ready, asked = now + TTL, None
        elif held is not None:
            due = None if act == "forget" else later
            if act == "fail":
                await store.fail(held, due=later)
            else:
                await store.finish(held, due=due)
            candidates = [moment for moment in (due, asked) if moment is not None]
            ready, asked, held = min(candidates, default=None), None, None
        assert await store.next_due(["c"]) == ready
    clock.advance(10 * TTL)
    for lease in await store.lease("c", limit=5, ttl=TTL):
        await store.finish(lease, due=None)
