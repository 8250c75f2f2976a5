"""Data as a release leaves it, in ``tests/store/released/``: a file for each newest migration.

``python -m tests.store.released`` writes that of this version, when it is released. A file that is
there stays as it is: it is what users have.
"""

import tempfile
from datetime import timedelta
from pathlib import Path

import anyio

from moorage.auth import hash_password
from moorage.hub.context import HubSettings
from moorage.hub.start import open_hub
from moorage.kit.clock import FakeClock
from moorage.resources import Gateway, Metadata, Project, User
from moorage.resources.access import Grant, UserSpec
from moorage.store import access, audit, events, migrate, open_store
from moorage.store.migrations.snapshot import dump
from tests.builders import a_cluster, a_machine, a_node_pool, an_ip_pool

FOLDER = Path(__file__).with_name("released")
PASSWORD = "as it was in that release"


async def fill(file: Path) -> None:
    """Make a database with something in every part that people would miss."""
    clock = FakeClock()
    store = await open_store(f"sqlite:///{file}", clock=clock)
    await open_hub(store, HubSettings(), clock=clock)
    await store.create(Project(metadata=Metadata(name="shop")))
    await store.create(Gateway(metadata=Metadata(name="site-a")))
    grants = [Grant(role="cluster-admin", project="shop")]
    await store.create(User(metadata=Metadata(name="ann"), spec=UserSpec(grants=grants)))
    await access.set_password_hash(store, "ann", hash_password(PASSWORD))
    await access.add_api_key(store, id_="k1", name="ci", user="ann", hash_="ab" * 32)
    ends = clock.now() + timedelta(hours=12)
    await access.add_session(store, id_hash="cd" * 32, user="ann", expires_at=ends, id_="s1")
    for resource in (an_ip_pool(), a_cluster(), a_node_pool(), a_machine("demo-workers-1")):
        await store.create(resource)
    await store.put_mirror(a_machine("demo-workers-2"))
    await store.delete(await store.create(a_machine("demo-workers-3")))
    await events.record(store, events.News(a_cluster(), "Ready", "as it should be"))
    for verb in ("create", "update"):
        await audit.append(
            store, actor="ann", source="192.0.2.1", verb=verb, kind="Cluster", name="demo"
        )
    await store.set_value("custom", "kept")
    await store.close()


def main() -> None:
    """Write this version's file."""
    target = FOLDER / f"{migrate.HEAD}.sql"
    if target.exists():
        raise SystemExit(f"{target} is there already: what is released is not written over")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hub.db"
        anyio.run(fill, file)
        target.write_text(dump(file), encoding="utf-8")


if __name__ == "__main__":
    main()
