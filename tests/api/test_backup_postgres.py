"""Backup and restore of a hub on PostgreSQL, by PostgreSQL's own programs."""

import stat
import tarfile
from pathlib import Path

import psycopg
import pytest

from moorage.hub.backup import DUMP, back_up, restore
from moorage.hub.context import HubSettings
from moorage.hub.start import open_hub
from moorage.kit.clock import FakeClock
from moorage.kit.errors import ConflictError, InvalidError, UnavailableError
from moorage.resources import Metadata, Project
from moorage.store import open_store

pytestmark = pytest.mark.postgres


def another(postgres_urls: str, name: str) -> str:
    """Make an empty database."""
    admin = postgres_urls.format("postgres").replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres_urls.format(name)


async def test_a_backup_fills_an_empty_database_as_a_new_incarnation(
    postgres_url: str, postgres_urls: str, tmp_path: Path
) -> None:
    clock, target = FakeClock(), tmp_path / "backup.tar.gz"
    store = await open_store(postgres_url, clock=clock)
    before = await open_hub(store, HubSettings(), clock=clock)
    await store.create(Project(metadata=Metadata(name="shop")))

    back_up(tmp_path / "no-directory", target, clock, postgres_url)  # while the hub works
    await store.create(Project(metadata=Metadata(name="later")))
    await store.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with tarfile.open(target) as archive:
        assert DUMP in archive.getnames()

    empty = another(postgres_urls, "restored")
    incarnation = restore(target, tmp_path / "new", empty)

    store = await open_store(empty, clock=clock)
    after = await open_hub(store, HubSettings(), clock=clock)
    assert (after.installation, after.incarnation) == (before.installation, incarnation)
    assert incarnation != before.incarnation
    names = {project.metadata.name for project in await store.list(Project)}
    assert names == {"default", "shop"}
    # What is numbered from now on comes after what was restored.
    made = await store.create(Project(metadata=Metadata(name="new")))
    others = [one.metadata.resource_version for one in await store.list(Project)]
    assert made.metadata.resource_version == max(others)
    await store.close()
    assert not (tmp_path / "new" / DUMP).exists()

    with pytest.raises(ConflictError, match="not empty"):
        restore(target, tmp_path / "newer", empty)
    with pytest.raises(InvalidError, match="give --database"):
        restore(target, tmp_path / "newest")


def test_a_database_that_is_not_there_leaves_no_backup(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://nobody:geheim@/none?host={tmp_path}"

    with pytest.raises(UnavailableError, match="pg_dump failed") as failed:
        back_up(tmp_path, tmp_path / "b.tar.gz", FakeClock(), url)

    assert "geheim" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []
