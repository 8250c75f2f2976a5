"""The trail: every write, every refusal, every login; nothing secret; nothing altered."""

from tests.api.world import PASSWORD, Json, World, a_cluster

AUDIT = "/v1/audit"


async def trail(world: World, **params: str) -> list[Json]:
    return list((await world.ok("GET", AUDIT, **params))["items"])


async def test_a_write_leaves_who_what_before_and_after(world: World) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"description": "old"}}
    await world.ok("POST", "/v1/projects", body)
    await world.ok("PUT", "/v1/projects/p/spec", {"description": "new"})
    await world.ok("DELETE", "/v1/projects/p")

    deleted, updated, created = await trail(world, kind="Project", name="p")

    assert [e["verb"] for e in (created, updated, deleted)] == ["create", "update", "delete"]
    assert {e["actor"] for e in (created, updated, deleted)} == {"admin"}
    assert {e["source"] for e in (created, updated, deleted)} == {"127.0.0.1"}
    assert created["after"]["spec"]["description"] == "old"
    assert updated["before"]["spec"]["description"] == "old"
    assert updated["after"]["spec"]["description"] == "new"
    assert deleted["before"]["metadata"]["name"] == "p"
    assert "after" not in deleted


async def test_refused_writes_are_told_too(world: World) -> None:
    await world.make_user("alice", [{"role": "project-viewer"}])
    await world.refused(403, "POST", "/v1/projects", {"metadata": {"name": "p"}}, user="alice")
    await world.refused(404, "DELETE", "/v1/users/admin", user="alice")
    await world.refused(409, "POST", "/v1/projects", {"metadata": {"name": "default"}})

    told = [(e["actor"], e["verb"], e["kind"], e["outcome"]) for e in await trail(world)]

    assert told[:3] == [
        ("admin", "create", "Project", "ConflictError"),
        ("alice", "delete", "users", "hidden"),
        ("alice", "create", "projects", "forbidden"),
    ]


async def test_logins_are_told_with_their_outcome(world: World) -> None:
    await world.make_user("alice", [])
    await world.refused(401, "POST", "/v1/login", {"username": "alice", "password": "wrong"})

    wrong, right = [e for e in await trail(world, name="alice") if e["verb"] == "login"]

    assert (wrong["outcome"], wrong["actor"]) == ("refused", "anonymous")
    assert (right["outcome"], right["actor"]) == ("ok", "alice")


async def test_an_api_key_is_told_by_its_id(world: World) -> None:
    made = await world.ok("POST", "/v1/apikeys", {"name": "ci"})
    world.tokens["key"] = made["key"]
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "p"}}, user="key")

    (entry,) = await trail(world, kind="Project", name="p")

    assert entry["actor"] == f"admin (apikey:{made['id']})"


async def test_the_trail_tells_no_secret(world: World) -> None:
    await world.site()
    proxy = {"httpsProxy": "http://user:hunter2@proxy.example.com:3128"}
    document = a_cluster(node={"proxy": proxy})
    await world.ok("PUT", "/v1/projects/default/clusters/one", document)
    await world.make_user("alice", [])

    text = str(await trail(world, limit="500"))

    assert "hunter2" not in text
    assert PASSWORD not in text
    assert "site-1." not in text  # an enrolment token
    assert "proxy.example.com" in text


async def test_the_trail_is_read_page_by_page(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.ok("POST", "/v1/projects", {"metadata": {"name": name}})

    first = await world.ok("GET", AUDIT, limit=2, kind="Project")
    second = await world.ok(
        "GET", AUDIT, limit=2, kind="Project", **{"continue": first["continue"]}
    )

    assert [e["name"] for e in first["items"] + second["items"]] == ["c", "b", "a"]
    assert "continue" not in second
