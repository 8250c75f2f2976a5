"""Input that is legal JSON or HTTP and still meant to hurt."""

import json
from typing import Any

import anyio
import httpx2
import pytest

from tests.api.world import Json, World, a_cluster

CLUSTER = "/v1/projects/default/clusters/one"


async def send(world: World, method: str, path: str, text: str) -> httpx2.Response:
    """Send a body as written, without looking at it."""
    return await world.http.request(
        method,
        path,
        content=text.encode(),
        headers={
            "Authorization": f"Bearer {world.tokens['admin']}",
            "Content-Type": "application/json",
        },
    )


def text_of(document: Json, key: str, value: str) -> str:
    """Return the document as JSON with a field of the kubelet's settings written by hand."""
    document = json.loads(json.dumps(document))
    document["spec"]["node"] = {"kubeletConfiguration": {"x": "HERE"}}
    return json.dumps(document).replace('"HERE"', value).replace('"x"', key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ('"x"', "1e999"),
        ('"x"', "NaN"),
        ('"x"', "-Infinity"),
        ('"x"', '"\\ud800"'),
        ('"\\ud800"', "1"),
        ('"x"', "[" * 5000 + "]" * 5000),
    ],
)
async def test_values_that_are_no_json_are_refused(world: World, key: str, value: str) -> None:
    await world.site()

    response = await send(world, "PUT", CLUSTER, text_of(a_cluster(), key, value))

    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
    await world.refused(404, "GET", CLUSTER)


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "a\\u0000b"])
async def test_names_that_are_no_text_are_refused(world: World, name: str) -> None:
    for path, body in (
        ("/v1/projects", f'{{"metadata": {{"name": "p", "labels": {{"{name}": "x"}}}}}}'),
        ("/v1/projects", f'{{"metadata": {{"name": "p"}}, "{name}": 1}}'),
        ("/v1/projects", f'{{"metadata": {{"name": "{name}"}}}}'),
    ):
        response = await send(world, "POST", path, body)
        assert response.status_code == 422, response.text
    body = f'{{"username": "{name}", "password": "{name}"}}'
    response = await send(world, "POST", "/v1/login", body)
    assert response.status_code in (401, 422), response.text


@pytest.mark.parametrize(
    "path",
    ["/v1/audit?actor=%00", "/v1/projects?labelSelector=a%3D%00", "/v1/apikeys/%00", "/v1/%00"],
)
async def test_a_zero_byte_in_a_url_is_refused(world: World, path: str) -> None:
    method = "DELETE" if "apikeys" in path else "GET"
    response = await world.ask(method, path)
    assert response.status_code in (400, 404, 422), response.text


async def test_many_guesses_at_once_get_no_more_tries(world: World) -> None:
    statuses: list[int] = []

    async def guess() -> None:
        body: Any = {"username": "admin", "password": "wrong"}
        statuses.append((await world.ask("POST", "/v1/login", body)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(guess)

    assert statuses.count(401) == 10
    assert statuses.count(429) == 20
