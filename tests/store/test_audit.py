"""The audit trail: appended to, never changed, and what was changed anyway is found."""

from datetime import timedelta

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from moorage.kit.clock import FakeClock
from moorage.kit.errors import UnavailableError
from moorage.store import SqlStore, audit


async def note(store: SqlStore, name: str, actor: str = "alice") -> None:
    await audit.append(
        store,
        actor=actor,
        source="192.0.2.1",
        verb="update",
        kind="Cluster",
        project="default",
        name=name,
        before={"spec": {"x": 1}},
        after={"spec": {"x": None}},
    )


async def test_entries_are_listed_newest_first_in_pages(store: SqlStore, clock: FakeClock) -> None:
    for number in range(5):
        await note(store, f"c{number}")
        clock.advance(timedelta(seconds=1))

    first = await audit.list_entries(store, limit=3)
    second = await audit.list_entries(store, limit=3, before_id=first[-1].id)

    assert [entry.name for entry in first + second] == ["c4", "c3", "c2", "c1", "c0"]
    assert first[0].before == {"spec": {"x": 1}}
    assert first[0].after == {"spec": {"x": None}}
    assert first[0].at == clock.now() - timedelta(seconds=1)


async def test_entries_can_be_narrowed(store: SqlStore) -> None:
    await note(store, "a", actor="alice")
    await note(store, "b", actor="bob")

    assert [e.name for e in await audit.list_entries(store, actor="bob")] == ["b"]
    assert [e.name for e in await audit.list_entries(store, name="a")] == ["a"]
    assert await audit.list_entries(store, project="other") == []
    assert len(await audit.list_entries(store, kind="Cluster", project="default")) == 2


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
async def test_the_database_refuses_to_change_entries(store: SqlStore, statement: str) -> None:
    await note(store, "a")

    with pytest.raises((DBAPIError, UnavailableError), match="only ever appended"):
        async with store.writing() as unit:
            await unit.execute(text(statement))

    assert [entry.actor for entry in await audit.list_entries(store)] == ["alice"]


async def test_the_trail_is_whole_when_many_write_at_once(store: SqlStore) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(note, store, f"c{number}")

    assert len(await audit.list_entries(store)) == 20
    assert await audit.verify(store) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'eve' WHERE name = 'c1'",
        "UPDATE audit SET at = at + 1 WHERE name = 'c1'",
        "UPDATE audit SET after = NULL WHERE name = 'c1'",
        "DELETE FROM audit WHERE name = 'c0'",
    ],
)
async def test_what_was_changed_behind_its_back_is_found(
    sqlite_store: SqlStore, statement: str
) -> None:
    store = sqlite_store
    for number in range(3):
        await note(store, f"c{number}")
    assert await audit.verify(store) is None
    async with store.writing() as unit:
        await unit.execute(text("DROP TRIGGER audit_refuses_UPDATE"))
        await unit.execute(text("DROP TRIGGER audit_refuses_DELETE"))
        await unit.execute(text(statement))

    assert await audit.verify(store) == 2
