"""The client's watch against a real hub: every change once, from where a bookmark was."""

import anyio
import pytest

from moorage.client import Api, WatchEvent
from moorage.kit.net import ServerTrust, read_pem
from moorage.resources import Metadata, Project
from tests.cli.world import World


async def follow(world: World, since: int, want: int) -> list[WatchEvent[Project]]:
    """Return the first ``want`` changes, and the bookmark behind them."""
    seen: list[WatchEvent[Project]] = []
    tls = ServerTrust(ca_pem=read_pem(world.ca)).context()
    async with Api(world.hub.url, tls=tls) as stranger:
        token = await stranger.login("admin", world.admin_password.read_text().strip())
    async with Api(world.hub.url, token=token, tls=tls) as api:
        with anyio.fail_after(20):
            async for event in api.watch(Project, since=since):
                seen.append(event)
                changes = [one for one in seen if one.type != "BOOKMARK"]
                if event.type == "BOOKMARK" and len(changes) >= want:
                    return seen
    pytest.fail(f"the stream ended early: {seen}")


def test_a_watch_goes_on_at_its_bookmark_and_tells_deletions(world: World) -> None:
    world.log_in()
    world.ok("projects add one")

    first = anyio.run(follow, world, 0, 1)
    added = {event.metadata.name for event in first if event.metadata}
    bookmark = first[-1].position
    world.ok("projects add two")
    world.ok("projects delete one --yes")
    second = [e for e in anyio.run(follow, world, bookmark, 2) if e.type != "BOOKMARK"]

    assert "one" in added
    told = {(e.type, e.metadata.name) for e in second if isinstance(e.metadata, Metadata)}
    assert told == {("ADDED", "two"), ("DELETED", "one")}
    assert all((e.resource is None) == (e.type == "DELETED") for e in second)
