"""What every answer has: problems, headers, limits; and what only some may read."""

from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from moorage.hub.app import create_app
from moorage.store import SqlStore
from tests.api.world import World, a_cluster

CLUSTERS = "/v1/projects/default/clusters"


async def test_every_fault_of_a_document_is_told_at_once(world: World) -> None:
    document = a_cluster(kubernetesVersion="1.20.1", controlPlane={"replicas": 2, "colour": 1})
    del document["spec"]["account"]
    document["nodePools"] = [{"name": "Bad_Name", "replicas": -1}]

    problem = await world.refused(422, "PUT", f"{CLUSTERS}/one", document)

    assert problem["type"] == "/problems/invalid"
    assert problem["status"] == 422
    told = {fault["path"]: fault["message"] for fault in problem["faults"]}
    assert told["spec.account"] == "is required"
    assert told["spec.controlPlane.colour"] == "there is no such field"
    assert "v1.31" in told["spec.kubernetesVersion"]
    assert {"spec.controlPlane.replicas", "nodePools[0].name", "nodePools[0].replicas"} <= set(told)


async def test_a_rule_of_a_part_is_told_at_that_part(world: World) -> None:
    document = a_cluster(network={"pods": "10.96.0.0/16"})

    faults = await world.faults("PUT", f"{CLUSTERS}/one", document)

    assert faults["spec.network"] == "pods 10.96.0.0/16 and services 10.96.0.0/12 overlap"


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{", "application/json"), (b"\xff\xfe", "application/json"), (b"a: b", "text/plain")],
)
async def test_a_body_that_is_no_json_is_a_problem(world: World, content: bytes, kind: str) -> None:
    response = await world.http.post(
        "/v1/projects",
        content=content,
        headers={"Authorization": f"Bearer {world.tokens['admin']}", "Content-Type": kind},
    )
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["faults"]


async def test_no_path_and_no_method_are_problems(world: World) -> None:
    assert (await world.refused(404, "GET", "/v2/x"))["type"] == "/problems/not-found"
    problem = await world.refused(405, "PATCH", "/v1/projects")
    assert problem["type"] == "/problems/method-not-allowed"


@pytest.mark.parametrize("etag", [b"x", b'"-1"', b'"1.5"', "²".encode()])
async def test_an_etag_that_is_none_of_ours_is_refused(world: World, etag: bytes) -> None:
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "p"}})
    response = await world.http.delete(
        "/v1/projects/p",
        headers=[
            (b"Authorization", f"Bearer {world.tokens['admin']}".encode()),
            (b"If-Match", etag),
        ],
    )
    assert response.status_code == 422
    assert response.json()["faults"][0]["path"] == "If-Match"


async def test_what_goes_wrong_inside_is_not_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explode(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password of the database is hunter2")

    monkeypatch.setattr(SqlStore, "get", explode)
    transport = httpx2.ASGITransport(
        create_app(world.hub, background=False), raise_app_exceptions=False
    )
    http = httpx2.AsyncClient(transport=transport, base_url="https://hub")
    with capture_logs() as logged:
        response = await http.get(
            "/v1/projects/default", headers={"Authorization": f"Bearer {world.tokens['admin']}"}
        )
    await http.aclose()
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == [
        "a request failed"
    ]
    assert response.status_code == 500
    assert response.json()["type"] == "/problems/internal"
    assert "hunter2" not in response.text
    assert response.headers["x-request-id"]


async def test_a_large_body_is_refused_announced_or_not(world: World) -> None:
    limit = world.hub.settings.max_body_bytes
    headers = {"Authorization": f"Bearer {world.tokens['admin']}"}
    announced = await world.http.post("/v1/projects", content=b"x" * (limit + 1), headers=headers)
    assert announced.status_code == 413
    assert announced.json()["type"] == "/problems/too-large"

    async def chunks() -> Any:
        for _ in range(limit // 65536 + 2):
            yield b" " * 65536

    streamed = await world.http.post("/v1/projects", content=chunks(), headers=headers)
    assert streamed.status_code == 413


async def test_browsers_are_told_to_be_careful(world: World) -> None:
    response = await world.ask("GET", "/v1/whoami", headers={"Origin": "https://evil.example"})

    headers = response.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("token", ["", "Bearer", "Basic YTpi", "Bearer mrs_x_y", "Bearer \x7f"])
async def test_a_broken_token_is_no_token(world: World, token: str) -> None:
    response = await world.http.get("/v1/whoami", headers={"Authorization": token})
    assert response.status_code == 401


async def test_health_needs_no_token_and_says_when_the_hub_stops(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await world.http.get(path)).json() == {"status": "ok"}

    world.hub.stopping.set()

    assert (await world.http.get("/readyz")).status_code == 503
    assert (await world.http.get("/healthz")).status_code == 200


async def test_metrics_are_for_the_machine_itself_and_for_hub_wide_readers(world: World) -> None:
    response = await world.http.get("/metrics")
    assert response.status_code == 200
    assert "moorage_hub_requests_total" in response.text

    await world.make_user("alice", [{"role": "project-viewer"}])
    await world.make_user("bob", [{"role": "project-admin", "project": "default"}])
    far = httpx2.ASGITransport(create_app(world.hub, background=False), client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=far, base_url="https://hub") as http:

        async def status(user: str) -> int:
            headers = {"Authorization": f"Bearer {world.tokens.get(user, 'none')}"}
            return (await http.get("/metrics", headers=headers)).status_code

        assert (await http.get("/metrics")).status_code == 401
        assert [await status(user) for user in ("alice", "bob", "nobody")] == [200, 403, 401]
    proxied = await world.http.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"})
    assert proxied.status_code == 401
