"""API keys that can do less than their holder, service accounts, and sessions that can be ended."""

import pytest

from tests.api.world import PASSWORD, Json, World

CLUSTERS = "/v1/projects/default/clusters"
VIEWER = {"role": "project-viewer", "project": "default"}


async def key_of(world: World, name: str, body: Json, *, user: str = "admin") -> str:
    """Make an API key and ask as ``name`` with it from now on; return its id."""
    made = await world.ok("POST", "/v1/apikeys", {"name": name, **body}, user=user)
    world.tokens[name] = made["key"]
    return str(made["id"])


async def test_a_key_may_do_less_than_its_holder(world: World) -> None:
    await key_of(world, "ci", {"grants": [VIEWER]})

    await world.ok("GET", CLUSTERS, user="ci")
    assert (await world.ok("GET", "/v1/projects", user="ci"))["items"][0]["metadata"]["name"]
    await world.refused(403, "DELETE", f"{CLUSTERS}/one", user="ci")
    await world.refused(404, "GET", "/v1/users", user="ci")
    mine = {
        i["permission"] for i in (await world.ok("GET", "/v1/whoami/rights", user="ci"))["items"]
    }
    assert "clusters.list" in mine
    assert "clusters.delete" not in mine
    (shown,) = (await world.ok("GET", "/v1/apikeys"))["items"]
    assert shown["grants"] == [{**VIEWER, "selector": ""}]


async def test_a_key_never_does_more_than_its_holder(world: World) -> None:
    await world.make_user("ann", [VIEWER])
    await key_of(world, "wide", {"grants": [{"role": "tenant-admin"}]}, user="ann")

    await world.ok("GET", CLUSTERS, user="wide")
    await world.refused(403, "DELETE", f"{CLUSTERS}/one", user="wide")
    await world.refused(404, "GET", "/v1/users", user="wide")

    await world.ok("PUT", "/v1/users/ann/spec", {"grants": []})
    await world.refused(404, "GET", CLUSTERS, user="wide")


async def test_a_narrow_key_gives_no_more_than_it_has(world: World) -> None:
    role = {"metadata": {"name": "clerk"}, "spec": {"permissions": ["users.create", "users.get"]}}
    await world.ok("POST", "/v1/roles", role)
    await key_of(world, "clerk", {"grants": [{"role": "clerk"}]})

    body = {"metadata": {"name": "eve"}, "spec": {"grants": [{"role": "tenant-admin"}]}}
    await world.refused(403, "POST", "/v1/users", body, user="clerk")
    await world.ok("POST", "/v1/users", {"metadata": {"name": "eve"}}, user="clerk")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/apikeys", {"name": "more"}),
        ("PUT", "/v1/whoami/password", {"current": "x", "new": "y"}),
        ("DELETE", "/v1/sessions/abc", None),
        ("POST", "/v1/serviceaccounts/robot/apikeys", {"name": "more"}),
    ],
)
async def test_a_leaked_key_makes_no_way_to_stay(
    world: World, method: str, path: str, body: Json | None
) -> None:
    await key_of(world, "ci", {})
    problem = await world.refused(403, method, path, body, user="ci")
    assert "API key" in problem["detail"]


async def test_grants_of_a_key_are_checked(world: World) -> None:
    body = {"name": "ci", "grants": [{"role": "nothing", "project": "nowhere"}]}
    faults = await world.faults("POST", "/v1/apikeys", body)
    assert set(faults) == {"grants[0].role", "grants[0].project"}


async def test_keys_of_others_are_seen_and_revoked_by_administrators_only(world: World) -> None:
    await world.make_user("ann", [VIEWER])
    key = await key_of(world, "ci", {}, user="ann")

    await world.refused(404, "GET", "/v1/users/admin/apikeys", user="ann")
    (shown,) = (await world.ok("GET", "/v1/users/ann/apikeys"))["items"]
    assert "key" not in shown
    await world.ok("DELETE", f"/v1/users/ann/apikeys/{key}")
    await world.refused(401, "GET", "/v1/whoami", user="ci")


