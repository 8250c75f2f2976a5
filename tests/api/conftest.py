"""A hub in this process, spoken to over ASGI, with an administrator who is logged in."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from moorage.hub.app import create_app
from moorage.hub.context import HubSettings
from moorage.hub.start import open_hub
from moorage.kit.clock import FakeClock
from moorage.store import open_store
from tests.api.world import World


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Return the URL of an empty database: SQLite, but where a module says otherwise."""
    return f"sqlite+aiosqlite:///{tmp_path}/hub.db"


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock, database: str) -> AsyncIterator[World]:
    """Start a hub on an empty database and log its first administrator in."""
    async with AsyncExitStack() as stack:
        store = await open_store(database, clock=clock)
        stack.push_async_callback(store.close)
        settings = HubSettings(
            data=tmp_path,
            public_url="https://hub.example.com",
            ca_certificate="-----BEGIN CERTIFICATE-----\n",
            ca_fingerprint="sha256:" + ":".join(["AB"] * 32),
        )
        hub = await open_hub(store, settings, clock=clock)
        transport = httpx2.ASGITransport(create_app(hub, background=False))
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=transport, base_url="https://hub.example.com")
        )
        world = World(hub, http, clock)
        await world.log_in("admin", (tmp_path / "initial-admin-password").read_text().strip())
        yield world
