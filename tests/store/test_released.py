"""Data of every release is brought up to date, and nothing of it is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from moorage.auth import verify_password
from moorage.hub.context import HubSettings
from moorage.hub.start import open_hub
from moorage.kit.chain import Chain
from moorage.kit.clock import FakeClock
from moorage.resources import KINDS, Cluster, Machine, User
from moorage.store import access, audit, events, open_store
from tests.store.released import FOLDER, PASSWORD

FILES = {file.stem: file.read_text() for file in sorted(FOLDER.glob("*.sql"))}


@pytest.mark.parametrize("released", FILES)
async def test_data_of_a_release_is_all_there(released: str, tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    with closing(sqlite3.connect(file)) as old:
        old.executescript(FILES[released])
        before = dict(old.execute("SELECT kind, count(*) FROM resource GROUP BY kind"))
        clock = FakeClock()

    store = await open_store(f"sqlite:///{file}", clock=clock)
    try:
        found = {name: len(await store.list(kind)) for name, kind in KINDS.items()}
        assert {name: count for name, count in found.items() if count} == before
        newest = await store.version()
        hub = await open_hub(store, HubSettings(), clock=clock)
        assert await store.get_value("installation") == hub.installation
        assert await store.get_value("custom") == "kept"

        assert (await store.get(Cluster, "default", "demo")).metadata.uid
        assert (await store.get(User, "", "ann")).spec.grants[0].project == "shop"
        digest = await access.find_password_hash(store, "ann")
        assert verify_password(PASSWORD, digest).ok
        key = await access.find_api_key(store, "ab" * 32)
        assert key is not None
        assert key.user == "ann"
        session = await access.find_session(store, "cd" * 32)
        assert session is not None
        assert session.user == "ann"
        assert [one.reason for one in await events.list_events(store)] == ["Ready"]
        chain = Chain()
        async for line in audit.export(store, hub.installation):
            chain.read(line)
        report = chain.finish()
        assert report.findings == []
        assert report.records >= 2
        assert {entry.verb for entry in await audit.list_entries(store)} >= {"create", "update"}

        made = await store.get(Machine, "default", "demo-workers-1")
        made.metadata.labels["after"] = "the-upgrade"
        assert (await store.put_spec(made)).metadata.resource_version > newest
    finally:
        await store.close()


def test_there_is_data_of_a_release() -> None:
    assert FILES