async def test_a_service_account_works_by_its_keys_until_it_is_disabled(world: World) -> None:
    spec: Json = {"grants": [VIEWER]}
    await world.ok("POST", "/v1/serviceaccounts", {"metadata": {"name": "robot"}, "spec": spec})
    made = await world.ok("POST", "/v1/serviceaccounts/robot/apikeys", {"name": "ci", "days": 1})
    world.tokens["robot"] = made["key"]

    me = await world.ok("GET", "/v1/whoami", user="robot")
    assert me["username"] == "serviceaccount:robot"
    await world.ok("GET", CLUSTERS, user="robot")
    await world.refused(404, "GET", "/v1/users", user="robot")
    who = await world.ok("GET", "/v1/who-can", permission="clusters.list", project="default")
    assert ("ServiceAccount", "robot") in {(i["kind"], i["name"]) for i in who["items"]}

    await world.ok("PUT", "/v1/serviceaccounts/robot/spec", {**spec, "disabled": True})
    await world.refused(401, "GET", "/v1/whoami", user="robot")
    await world.ok("PUT", "/v1/serviceaccounts/robot/spec", spec)
    await world.ok("GET", "/v1/whoami", user="robot")
    world.forward(hours=25)
    await world.refused(401, "GET", "/v1/whoami", user="robot")


async def test_a_later_service_account_of_the_name_has_no_keys(world: World) -> None:
    account = {"metadata": {"name": "robot"}}
    await world.ok("POST", "/v1/serviceaccounts", account)
    made = await world.ok("POST", "/v1/serviceaccounts/robot/apikeys", {"name": "ci"})
    world.tokens["robot"] = made["key"]
    await world.ok("DELETE", "/v1/serviceaccounts/robot")
    await world.ok("POST", "/v1/serviceaccounts", account)
    await world.refused(401, "GET", "/v1/whoami", user="robot")


async def test_nobody_takes_the_key_of_a_mightier_service_account(world: World) -> None:
    spec = {"grants": [{"role": "tenant-admin"}]}
    await world.ok("POST", "/v1/serviceaccounts", {"metadata": {"name": "root"}, "spec": spec})
    permissions = ["serviceaccounts.get", "apikeys.create", "serviceaccounts.update"]
    role = {"metadata": {"name": "keys"}, "spec": {"permissions": permissions}}
    await world.ok("POST", "/v1/roles", role)
    await world.make_user("ann", [{"role": "keys"}])

    path = "/v1/serviceaccounts/root"
    await world.refused(403, "POST", f"{path}/apikeys", {"name": "x"}, user="ann")
    await world.refused(403, "PUT", f"{path}/spec", {"grants": []}, user="ann")


async def test_sessions_are_listed_and_ended(world: World) -> None:
    await world.make_user("ann", [VIEWER])
    first = world.tokens["ann"]
    world.forward(minutes=10)
    await world.log_in("ann", PASSWORD)
    world.user = "admin"
    world.tokens["first"] = first

    listed = (await world.ok("GET", "/v1/sessions", user="ann"))["items"]
    assert [one["current"] for one in listed] == [True, False]
    assert listed[0]["source"] == "127.0.0.1"
    assert listed[0]["method"] == "password"
    assert first.rpartition("_")[2] not in str(listed)

    await world.refused(404, "DELETE", f"/v1/sessions/{listed[1]['id']}")  # not admin's own
    await world.ok("DELETE", f"/v1/sessions/{listed[1]['id']}", user="ann")
    await world.refused(401, "GET", "/v1/whoami", user="first")
    await world.ok("GET", "/v1/whoami", user="ann")

    await world.refused(404, "GET", "/v1/users/admin/sessions", user="ann")
    assert len((await world.ok("GET", "/v1/users/ann/sessions"))["items"]) == 1
    await world.ok("DELETE", "/v1/users/ann/sessions")
    await world.refused(401, "GET", "/v1/whoami", user="ann")


async def test_a_session_says_when_it_was_last_used(world: World) -> None:
    before = (await world.ok("GET", "/v1/sessions"))["items"][0]["lastSeenAt"]
    world.forward(minutes=10)
    await world.ok("GET", "/v1/whoami")
    after = (await world.ok("GET", "/v1/sessions"))["items"][0]["lastSeenAt"]
    assert after > before
