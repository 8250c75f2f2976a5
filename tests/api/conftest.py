"""A hub in this process, spoken to over ASGI, with an administrator who is logged in."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx2
import pytest
from fastapi import FastAPI

from moorage.hub.app import create_app
from moorage.hub.context import Hub, HubSettings
from moorage.hub.start import open_hub
from moorage.kit.clock import FakeClock
from moorage.store import open_store
from tests.api.world import World


class Template(NamedTuple):
    """A hub after its first start, to be copied: migrations and password hashes take long."""

    data: Path
    token: str
    app: FastAPI


def settings_in(data: Path) -> HubSettings:
    return HubSettings(
        data=data,
        public_url="https://hub.example.com",
        ca_certificate="-----BEGIN CERTIFICATE-----\n",
        ca_fingerprint="sha256:" + ":".join(["AB"] * 32),
    )


def url_in(data: Path) -> str:
    return f"sqlite:///{data}/hub.db"


async def log_in(hub: Hub, app: FastAPI) -> str:
    """Log the first administrator in."""
    file = hub.settings.initial_password_file
    assert file is not None
    app.state.hub = hub
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://hub") as http:
        body = {"username": "admin", "password": file.read_text().strip()}
        token: str = (await http.post("/v1/login", json=body)).json()["token"]
    return token


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Start a hub for the first time, once."""
    data = tmp_path_factory.mktemp("template")

    async def begin() -> Template:
        clock = FakeClock()
        store = await open_store(url_in(data), clock=clock)
        hub = await open_hub(store, settings_in(data), clock=clock)
        app = create_app(hub, background=False)
        token = await log_in(hub, app)
        await store.close()
        return Template(data, token, app)

    return anyio.run(begin)


@pytest.fixture
def database() -> str | None:
    """Return the URL of an empty database; ``None``: a copy of the template, on SQLite."""
    return None


@pytest.fixture
async def world(
    tmp_path: Path, clock: FakeClock, template: Template, database: str | None
) -> AsyncIterator[World]:
    """Return a hub with a project, an administrator who is logged in, and nothing else."""
    if database is None:
        shutil.copytree(template.data, tmp_path, dirs_exist_ok=True)
    async with AsyncExitStack() as stack:
        store = await open_store(database or url_in(tmp_path), clock=clock)
        stack.push_async_callback(store.close)
        hub = await open_hub(store, settings_in(tmp_path), clock=clock)
        template.app.state.hub = hub
        http = await stack.enter_async_context(
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(template.app), base_url="https://hub.example.com"
            )
        )
        world = World(hub, http, clock)
        world.tokens["admin"] = (
            template.token if database is None else await log_in(hub, template.app)
        )
        yield world
