"""Lists: pages, selectors, and streams of what changes."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from moorage.auth import Reach
from moorage.auth.rights import EVERYTHING
from moorage.hub.watch import Watch
from moorage.resources import Cluster, NodePool, Project
from moorage.resources.selector import matches, parse_selector
from tests.api.world import Json, World, a_cluster

PROJECTS = "/v1/projects"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str | None:
    """Run each test on SQLite and, with ``--postgres``, on PostgreSQL."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url


async def projects(world: World, *names: str, **labels: str) -> None:
    for name in names:
        await world.ok("POST", PROJECTS, {"metadata": {"name": name, "labels": labels}})


async def names(world: World, **params: Any) -> list[str]:
    page = await world.ok("GET", PROJECTS, **params)
    return [item["metadata"]["name"] for item in page["items"]]


async def test_a_list_is_read_page_by_page(world: World) -> None:
    await projects(world, *(f"p{n}" for n in range(7)))
    seen: list[str] = []
    token: dict[str, str] = {}
    pages = 0
    while True:
        page = await world.ok("GET", PROJECTS, limit=3, **token)
        seen += [item["metadata"]["name"] for item in page["items"]]
        pages += 1
        if "continue" not in page:
            break
        token = {"continue": page["continue"]}

    assert seen == ["default", *(f"p{n}" for n in range(7))]
    assert pages == 3


@pytest.mark.parametrize("token", ["x", "bnVsbA", "WzEsMl0", "%%%", "e30"])
async def test_a_forged_continue_token_is_refused(world: World, token: str) -> None:
    faults = await world.faults("GET", PROJECTS, **{"continue": token})
    assert "continue" in faults


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("env=prod", ["a"]),
        ("env!=prod", ["b", "default"]),
        ("env", ["a", "b"]),
        ("!env", ["default"]),
        ("env in (prod,test)", ["a", "b"]),
        ("env notin (prod)", ["b", "default"]),
    ],
)
async def test_a_selector_means_the_same_in_lists_and_watches(
    world: World, selector: str, found: list[str]
) -> None:
    await projects(world, "a", env="prod")
    await projects(world, "b", env="test")

    assert await names(world, labelSelector=selector) == found
    parsed = parse_selector(selector)
    everything = await world.hub.store.list(Project)
    assert [p.metadata.name for p in everything if matches(parsed, p.metadata.labels)] == found


async def test_a_selector_that_cannot_be_read_is_refused(world: World) -> None:
    problem = await world.refused(422, "GET", PROJECTS, labelSelector="a===b")
    assert "a===b" in problem["detail"]


async def test_a_project_that_one_may_not_see_is_in_no_list(world: World) -> None:
    await projects(world, "mine", "yours")
    await world.make_user("alice", [{"role": "project-viewer", "project": "mine"}])

    assert await names(world, user="alice") == ["mine"]
    await world.refused(404, "GET", f"{PROJECTS}/yours", user="alice")
    await world.refused(404, "GET", f"{PROJECTS}/yours/clusters", user="alice")
    await world.refused(403, "DELETE", f"{PROJECTS}/mine", user="alice")


