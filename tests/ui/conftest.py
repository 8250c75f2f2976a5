"""A browser without scripts: a client that keeps cookies, follows redirects and sends forms."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.api.conftest import database, template, world
from tests.api.world import World
from tests.ui.browser import ORIGIN, Browser

__all__ = ["database", "template", "world"]  # fixtures that pytest finds here


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[Browser]:
    """Return a browser that nobody has logged in with."""
    async with httpx2.AsyncClient(transport=world.http._transport, base_url=ORIGIN) as http:
        yield Browser(http)


@pytest.fixture
async def browser(stranger: Browser, world: World) -> Browser:
    """Return a browser in which the administrator is logged in."""
    file = world.hub.settings.initial_password_file
    assert file is not None
    await stranger.log_in("admin", file.read_text().strip())
    return stranger
