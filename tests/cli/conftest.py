"""A hub with TLS on loopback for each test."""

from collections.abc import Iterator
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


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Start a hub; nobody is logged in."""
    data = tmp_path / "hub"
    data.mkdir(mode=0o700)
    hub = HubThread(data)
    hub.start()
    yield World(hub, tmp_path, monkeypatch)
    hub.stop()


@pytest.fixture
def site(world: World) -> World:
    """Log in and make a gateway, an account and an IP pool."""
    world.site()
    return world
