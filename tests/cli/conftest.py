"""A hub with TLS on loopback for each test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from tests.cli.world import HubThread, World


@pytest.fixture(autouse=True)
def _quiet_hub() -> Iterator[None]:
    """Keep the hub's log out of what the CLI prints: here they are one process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Start a hub once: tests begin with a copy of its data, migrated and with its CA."""
    folder = tmp_path_factory.mktemp("started")
    with _running(folder):
        pass
    return folder


@pytest.fixture(scope="session")
def furnished(started: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Log in once and make a gateway, an account and an IP pool: tests begin with a copy."""
    folder = tmp_path_factory.mktemp("furnished")
    shutil.copytree(started, folder, dirs_exist_ok=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with _running(folder) as world:
        world.site()
    return world


@pytest.fixture
def world(started: Path, tmp_path: Path) -> Iterator[World]:
    """Start a hub; nobody is logged in."""
    shutil.copytree(started, tmp_path, dirs_exist_ok=True)
    with _running(tmp_path) as world:
        yield world


@pytest.fixture
def site(furnished: World, tmp_path: Path) -> Iterator[World]:
    """Start a hub with a gateway, an account and an IP pool; the administrator is logged in."""
    shutil.copytree(furnished.folder, tmp_path, dirs_exist_ok=True)
    with _running(tmp_path) as world:
        world.identity, world.sealing = furnished.identity, furnished.sealing
        text = world.config.read_text().replace(furnished.hub.url, world.hub.url)
        world.config.write_text(text)
        yield world


@contextmanager
def _running(folder: Path) -> Iterator[World]:
    data = folder / "hub"
    data.mkdir(mode=0o700, exist_ok=True)
    hub = HubThread(data)
    hub.start()
    yield World(hub, folder)
    hub.stop()
