"""Migrations make exactly the tables that the code uses, once, whoever comes first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from moorage.kit.chain import Chain
from moorage.kit.clock import FakeClock
from moorage.kit.errors import TerminalError
from moorage.resources import Metadata, User
from moorage.resources.access import Grant, UserSpec
from moorage.store import SqlStore, audit, events, migrate, open_store, tables
from moorage.store.migrations import snapshot
from tests.builders import a_cluster

UNDO_0005_AND_LATER: tuple[str, ...] = (
    "DROP TABLE idempotency",
    "DROP TABLE totp",
    "DROP INDEX ix_session_id",
    "ALTER TABLE session DROP COLUMN id",
    "ALTER TABLE session DROP COLUMN source",
    "ALTER TABLE session DROP COLUMN agent",
    "ALTER TABLE session DROP COLUMN method",
    "ALTER TABLE api_key DROP COLUMN bounds",
    "DROP TABLE alert",
    "DROP TABLE delivery",
    "DROP TABLE channel_secret",
    "DROP TRIGGER audit_refuses_UPDATE",
    "DROP TRIGGER audit_refuses_DELETE",
    "DROP TABLE audit_checkpoint",
    "ALTER TABLE audit DROP COLUMN previous",
)
"""What later migrations made, for one that runs them again."""


@contextmanager
def connected(store: SqlStore) -> Iterator[Connection]:
    engine = create_engine(store.url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_new_sqlite_file_is_what_the_migrations_make() -> None:
    hint = "a migration changed: run `python -m moorage.store.migrations.snapshot`"
    assert migrate.SNAPSHOT.read_text() == snapshot.migrated(), hint


async def test_the_snapshot_makes_what_it_says(sqlite_store: SqlStore, tmp_path: Path) -> None:
    await sqlite_store.close()

    assert snapshot.dump(tmp_path / "moorage.db") == migrate.SNAPSHOT.read_text()


async def test_migrations_make_the_tables_of_the_code(store: SqlStore) -> None:
    with connected(store) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables.metadata)

    assert differences == []


def test_the_newest_migration_is_known_to_the_code() -> None:
    scripts = ScriptDirectory(str(migrate._FOLDER))

    assert scripts.get_heads() == [migrate.HEAD]


async def test_opening_again_changes_nothing(store: SqlStore, clock: FakeClock) -> None:
    await store.set_value("a", "b")
    url = store.url.render_as_string(hide_password=False)

    again = await open_store(url, clock=clock)
    try:
        assert await again.get_value("a") == "b"
    finally:
        await again.close()


async def test_many_at_once_migrate_once(database_url: str, clock: FakeClock) -> None:
    stores: list[SqlStore] = []

    async def start() -> None:
        stores.append(await open_store(database_url, clock=clock))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(start)

    assert [await store.version() for store in stores] == [0, 0, 0]
    for store in stores:
        await store.close()


async def test_the_database_of_a_newer_release_is_refused(store: SqlStore) -> None:
    async with store.writing() as unit:
        await unit.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(TerminalError, match=r"written by a newer Moorage .*9999") as caught:
        await open_store(store.url.render_as_string(hide_password=False))
    assert caught.value.reason == "StoreTooNew"


async def test_events_of_an_earlier_release_keep_their_order(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    engine = create_engine(url)
    with monkeypatch.context() as earlier, engine.begin() as connection:
        earlier.setattr(migrate, "HEAD", "0001")
        migrate.upgrade(connection, url)
        for name, at in (("second", 2000), ("first", 1000)):
            connection.execute(
                text(
                    "INSERT INTO event VALUES (:name, 'Cluster', 'default', 'demo', 'u', 'Normal', "
                    ":name, '', :at, :at, 1)"
                ),
                {"name": name, "at": at},
            )
    engine.dispose()

    store = await open_store(url, clock=clock)
    try:
        await events.record(store, events.News(a_cluster(), "third", ""))
        found = await events.list_events(store)
    finally:
        await store.close()
    assert [event.reason for event in found] == ["third", "second", "first"]


async def test_grants_of_before_there_were_roles_permit_the_same(
    sqlite_store: SqlStore, clock: FakeClock
) -> None:
    user = User(
        metadata=Metadata(name="ann"),
        spec=UserSpec(
            grants=[
                Grant(role="admin"),
                Grant(role="viewer"),
                Grant(role="admin", project="shop"),
                Grant(role="viewer", project="shop"),
            ]
        ),
    )
    await sqlite_store.create(user)
    with connected(sqlite_store) as connection:
        # Only the documents differ between these: what 0004 did is done again.
        for statement in UNDO_0005_AND_LATER:
            connection.execute(text(statement))
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
        connection.commit()
    url = sqlite_store.url.render_as_string(hide_password=False)
    await sqlite_store.close()

    again = await open_store(url, clock=clock)
    try:
        grants = (await again.get(User, "", "ann")).spec.grants
    finally:
        await again.close()
    assert [(grant.role, grant.project) for grant in grants] == [
        ("tenant-admin", "*"),
        ("project-viewer", "*"),
        ("project-admin", "shop"),
        ("project-viewer", "shop"),
    ]


async def test_the_trail_of_an_earlier_release_becomes_a_chain(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    engine = create_engine(url)
    with monkeypatch.context() as earlier, engine.begin() as connection:
        earlier.setattr(migrate, "HEAD", "0006")
        migrate.upgrade(connection, url)
        for number in (1, 2, 5):
            connection.execute(
                text(
                    "INSERT INTO audit VALUES (:id, 1700000000000001, 'ann', '', 'create', "
                    "'Cluster', 'shop', 'w\u00e9b', 'ok', NULL, :after, 'old')"
                ),
                {"id": number, "after": '{"b": 1, "a": "\u00e9"}'},
            )
    engine.dispose()

    store = await open_store(url, clock=clock)
    try:
        await audit.append(store, actor="ann", source="", verb="x", kind="Cluster", name="web")
        chain = Chain()
        async for line in audit.export(store, "hub"):
            chain.read(line)
    finally:
        await store.close()
    report = chain.finish()
    assert report.findings == []
    assert (report.records, report.first, report.last) == (4, 1, 4)
