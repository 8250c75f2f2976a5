"""The trail: every write, every refusal, every login; nothing secret; nothing altered."""

import json

from moorage.hub.vouching import SIGNING_KEY
from moorage.kit.chain import Chain, ChainKey, Report
from moorage.resources import Cluster
from moorage.store import audit
from tests.api.world import PASSWORD, Json, World, a_cluster
from tests.builders import a_machine

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


async def exported(world: World, **params: int) -> list[Json]:
    response = await world.ask("GET", f"{AUDIT}/export", **params)
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def verified(lines: list[Json], keys: frozenset[str] | None = None) -> Report:
    chain = Chain(keys=keys)
    for line in lines:
        chain.read(line)
    return chain.finish()


async def stay_logged_in(world: World) -> None:
    """Ask with a key that does not end: sessions do while days pass."""
    world.tokens["admin"] = (await world.ok("POST", "/v1/apikeys", {"name": "lasting"}))["key"]


async def test_the_export_is_a_chain_that_is_signed_once_a_day(world: World) -> None:
    await stay_logged_in(world)
    await world.hub.prune()
    await world.hub.prune()  # the same day
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "p"}})
    world.forward(days=1)
    await world.hub.prune()

    lines = await exported(world)
    signed = (await world.ok("GET", f"{AUDIT}/checkpoints"))["items"]

    assert world.hub.settings.data is not None
    key = ChainKey((world.hub.settings.data / SIGNING_KEY).read_bytes())
    report = verified(lines, frozenset({key.public}))
    assert report.findings == []
    assert report.keys == {key.public: 2}
    assert report.signed_upto == report.last == signed[-1]["id"]
    assert [one["publicKey"] for one in signed] == [key.public] * 2
    told = [line for line in lines if line.get("kind") == "AuditKey"]
    assert [line["name"] for line in told] == [key.public]


async def test_a_later_export_goes_on_where_an_earlier_one_ended(world: World) -> None:
    first = await exported(world)
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "p"}})

    later = await exported(world, after=first[-1]["id"])

    assert verified(first + later[1:]).findings == []
    assert [line["name"] for line in later[1:]] == ["p"]


async def test_old_records_are_let_go_and_the_trail_says_so(world: World) -> None:
    await stay_logged_in(world)
    await world.hub.prune()
    upto = (await world.ok("GET", f"{AUDIT}/checkpoints"))["items"][0]["id"]
    world.forward(days=200)
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "kept"}})
    world.forward(days=200)
    await world.hub.prune()

    lines = await exported(world)

    report = verified(lines)
    assert report.findings == []
    assert report.first == upto + 1
    assert lines[0]["after"]["id"] == upto
    told = next(line for line in lines if line.get("kind") == "Audit")
    assert (told["verb"], told["actor"], told["before"]["last"]) == ("delete", "hub", upto)
    assert "kept" in {line.get("name") for line in lines}


async def test_an_act_tells_the_tasks_that_followed(world: World) -> None:
    await world.site()
    await world.ok("PUT", "/v1/projects/default/clusters/one", a_cluster())
    (made,) = await trail(world, kind="Cluster", name="one")
    cluster = await world.hub.store.get(Cluster, "default", "one")
    machine = a_machine("one-cp-1", created_at=world.clock.now())
    machine.metadata.owner = cluster.owner()
    machine.status.clone_task, machine.status.vm = "task-17", "vm-4"
    await world.hub.store.create(machine)

    act = await world.ok("GET", f"{AUDIT}/records/{made['id']}")

    assert act["followed"]["generation"] == cluster.metadata.generation
    (machine_made,) = act["followed"]["machines"]
    assert (machine_made["name"], machine_made["cloneTask"]) == ("one-cp-1", "task-17")
    await world.refused(404, "GET", f"{AUDIT}/records/999")


async def test_who_edits_the_database_is_found_in_the_export(world: World) -> None:
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "p"}})
    lines = await exported(world)
    victim = next(line for line in lines if line.get("name") == "p")
    victim["actor"] = "eve"

    (finding,) = verified(lines).findings

    assert finding.id == victim["id"]
    assert await audit.find_entry(world.hub.store, victim["id"]) is not None
