"""What an attacker would try over REST: foreign objects, extra fields, paths, headers, sizes."""

import json
from typing import Any

import pytest

from moorage.hub.app import bare_app
from moorage.kit.clock import FakeClock
from tests.api.world import Json, World, a_cluster, an_account

ADMIN = {"role": "tenant-admin"}
DEFAULT = "/v1/projects/default"


async def two_projects(world: World) -> None:
    """Make a cluster in ``default`` and the project ``shop`` with an administrator, ``ann``."""
    await world.site()
    await world.ok("POST", f"{DEFAULT}/clusters", a_cluster("secret"))
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "shop"}})
    await world.make_user("ann", [{"role": "project-admin", "project": "shop"}])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{DEFAULT}/clusters/secret", None),
        ("GET", f"{DEFAULT}/events", None),
        ("GET", f"{DEFAULT}/nodepools/secret-workers", None),
        ("DELETE", f"{DEFAULT}/clusters/secret", None),
        ("PUT", f"{DEFAULT}/clusters/secret/labels", {}),
        ("GET", "/v1/projects/shop/clusters/secret", None),
        ("PUT", "/v1/projects/shop/clusters/..%2f..%2fdefault%2fclusters%2fsecret/labels", {}),
        ("GET", "/v1/projects/shop/../default/clusters/secret", None),
        ("GET", "/v1/projects/shop%2f..%2fdefault/clusters/secret", None),
        ("GET", "/v1/projects/shop/clusters/%2e%2e", None),
    ],
)
async def test_an_object_of_another_project_is_not_there(
    world: World, method: str, path: str, body: Any
) -> None:
    await two_projects(world)
    response = await world.ask(method, path, body, user="ann")
    assert response.status_code in (404, 422), response.text
    assert "kubernetesVersion" not in response.text
    assert (await world.ok("GET", f"{DEFAULT}/clusters/secret"))["spec"]


async def test_a_body_cannot_name_another_project_than_its_path(world: World) -> None:
    await two_projects(world)
    document = a_cluster("mine")
    document["metadata"]["project"] = "default"
    faults = await world.faults("POST", "/v1/projects/shop/clusters", document, user="ann")
    assert "metadata.project" in faults
    await world.refused(404, "GET", f"{DEFAULT}/clusters/mine")


async def test_an_operation_is_not_asked_of_a_foreign_subject(world: World) -> None:
    await two_projects(world)
    spec = {
        "verb": "kubeconfig",
        "subjectKind": "Cluster",
        "subjectName": "secret",
        "arguments": {"csr": world.certificate_request()},
    }
    for sneaked in ({}, {"subjectUid": "x"}, {"project": "default"}):
        body = {"metadata": {}, "spec": {**spec, **sneaked}}
        response = await world.ask("POST", "/v1/projects/shop/operations", body, user="ann")
        assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/users", {"metadata": {"name": "x"}, "status": {"groups": ["admins"]}}),
        ("/v1/users", {"metadata": {"name": "x"}, "spec": {"passwordHash": "x"}}),
        ("/v1/users", {"metadata": {"name": "x", "finalizers": ["a"]}}),
        ("/v1/users", {"metadata": {"name": "x", "resourceVersion": 1}}),
        ("/v1/users", {"metadata": {"name": "x", "owner": {"kind": "User"}}}),
        ("/v1/roles", {"metadata": {"name": "x"}, "status": {"builtIn": True}}),
        ("/v1/teams", {"metadata": {"name": "x"}, "spec": {"admin": True}}),
        ("/v1/apikeys", {"name": "x", "username": "admin"}),
        ("/v1/apikeys", {"name": "x", "user": "admin"}),
        ("/v1/login", {"username": "a", "password": "b", "grants": [ADMIN]}),
        ("/v1/whoami/totp", {"current": "x", "username": "admin"}),
        ("/v1/accounts", {**an_account(), "status": {"conditions": []}}),
    ],
)
async def test_fields_that_are_not_the_callers_to_set_are_refused(
    world: World, path: str, body: Json
) -> None:
    faults = await world.faults("POST", path, body)
    assert "there is no such field" in faults.values(), faults


async def test_nobody_changes_his_own_rights(world: World) -> None:
    await world.make_user("ann", [{"role": "project-admin", "project": "default"}])
    for method, path, body in (
        ("PUT", "/v1/users/ann/spec", {"grants": [ADMIN]}),
        ("PUT", "/v1/users/ann/labels", {}),
        ("PUT", "/v1/users/admin/password", {"password": "correct horse battery"}),
        ("PUT", "/v1/whoami", {"grants": [ADMIN]}),
        ("POST", "/v1/teams", {"metadata": {"name": "x"}, "spec": {"members": ["ann"]}}),
    ):
        response = await world.ask(method, path, body, user="ann")
        assert response.status_code in (404, 405), (path, response.text)


async def test_which_users_there_are_cannot_be_found_out(world: World) -> None:
    await world.make_user("ann", [{"role": "project-admin", "project": "default"}])
    told = set()
    for name in ("admin", "nobody"):
        for path in (
            f"/v1/users/{name}",
            f"/v1/users/{name}/apikeys",
            f"/v1/users/{name}/sessions",
        ):
            problem = await world.refused(404, "GET", path, user="ann")
            told.add(problem["detail"].replace(name, "NAME"))
    assert len(told) == 1


@pytest.mark.parametrize("value", ["one\r\nX-Evil: 1", "one\nSet-Cookie: a=b", "a\x7f", "é" * 10])
async def test_nothing_that_was_sent_comes_back_as_a_header(world: World, value: str) -> None:
    body = {"metadata": {"name": value}, "spec": {"description": value}}
    response = await world.ask("POST", "/v1/projects", body)
    assert response.status_code == 422
    assert "x-evil" not in response.headers
    assert "set-cookie" not in response.headers
    agent = {"User-Agent": "x" * 5000}
    await world.make_user("ann", [])
    login = {"username": "ann", "password": "correct horse battery staple"}
    assert (await world.ask("POST", "/v1/login", login, headers=agent)).status_code == 200
    sessions = (await world.ok("GET", "/v1/users/ann/sessions"))["items"]
    assert max(len(one["agent"]) for one in sessions) <= 256


async def test_no_answer_may_be_kept_framed_or_sniffed(world: World) -> None:
    for path in ("/v1/whoami", "/v1/no-such", "/healthz"):
        headers = (await world.ask("GET", path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/v1/login", "/v1/enroll", "/v1/projects", "/v1/apikeys"])
async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(
    world: World, path: str
) -> None:
    body = {"metadata": {"name": "a"}, "x": "y" * (world.hub.settings.max_body_bytes + 1)}
    response = await world.ask("POST", path, body)
    assert response.status_code == 413
    sent = {"Content-Length": "99999999999", "Content-Type": "application/json"}
    announced = await world.http.request("POST", path, content=b"{}", headers=sent)
    assert announced.status_code == 413


async def test_many_grants_or_long_selectors_are_refused(world: World) -> None:
    for grants in ([ADMIN] * 101, [{"role": "project-viewer", "selector": "a=b," * 1000}]):
        body = {"metadata": {"name": "x"}, "spec": {"grants": grants}}
        assert await world.faults("POST", "/v1/users", body)


def test_no_answer_of_the_api_has_a_field_for_a_hash() -> None:
    document = bare_app(FakeClock()).openapi()
    schemas = json.dumps(document["components"]["schemas"]).lower()
    for word in ('"hash"', '"passwordhash"', '"idhash"', '"secrethash"'):
        assert word not in schemas
