"""Transactions: all or nothing, joined, in turn; readers never wait; cancellation does no harm."""

import asyncio

import anyio
import pytest
from sqlalchemy import text

from moorage.kit.clock import FakeClock
from moorage.kit.errors import ConflictError
from moorage.resources import Metadata, Project
from moorage.store import SqlStore, audit, open_store


class OddError(Exception):
    """No error that the store knows."""


def a_project(name: str) -> Project:
    return Project(metadata=Metadata(name=name))


async def names(store: SqlStore) -> list[str]:
    return [project.metadata.name for project in await store.list(Project)]


async def test_a_transaction_is_all_or_nothing(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.create(a_project("one"))
            await tx.enqueue("c", "/one", store.clock.now())
            await tx.create(a_project("one"))

    with pytest.raises(ConflictError):
        await fail()
    assert await names(store) == []
    assert await store.next_due(["c"]) is None

    async with store.transaction() as tx:
        await tx.create(a_project("one"))
        await tx.create(a_project("two"))
    assert await names(store) == ["one", "two"]


async def test_an_audit_entry_is_written_with_what_it_tells_of(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.create(a_project("one"))
            await audit.append(
                tx, actor="a", source="::1", verb="create", kind="Project", name="one"
            )
            raise OddError

    with pytest.raises(OddError):
        await fail()

    assert await names(store) == []
    assert await audit.list_entries(store) == []


async def test_a_transaction_sees_its_own_writes(store: SqlStore) -> None:
    async with store.transaction() as tx:
        await tx.create(a_project("one"))
        assert await tx.find(Project, "", "one") is not None
        assert await store.find(Project, "", "one") is not None  # the store joins in


async def test_others_do_not_see_it_before_the_commit_and_do_not_wait(store: SqlStore) -> None:
    seen: list[list[str]] = []

    async def read() -> None:
        with anyio.fail_after(5):
            seen.append(await names(store))

    async with anyio.create_task_group() as tasks, store.transaction() as tx:
        await tx.create(a_project("one"))
        async with anyio.create_task_group() as readers:
            readers.start_soon(read)
        assert seen == [[]]
        tasks.start_soon(read)

    await read()
    assert seen[-1] == ["one"]


async def test_nested_transactions_join_the_outer_one(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.transaction() as outer:
            async with store.transaction() as inner:
                await inner.create(a_project("inner"))
            async with outer.transaction() as inner:
                await inner.create(a_project("other"))
            await store.create(a_project("joined"))
            raise OddError

    with pytest.raises(OddError):
        await fail()

    assert await names(store) == []


async def test_a_task_started_in_a_transaction_is_not_part_of_it(store: SqlStore) -> None:
    async def write() -> None:
        await store.create(a_project("apart"))

    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.create(a_project("inside"))
            tasks.start_soon(write)
            await anyio.lowlevel.checkpoint()
            raise OddError

    async with anyio.create_task_group() as tasks:
        with pytest.raises(OddError):
            await fail()

    assert await names(store) == ["apart"]


async def test_a_transaction_that_has_ended_refuses_work(store: SqlStore) -> None:
    async with store.transaction() as tx:
        await tx.create(a_project("one"))

    with pytest.raises(RuntimeError, match="has ended"):
        await tx.create(a_project("two"))

    assert await names(store) == ["one"]


async def test_the_store_is_itself_again_after_a_transaction(store: SqlStore) -> None:
    async with store.transaction() as tx:
        await tx.create(a_project("one"))
    await store.create(a_project("two"))

    assert await names(store) == ["one", "two"]


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_anywhere_a_write_is_whole_or_absent(store: SqlStore, turns: int) -> None:
    """Cancel after each of the first event-loop turns; the store must stay in order."""
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            async with store.transaction() as tx:
                await tx.create(a_project("one"))
                await tx.create(a_project("two"))

        tasks.start_soon(write)
        for _ in range(turns * 5):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    assert await names(store) in ([], ["one", "two"])
    await store.create(a_project("three"))
    assert "three" in await names(store)
    assert len(await store.changed_since(0)) == len(await names(store))


async def test_a_task_cancelled_the_asyncio_way_leaves_the_store_usable(store: SqlStore) -> None:
    for turns in range(0, 40, 4):
        task = asyncio.create_task(store.create(a_project(f"p{turns}")))
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        task.cancel()
        await asyncio.wait([task])

    with anyio.fail_after(20):
        await store.create(a_project("last"))
        assert "last" in await names(store)


async def test_writers_at_once_take_turns(store: SqlStore) -> None:
    async def write(number: int) -> None:
        for turn in range(5):
            await store.create(a_project(f"p{number}-{turn}"))
            await names(store)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, number)

    assert len(await names(store)) == 40


async def test_two_processes_on_one_sqlite_file_wait_for_each_other(
    sqlite_url: str, clock: FakeClock
) -> None:
    """Two stores stand for the processes: they share nothing but the file."""
    one, two = await open_store(sqlite_url, clock=clock), await open_store(sqlite_url, clock=clock)

    async def write(store: SqlStore, prefix: str) -> None:
        for turn in range(10):
            await store.create(a_project(f"{prefix}{turn}"))

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, one, "a")
            tasks.start_soon(write, two, "b")
        assert len(await names(one)) == 20
    finally:
        await one.close()
        await two.close()


async def test_a_commit_is_durable_on_sqlite(sqlite_store: SqlStore) -> None:
    async with sqlite_store.writing() as unit:
        journal = (await unit.execute(text("PRAGMA journal_mode"))).scalar_one()
        synchronous = (await unit.execute(text("PRAGMA synchronous"))).scalar_one()

    assert (journal, synchronous) == ("wal", 2)  # 2 is FULL: each commit is flushed to disk


async def test_what_a_restart_makes_anew_is_not_flushed_by_itself(sqlite_store: SqlStore) -> None:
    async with sqlite_store.writing(durable=False) as unit:
        journal = (await unit.execute(text("PRAGMA journal_mode"))).scalar_one()
        synchronous = (await unit.execute(text("PRAGMA synchronous"))).scalar_one()

    assert (journal, synchronous) == ("wal", 1)  # NORMAL: in order, with the next full one
