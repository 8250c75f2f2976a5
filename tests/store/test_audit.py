"""The audit trail: appended to, never changed, and what was changed anyway is found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from moorage.kit.chain import Chain, ChainKey, Report, digest_of
from moorage.kit.clock import FakeClock
from moorage.kit.errors import UnavailableError
from moorage.store import SqlStore, audit, open_store, tables
from moorage.store.database import Unit

HUB = "installation-1"
SWAP_3_AND_4 = (
    "UPDATE audit SET id = -3 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 4; "
    "UPDATE audit SET id = 4 WHERE id = -3"
)


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


async def test_the_trail_is_whole_when_many_write_at_once(
    store: SqlStore, clock: FakeClock
) -> None:
    url = store.url.render_as_string(hide_password=False)
    other = await open_store(url, clock=clock) if store.is_shared else store
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(note, (store, other)[number % 2], f"c{number}")
    if other is not store:
        await other.close()

    report = await verified(store)

    assert report.findings == []
    assert (report.records, report.first, report.last) == (20, 1, 20)


async def test_a_write_that_is_rolled_back_leaves_no_gap(store: SqlStore) -> None:
    await note(store, "a")
    with suppress(KeyError):
        async with store.transaction():
            await note(store, "never")
            raise KeyError
    await note(store, "b")

    assert [entry.id for entry in await audit.list_entries(store)] == [2, 1]
    assert (await verified(store)).findings == []


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE audit SET actor = 'eve' WHERE id = 3", [(3, "was edited")]),
        ("UPDATE audit SET at = at + 1 WHERE id = 3", [(3, "was edited")]),
        ("UPDATE audit SET after = NULL WHERE id = 3", [(3, "was edited")]),
        ("UPDATE audit SET after = 'no json' WHERE id = 3", [(3, "was edited")]),
        ("UPDATE audit SET digest = 'x' WHERE id = 3", [(3, "was edited")]),
        ("UPDATE audit SET previous = 'x' WHERE id = 3", [(3, "was edited")]),
        ("DELETE FROM audit WHERE id = 3", [(3, "is missing")]),
        ("DELETE FROM audit WHERE id IN (3, 4)", [(3, "and those up to 4 are missing")]),
        ("DELETE FROM audit WHERE id = 1", [(1, "is missing")]),
        ("DELETE FROM audit WHERE id >= 5", [(5, "and those up to 6 are missing at the end")]),
        (SWAP_3_AND_4, [(3, "was edited"), (4, "was edited")]),
    ],
)
async def test_what_was_changed_behind_its_back_is_named(
    store: SqlStore, tampering: str, found: list[tuple[int, str]]
) -> None:
    for number in range(1, 7):
        await note(store, f"c{number}")
    await audit.sign(store, ChainKey(ChainKey.generate()), HUB)
    assert (await verified(store)).findings == []

    await tamper(store, *tampering.split("; "))

    told = (await verified(store)).findings
    assert [finding.id for finding in told] == [number for number, _ in found]
    for finding, (_, words) in zip(told, found, strict=True):
        assert words in finding.message


async def test_who_writes_all_digests_anew_is_found_by_the_signature(store: SqlStore) -> None:
    for number in range(1, 5):
        await note(store, f"c{number}")
    await audit.sign(store, ChainKey(ChainKey.generate()), HUB)
    lines = [line async for line in audit.export(store, HUB)]
    previous = ""
    async with tampering_with(store) as unit:
        for line in lines:
            if line["type"] == "record":
                line["previous"] = previous
                line["actor"] = "eve" if line["id"] == 2 else line["actor"]
                previous = digest_of(line)
                row = {"actor": line["actor"], "previous": line["previous"], "digest": previous}
                one = tables.audit.c.id == line["id"]
                await unit.execute(update(tables.audit).where(one).values(row))

    (finding,) = (await verified(store)).findings

    assert finding.id == 4
    assert "is not the one that the checkpoint" in finding.message


async def test_old_entries_go_up_to_a_signed_start(store: SqlStore, clock: FakeClock) -> None:
    key = ChainKey(ChainKey.generate())
    for number in range(3):
        await note(store, f"c{number}")
    upto = await audit.sign(store, key, HUB)
    assert upto is not None
    await note(store, "c3")
    assert await audit.sign(store, key, HUB) is not None

    assert await audit.let_go(store, upto) == 3

    report = await verified(store)
    assert report.findings == []
    assert (report.first, report.last, report.signed_upto) == (4, 4, 4)
    await tamper(store, "DELETE FROM audit_checkpoint WHERE id = 3")
    (finding,) = (await verified(store)).findings
    assert finding.id == 1
    assert "and those up to 3 are missing" in finding.message


async def test_the_numbers_go_on_when_all_was_let_go(store: SqlStore) -> None:
    await note(store, "a")
    upto = await audit.sign(store, ChainKey(ChainKey.generate()), HUB)
    assert upto is not None
    await audit.let_go(store, upto)

    await note(store, "b")

    assert [entry.id for entry in await audit.list_entries(store)] == [2]
    assert (await verified(store)).findings == []


async def verified(store: SqlStore) -> Report:
    chain = Chain()
    async for line in audit.export(store, HUB):
        chain.read(line)
    return chain.finish()


async def tamper(store: SqlStore, *statements: str) -> None:
    async with tampering_with(store) as unit:
        for statement in statements:
            await unit.execute(text(statement))


@asynccontextmanager
async def tampering_with(store: SqlStore) -> AsyncIterator[Unit]:
    """Let the body do what the database would refuse."""
    async with store.writing() as unit:
        if unit.is_postgresql:
            await unit.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        else:
            await unit.execute(text("DROP TRIGGER audit_refuses_UPDATE"))
            await unit.execute(text("DROP TRIGGER audit_refuses_DELETE"))
        yield unit
