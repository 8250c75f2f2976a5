"""What only PostgreSQL has: other processes on the same database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio
import psycopg
import pytest
from sqlalchemy import make_url, text

from moorage.engine import Changes, HeldLease, manager
from moorage.kit.clock import FakeClock
from moorage.kit.errors import UnavailableError
from moorage.resources import Metadata, Project
from moorage.store import SqlStore, open_store
from moorage.store.database import Database
from tests.engine.world import World, a_manager

pytestmark = pytest.mark.postgres


def a_project(name: str) -> Project:
    return Project(metadata=Metadata(name=name))


@pytest.fixture
async def pair(postgres_url: str, clock: FakeClock) -> AsyncIterator[tuple[SqlStore, SqlStore]]:
    """Open two stores: they stand for two processes, sharing only the database."""
    one = await open_store(postgres_url, clock=clock)
    two = await open_store(postgres_url, clock=clock)
    yield one, two
    await one.close()
    await two.close()


async def next_named(changes: Changes) -> str:
    """Return the next change's name; a request to list again counts as one."""
    with anyio.fail_after(20):
        async for change in changes:
            return "*" if change.is_resync else change.name
    raise AssertionError


async def test_changes_of_another_process_are_heard(pair: tuple[SqlStore, SqlStore]) -> None:
    one, two = pair
    async with two.watch() as changes:
        changes.drain()
        made = await one.create(a_project("p"))
        assert await next_named(changes) == "p"
        assert await two.get(Project, "", "p") == made


async def test_own_changes_are_heard_once(pair: tuple[SqlStore, SqlStore]) -> None:
    one, two = pair
    async with one.watch() as changes:
        await one.create(a_project("a"))
        await two.create(a_project("b"))  # told after ours, over the same connection

        heard = [await next_named(changes), await next_named(changes)]

        assert heard == ["a", "b"]
        assert changes.drain() == []


async def test_a_large_transaction_is_told_as_one_request_to_list(
    pair: tuple[SqlStore, SqlStore],
) -> None:
    one, two = pair
    async with two.watch() as changes:
        async with one.transaction() as tx:
            for number in range(300):
                await tx.create(a_project(f"p{number}"))

        assert await next_named(changes) == "*"


async def test_a_broken_connection_is_made_again_and_nothing_is_missed(
    pair: tuple[SqlStore, SqlStore],
) -> None:
    one, two = pair
    async with two.watch() as changes:
        changes.drain()
        async with one.writing() as unit:
            await unit.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            )
        await one.create(a_project("while-deaf"))

        assert await next_named(changes) == "*"  # list again: "while-deaf" is there

        await one.create(a_project("afterwards"))
        with anyio.fail_after(20):
            while await next_named(changes) != "afterwards":
                pass


async def test_versions_come_in_order_from_two_processes(
    pair: tuple[SqlStore, SqlStore],
) -> None:
    one, two = pair
    seen: list[int] = []

    async def write(store: SqlStore, prefix: str) -> None:
        for turn in range(25):
            await store.create(a_project(f"{prefix}{turn}"))

    async def read() -> None:
        while len(seen) < 50:
            found = await one.changed_since(seen[-1] if seen else 0, limit=3)
            seen.extend(one.metadata.resource_version for one in found)  # type: ignore[union-attr]

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(write, one, "a")
            tasks.start_soon(write, two, "b")

    assert seen == list(range(1, 51))


async def test_an_outage_is_named_and_work_goes_on_after_it(
    postgres_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_STORE_PAUSE_S", 0.05)
    store = await open_store(postgres_url, clock=clock)
    world = World()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(a_manager(store, world).run)
        await store.create(a_project("before"))
        await _until(lambda: "second before" in world.calls)
        with outage(postgres_url):
            with pytest.raises(UnavailableError, match="did not do its work"):
                await store.create(a_project("during"))
            with pytest.raises(UnavailableError):
                await store.version()
        await store.create(a_project("after"))
        await _until(lambda: "second after" in world.calls)
        tasks.cancel_scope.cancel()
    await store.close()


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not holds():
            await anyio.lowlevel.checkpoint()


@contextmanager
def outage(url: str) -> Iterator[None]:
    """Cut all connections to a database, and let nobody in meanwhile."""
    parsed = make_url(url)
    admin = parsed.set(drivername="postgresql", database="postgres")
    name = parsed.database
    with psycopg.connect(
        admin.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


async def test_a_lost_server_connection_is_replaced(pair: tuple[SqlStore, SqlStore]) -> None:
    one, two = pair
    await two.create(a_project("before"))
    async with one.writing() as unit:
        await unit.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    await two.create(a_project("after"))

    assert await two.count(Project) == 2


async def test_hosts_whose_clocks_differ_by_hours_share_the_keys(postgres_url: str) -> None:
    clocks = FakeClock(), FakeClock()
    clocks[1].advance(timedelta(hours=2))
    opened = await open_store(postgres_url)
    early, late = (
        SqlStore(Database(postgres_url), clock=clock, by_server=True) for clock in clocks
    )
    hour = timedelta(hours=1)
    await late.enqueue("c", "now", clocks[1].now())
    await late.enqueue("c", "later", clocks[1].now() + hour)

    (held,) = await HeldLease.take(early, clocks[0], "c", limit=9, ttl=hour)
    assert held.lease.key == "now"
    assert await late.lease("c", limit=9, ttl=hour) == []
    assert held.outlives(hour / 2)
    for store, clock in ((early, clocks[0]), (late, clocks[1])):
        due = await store.next_due(["c"])
        assert due is not None
        assert abs(due - clock.now() - hour) < timedelta(minutes=10)
    await late.enqueue("c", "again", clocks[1].now())
    (depth,) = await early.queue_depths()
    assert abs(depth.oldest - clocks[0].now()) < timedelta(minutes=10)
    await early.finish(held.lease, due=clocks[0].now())
    assert {one.key for one in await late.lease("c", limit=9, ttl=hour)} == {"now", "again"}
    for store in (opened, early, late):
        await store.close()


@pytest.mark.parametrize("write", ["enqueue", "create"])
async def test_a_process_that_stops_inside_a_transaction_does_not_keep_the_others_waiting(
    pair: tuple[SqlStore, SqlStore], clock: FakeClock, write: str
) -> None:
    one, two = pair
    keys = [("c", f"k{number}") for number in range(5)]

    async def write_to(store: SqlStore) -> None:
        if write == "enqueue":
            await store.enqueue_many(keys, clock.now())
        else:
            await store.create(a_project("p"))

    async def stop_in_the_middle() -> None:
        async with one.transaction():
            await write_to(one)
            with anyio.fail_after(60):
                await _without_transaction(write_to, two)  # while the first does nothing

    with pytest.raises(UnavailableError):
        await stop_in_the_middle()

    assert await two.next_due(["c"]) is not None or await two.count(Project) == 1


async def _without_transaction(
    write_to: Callable[[SqlStore], Awaitable[None]], store: SqlStore
) -> None:
    """Write in a task of its own, which is no part of the transaction that is open here."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_to, store)
