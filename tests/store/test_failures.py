"""When the database fails: clear words, nothing half-written, and going on when it recovers."""

import os
import shutil
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from moorage.kit.clock import FakeClock
from moorage.kit.errors import InvalidError, TerminalError, UnavailableError
from moorage.resources import Metadata, Project
from moorage.store import SqlStore, open_store


def a_project(name: str, description: str = "") -> Project:
    return Project.model_validate(
        {"metadata": Metadata(name=name), "spec": {"description": description}}
    )


async def test_a_full_disk_says_so_and_loses_nothing(sqlite_store: SqlStore) -> None:
    store = sqlite_store
    await store.create(a_project("kept"))
    async with store.writing() as unit:  # stands for the disk: SQLite answers the same
        pages = (await unit.execute(text("PRAGMA page_count"))).scalar_one()
        await unit.execute(text(f"PRAGMA max_page_count = {pages + 1}"))

    async def fill() -> None:
        for number in range(100):
            await store.create(a_project(f"p{number}", "x" * 1000))

    with pytest.raises(UnavailableError, match=r"moorage\.db .*disk is full: free some space"):
        await fill()
    before = await store.count(Project)

    async with store.writing() as unit:
        await unit.execute(text("PRAGMA max_page_count = 1000000"))
    await store.create(a_project("after"))
    assert await store.count(Project) == before + 1
    assert await store.find(Project, "", "kept") is not None


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "moorage.db"
    file.write_bytes(b"these are not the bytes of a database at all" * 100)

    with pytest.raises(TerminalError, match=r"is damaged .*restore the last backup") as caught:
        await open_store(f"sqlite:///{file}")

    assert caught.value.reason == "StoreCorrupt"


async def test_a_damaged_page_is_named(sqlite_url: str, tmp_path: Path, clock: FakeClock) -> None:
    store = await open_store(sqlite_url, clock=clock)
    for number in range(50):
        await store.create(a_project(f"p{number}", "x" * 900))
    await store.close()
    file = tmp_path / "moorage.db"
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)  # all but the first page
    file.write_bytes(content)

    async def look() -> None:
        reopened = await open_store(sqlite_url, clock=clock)
        try:
            await reopened.list(Project)
        finally:
            await reopened.close()

    with pytest.raises(TerminalError, match="is damaged"):
        await look()


async def test_whoever_opens_it_alone_finds_damage_before_anything_reads_it(
    sqlite_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    store = await open_store(sqlite_url, clock=clock)
    for number in range(50):
        await store.create(a_project(f"p{number}", "x" * 900))
    await store.close()
    file = tmp_path / "moorage.db"
    content = bytearray(file.read_bytes())
    content[-4096:] = os.urandom(4096)
    file.write_bytes(content)

    with pytest.raises(TerminalError, match=r"table resource.*: call somebody") as caught:
        await open_store(sqlite_url, clock=clock, exclusive=True, remedy="call somebody")

    assert caught.value.reason == "StoreCorrupt"
    assert file.read_bytes() == content, "it was written to"


async def test_the_owner_hears_of_damage_that_is_met_later(
    sqlite_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    store = await open_store(sqlite_url, clock=clock)
    file = tmp_path / "moorage.db"
    async with anyio.create_task_group() as tasks:
        heard: list[TerminalError] = []

        async def own() -> None:
            try:
                await store.wellbeing.watch()
            except TerminalError as error:
                heard.append(error)

        tasks.start_soon(own)
        for number in range(50):
            await store.create(a_project(f"p{number}", "x" * 900))
        async with store.reading() as unit:
            await unit.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        with file.open("r+b") as handle:
            handle.seek(8192)
            handle.write(os.urandom(file.stat().st_size - 8192))
        with pytest.raises(TerminalError):
            await store.list(Project)
    await store.close()
    assert [error.reason for error in heard] == ["StoreCorrupt"]


async def test_an_end_without_order_is_told_from_a_lost_log(
    sqlite_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    file, died = tmp_path / "moorage.db", tmp_path / "died"
    died.mkdir()
    store = await open_store(sqlite_url, clock=clock, exclusive=True)
    assert not store.may_lack_commits, "a new file lacks nothing"
    await store.create(a_project("one"))
    _copy_database(tmp_path, died)  # what a killed process would leave
    await store.close()
    again = await open_store(sqlite_url, clock=clock, exclusive=True)
    assert not again.may_lack_commits, "it ended in order"
    await again.close()

    url = f"sqlite:///{died / file.name}"
    killed = await open_store(url, clock=clock, exclusive=True)
    assert not killed.may_lack_commits, "its log was there"
    await killed.close()
    (died / "moorage.db.open").touch()
    lost = await open_store(url, clock=clock, exclusive=True)
    assert lost.may_lack_commits
    await lost.close()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none/moorage\.db: No such file or directory"):
        await open_store(f"sqlite:///{tmp_path}/none/moorage.db")


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://host/db", "sqlite://", "sqlite:///:memory:"],
)
async def test_a_wrong_url_says_how_to_write_it(url: str) -> None:
    with pytest.raises(InvalidError, match="sqlite:///path"):
        await open_store(url)


async def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://moorage:very-secret@/db?host={tmp_path}"

    with pytest.raises(UnavailableError) as caught:
        await open_store(url)

    assert str(tmp_path) in str(caught.value)
    assert "very-secret" not in str(caught.value)


async def test_the_file_can_be_read_by_its_owner_only(
    sqlite_store: SqlStore, tmp_path: Path
) -> None:
    await sqlite_store.create(a_project("one"))

    modes = _modes(tmp_path)

    assert len(modes) == 3  # the write-ahead log and its index too
    assert set(modes.values()) == {0o600}


async def test_a_second_process_is_kept_out(sqlite_url: str, clock: FakeClock) -> None:
    first = await open_store(sqlite_url, clock=clock, exclusive=True)
    with pytest.raises(UnavailableError, match="another process works with this database"):
        await open_store(sqlite_url, clock=clock, exclusive=True)
    await first.close()

    second = await open_store(sqlite_url, clock=clock, exclusive=True)
    await second.close()


async def test_readers_cannot_write(sqlite_store: SqlStore) -> None:
    with pytest.raises(UnavailableError, match="readonly"):
        async with sqlite_store.reading() as unit:
            await unit.execute(text("DELETE FROM value"))


def _copy_database(folder: Path, to: Path) -> None:
    for file in folder.glob("moorage.db*"):
        shutil.copy(file, to / file.name)


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