class Stream:
    """One client's watch, read event by event."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.position = 0

    async def next(self) -> Json:
        """Return the next event."""
        with anyio.fail_after(5):
            chunk = (await anext(self._chunks)).decode()
        assert chunk.endswith("\n\n")
        lines = dict(line.split(": ", 1) for line in chunk.strip().split("\n"))
        event = json.loads(lines["data"])
        assert lines["event"] == event["type"]
        if event["type"] == "BOOKMARK":
            self.position = event["object"]["metadata"]["resourceVersion"]
            assert lines["id"] == str(self.position)
        return dict(event)

    async def burst(self) -> list[tuple[str, str]]:
        """Return type and name of all events up to the next bookmark."""
        found = []
        while (event := await self.next())["type"] != "BOOKMARK":
            found.append((event["type"], event["object"]["metadata"]["name"]))
        return found


@pytest.fixture
async def watch(world: World) -> AsyncIterator[Callable[..., Stream]]:
    """Return a function that opens a stream of projects."""
    async with AsyncExitStack() as stack:

        def begin(
            since: int | None = None,
            selector: str = "",
            sees: Callable[[str], bool] = lambda _: True,
            kind: type[Project] | type[Cluster] | type[NodePool] = Project,
            reach: Reach = EVERYTHING,
            allowed: Callable[[], bool] = lambda: True,
        ) -> Stream:
            async def still_allowed() -> bool:
                return allowed()

            chunks = Watch(
                hub=world.hub,
                kind=kind,
                project=None,
                selector=parse_selector(selector),
                since=since,
                show=kind.text,
                sees=sees,
                reach=reach,
                still_allowed=still_allowed,
            ).events()
            stack.push_async_callback(chunks.aclose)
            return Stream(chunks)

        yield begin


async def test_a_watch_begins_with_what_is_there_and_goes_on(
    world: World, watch: Callable[..., Stream]
) -> None:
    await projects(world, "a")
    stream = watch()
    assert await stream.burst() == [("ADDED", "a"), ("ADDED", "default")]

    await projects(world, "b")
    assert await stream.burst() == [("ADDED", "b")]
    await world.ok("PUT", f"{PROJECTS}/a/spec", {"description": "new"})
    assert await stream.burst() == [("MODIFIED", "a")]
    await world.ok("DELETE", f"{PROJECTS}/a")
    assert await stream.burst() == [("DELETED", "a")]


async def test_a_watch_resumes_where_it_was_and_misses_nothing(
    world: World, watch: Callable[..., Stream]
) -> None:
    await projects(world, "a", "b")
    first = watch()
    await first.burst()
    await projects(world, "c")
    await world.ok("DELETE", f"{PROJECTS}/a")
    await world.ok("PUT", f"{PROJECTS}/b/labels", {"x": "y"})

    again = watch(since=first.position)

    assert sorted(await again.burst()) == [("ADDED", "b"), ("ADDED", "c"), ("DELETED", "a")]
    await projects(world, "d")
    assert await again.burst() == [("ADDED", "d")]


async def test_an_object_that_no_longer_matches_is_told_as_deleted(
    world: World, watch: Callable[..., Stream]
) -> None:
    await projects(world, "a", env="prod")
    stream = watch(selector="env=prod")
    assert await stream.burst() == [("ADDED", "a")]

    await world.ok("PUT", f"{PROJECTS}/a/labels", {"env": "test"})
    assert await stream.burst() == [("DELETED", "a")]
    await world.ok("PUT", f"{PROJECTS}/a/labels", {"env": "prod"})
    assert await stream.burst() == [("ADDED", "a")]


async def test_a_watch_tells_nothing_of_what_one_may_not_see(
    world: World, watch: Callable[..., Stream]
) -> None:
    await projects(world, "mine", "yours")
    stream = watch(sees=lambda name: name == "mine")
    assert await stream.burst() == [("ADDED", "mine")]

    await world.ok("DELETE", f"{PROJECTS}/yours")
    assert await stream.burst() == []
    await world.ok("DELETE", f"{PROJECTS}/mine")
    assert await stream.burst() == [("DELETED", "mine")]


async def test_a_watch_ends_when_the_right_does(world: World, watch: Callable[..., Stream]) -> None:
    rights = [True]
    stream = watch(allowed=lambda: rights[0])
    await stream.burst()

    rights[0] = False
    world.forward(seconds=16)
    await projects(world, "secret")

    with pytest.raises(StopAsyncIteration):
        await stream.next()


async def test_history_that_this_hub_does_not_know_is_gone(world: World) -> None:
    version = await world.hub.store.version()
    problem = await world.refused(410, "GET", PROJECTS, watch=True, resourceVersion=version + 1)
    assert problem["type"] == "/problems/expired"
    assert "list again" in problem["detail"]


async def test_a_watch_by_labels_follows_clusters_in_and_out_of_sight(
    world: World, watch: Callable[..., Stream]
) -> None:
    clusters = "/v1/projects/default/clusters"
    await world.site()
    for name in ("dev", "prod"):
        document = a_cluster(name)
        document["metadata"]["labels"] = {"env": name}
        await world.ok("POST", clusters, document)
    dev = Reach((("env=dev", "tier=open"),))

    stream = watch(kind=Cluster, reach=dev)
    assert await stream.burst() == [("ADDED", "dev")]
    await world.ok("PUT", f"{clusters}/prod/labels", {"env": "prod", "tier": "open"})
    assert await stream.burst() == [("ADDED", "prod")]
    await world.ok("PUT", f"{clusters}/prod/labels", {"env": "prod"})
    assert await stream.burst() == [("DELETED", "prod")]
    await world.ok("PUT", f"{clusters}/prod/labels", {"env": "prod", "a": "b"})
    assert await stream.burst() == []


async def test_a_watch_of_parts_ends_when_a_clusters_labels_may_have_changed(
    world: World, watch: Callable[..., Stream]
) -> None:
    await world.site()
    document = a_cluster("dev")
    document["metadata"]["labels"] = {"env": "dev"}
    await world.ok("POST", "/v1/projects/default/clusters", document)

    stream = watch(kind=NodePool, reach=Reach((("env=dev",),)))
    assert await stream.burst() == [("ADDED", "dev-workers")]
    assert await watch(kind=NodePool, reach=Reach((("env=prod",),))).burst() == []
    await world.ok("PUT", "/v1/projects/default/clusters/dev/labels", {"env": "prod"})
    with pytest.raises(StopAsyncIteration):
        await stream.burst()
