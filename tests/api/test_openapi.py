"""The OpenAPI document is the committed one, and nothing that it allows makes the hub fail."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from moorage.hub.app import bare_app, create_app
from moorage.hub.context import HubSettings
from moorage.hub.main import openapi_text
from moorage.hub.start import open_hub
from moorage.kit.clock import FakeClock, SystemClock
from moorage.store import open_store
from tests.api.world import World, a_cluster

COMMITTED = Path(__file__).parents[2] / "openapi" / "v1.json"
SCHEMA = schemathesis.openapi.from_dict(bare_app(SystemClock()).openapi())
OPERATIONS = {op.ok().label: op.ok() for op in SCHEMA.get_all_operations()}
ENDS_THE_SESSION = "POST /v1/logout"
FOREIGN = "zanzibar"
"""A cluster of a project in which none of these has a role."""
STRANGERS = {"ann": "project-admin", "bob": "cluster-viewer", "cid": "account-admin"}


def test_the_committed_document_is_that_of_the_code() -> None:
    same = COMMITTED.read_text() == openapi_text()
    assert same, "run `moorage-hub openapi > openapi/v1.json` and commit it"


def test_every_operation_has_a_name_of_its_own_and_words() -> None:
    document = json.loads(COMMITTED.read_text())
    operations = [op for item in document["paths"].values() for op in item.values()]
    assert len({op["operationId"] for op in operations}) == len(operations)
    assert all(op["summary"] for op in operations)
    for operation in operations:
        assert "application/json" not in operation["responses"].get("4XX", {}).get("content", {})
        assert "422" not in operation["responses"]
    assert all("-Input" not in name for name in document["components"]["schemas"])


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def world(portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start a hub in a thread of its own: hypothesis runs its examples without a loop."""
    data = tmp_path_factory.mktemp("hub")

    async def begin() -> World:
        clock = FakeClock()
        store = await open_store(f"sqlite:///{data}/hub.db", clock=clock)
        hub = await open_hub(store, HubSettings(data=data), clock=clock)
        transport = httpx2.ASGITransport(create_app(hub, background=False))
        http = httpx2.AsyncClient(transport=transport, base_url="https://hub")
        world = World(hub, http, clock)
        await world.log_in("admin", (data / "initial-admin-password").read_text().strip())
        await world.site()
        await world.ok("POST", "/v1/projects/default/clusters", a_cluster(FOREIGN))
        await world.ok("POST", "/v1/projects", {"metadata": {"name": "shop"}})
        for user, role in STRANGERS.items():
            await world.make_user(user, [{"role": role, "project": "shop"}])
        return world

    world = portal.call(begin)
    yield world
    portal.call(world.http.aclose)
    portal.call(world.hub.store.close)


def _cases() -> list[tuple[str, GenerationMode]]:
    found = []
    for label in sorted(set(OPERATIONS) - {ENDS_THE_SESSION}):
        method, _, path = label.partition(" ")
        operation = SCHEMA.raw_schema["paths"][path][method.lower()]
        found.append((label, GenerationMode.POSITIVE))
        if operation.get("parameters") or operation.get("requestBody"):
            found.append((label, GenerationMode.NEGATIVE))
    return found


@pytest.mark.parametrize(("label", "mode"), _cases())
def test_no_request_makes_the_hub_fail(
    world: World, portal: BlockingPortal, label: str, mode: GenerationMode
) -> None:
    try_out(world, portal, ["admin"], label, mode)


@pytest.mark.long
@pytest.mark.parametrize(("label", "mode"), _cases())
def test_no_request_shows_what_is_in_another_project(
    world: World, portal: BlockingPortal, label: str, mode: GenerationMode
) -> None:
    answers = try_out(world, portal, STRANGERS, label, mode)
    assert not [text for text in answers if FOREIGN in text]


def try_out(
    world: World, portal: BlockingPortal, users: Iterable[str], label: str, mode: GenerationMode
) -> list[str]:
    """Send a few requests of one operation, each as every user; return what came back.

    To think of a request takes much longer than to answer it.
    """
    answers: list[str] = []

    @settings(
        max_examples=3,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(OPERATIONS[label].as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="https://hub")
        sent.get("params", {}).pop("watch", None)  # a stream has no end
        sent.pop("cookies", None)
        if isinstance(sent.get("data"), bytes):
            sent["content"] = sent.pop("data")
        for user in users:
            sent["headers"]["Authorization"] = f"Bearer {world.tokens[user]}"
            response = portal.call(lambda: world.http.request(**sent))
            assert response.status_code < 500, (sent, response.text)
            if not response.is_success:
                assert response.headers["content-type"] == "application/problem+json", sent
                assert response.json()["type"].startswith("/problems/")
            answers.append(response.text)

    send()
    return answers
