"""Requests that are repeated: idempotency keys, ETags, and how often one may ask."""

from datetime import timedelta

import anyio
import pytest
from sqlalchemy import update

from moorage.auth import RequestQuota
from moorage.kit.clock import FakeClock
from moorage.store import idempotency, tables
from tests.api.world import World

PROJECTS = "/v1/projects"
KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
SHOP = {"metadata": {"name": "shop"}}


async def test_a_repeated_post_gives_its_first_answer_and_does_nothing_twice(world: World) -> None:
    first = await world.ask("POST", PROJECTS, SHOP, headers=KEY)
    acts = len((await world.ok("GET", "/v1/audit"))["items"])

    again = await world.ask("POST", PROJECTS, SHOP, headers=KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len((await world.ok("GET", "/v1/audit"))["items"]) == acts
    assert (await world.ask("POST", PROJECTS, SHOP)).status_code == 409


async def test_a_key_is_for_one_request_of_one_user(world: World) -> None:
    await world.make_user("ann", [{"role": "tenant-admin"}])
    await world.ok("POST", PROJECTS, SHOP, headers=KEY)

    for path, body in (
        (PROJECTS, {"metadata": {"name": "other"}}),
        ("/v1/gateways", SHOP),
        (f"{PROJECTS}?dryRun=true", SHOP),
    ):
        assert "Idempotency-Key" in await world.faults("POST", path, body, headers=KEY)
    other = await world.ask("POST", PROJECTS, SHOP, headers=KEY, user="ann")
    assert other.status_code == 409  # her own key: carried out, and refused by the name
    assert "exists already" in other.text
    world.tokens.clear()
    assert (await world.ask("POST", PROJECTS, SHOP, headers=KEY)).status_code == 401


async def test_what_was_refused_may_be_tried_again_with_its_key(world: World) -> None:
    await world.refused(422, "POST", PROJECTS, {"metadata": {"name": "Bad"}}, headers=KEY)
    await world.ok("POST", PROJECTS, SHOP)
    await world.refused(409, "POST", PROJECTS, SHOP, headers=KEY)
    await world.ok("DELETE", f"{PROJECTS}/shop")

    await world.ok("POST", PROJECTS, SHOP, headers=KEY)


async def test_a_key_is_forgotten_after_a_day(world: World) -> None:
    claim = idempotency.Claim("admin", "x")
    assert await idempotency.begin(world.hub.store, claim, "digest") is None
    world.forward(hours=24)
    await idempotency.sweep(world.hub.store)
    assert await idempotency.begin(world.hub.store, claim, "another") is None


async def test_of_two_at_once_one_does_it(world: World) -> None:
    told: list[tuple[int, str | None]] = []

    async def ask() -> None:
        answer = await world.ask("POST", PROJECTS, SHOP, headers=KEY)
        told.append((answer.status_code, answer.json().get("type")))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)

    assert told.count((201, None)) >= 1
    assert set(told) <= {(201, None), (409, "/problems/in-progress")}
    acts = await world.ok("GET", "/v1/audit", kind="Project", name="shop")
    assert [act["outcome"] for act in acts["items"]] == ["ok"]


async def test_after_a_crash_it_is_neither_done_twice_nor_forgotten(world: World) -> None:
    """What a replica leaves that dies before, and after, the transaction of the request."""
    await world.ok("POST", PROJECTS, SHOP, headers=KEY)
    await left_behind(world, status=None, etag=None, answer=None)
    told = await world.refused(409, "POST", PROJECTS, SHOP, headers=KEY)
    assert told["type"] == "/problems/in-progress"  # the answer may come any moment
    world.forward(minutes=1)
    told = await world.refused(409, "POST", PROJECTS, SHOP, headers=KEY)
    assert "its answer was lost" in told["detail"]

    await world.ok("DELETE", f"{PROJECTS}/shop")
    await left_behind(world, done_at=None)
    busy = await world.ask("POST", PROJECTS, SHOP, headers=KEY)
    assert busy.status_code == 409
    assert busy.json()["type"] == "/problems/in-progress"
    assert busy.headers["Retry-After"] == "1"
    world.forward(minutes=5)
    await world.ok("POST", PROJECTS, SHOP, headers=KEY)


async def left_behind(world: World, **values: object) -> None:
    """Make the row of ``KEY`` as it was at some earlier moment."""
    async with world.hub.store.writing() as unit:
        await unit.execute(update(tables.idempotency).values(**values))


@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, "é".encode()])
async def test_a_key_that_cannot_be_one_is_refused(world: World, key: bytes) -> None:
    token = f"Bearer {world.tokens['admin']}".encode()
    response = await world.http.post(
        PROJECTS, json=SHOP, headers=[(b"Authorization", token), (b"Idempotency-Key", key)]
    )
    assert response.status_code == 422
    assert response.json()["faults"][0]["path"] == "Idempotency-Key"


async def test_no_answer_with_a_secret_is_kept(world: World) -> None:
    body = {"name": "program"}
    assert "Idempotency-Key" in await world.faults("POST", "/v1/apikeys", body, headers=KEY)
    assert (await world.ok("GET", "/v1/apikeys"))["items"] == []


async def test_what_a_client_has_is_not_sent_again(world: World) -> None:
    made = await world.ask("POST", PROJECTS, SHOP)
    tag = made.headers["ETag"]

    for named in (tag, f"W/{tag}", f'"0", {tag}'):
        known = await world.ask("GET", f"{PROJECTS}/shop", headers={"If-None-Match": named})
        assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", tag)
    await world.ok("PUT", f"{PROJECTS}/shop/spec", {"description": "new"})
    changed = await world.ask("GET", f"{PROJECTS}/shop", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    built_in = {"If-None-Match": '"0"'}
    role = await world.ask("GET", "/v1/roles/tenant-admin", headers=built_in)
    assert role.status_code == 200  # another release may have another one, of no version too


async def test_who_asks_too_often_is_told_when_to_come_back(world: World) -> None:
    await world.make_user("ann", [{"role": "tenant-viewer"}])
    key = (await world.ok("POST", "/v1/apikeys", {"name": "program"}))["key"]
    world.hub.quota = RequestQuota(world.clock, 3)
    seen = [await world.ask("GET", "/v1/whoami") for _ in range(4)]

    assert [one.status_code for one in seen] == [200, 200, 200, 429]
    assert [one.headers["RateLimit"] for one in seen[:3]] == [
        f'"requests";r={left};t={reset}' for left, reset in ((2, 20), (1, 40), (0, 60))
    ]
    assert seen[0].headers["RateLimit-Policy"] == '"requests";q=3;w=60'
    assert seen[3].headers["Retry-After"] == "20"
    assert seen[3].json()["type"] == "/problems/too-many-requests"
    assert "RateLimit" not in (await world.ask("GET", "/healthz")).headers
    assert (await world.ask("GET", "/v1/whoami", user="ann")).status_code == 200
    world.tokens["program"] = key
    assert (await world.ask("GET", "/v1/whoami", user="program")).status_code == 200
    world.forward(seconds=20)
    assert [(await world.ask("GET", "/v1/whoami")).status_code for _ in range(2)] == [200, 429]


def test_a_quota_forgets_who_is_silent_and_may_be_none(clock: FakeClock) -> None:
    quota = RequestQuota(clock, 60)
    for number in range(100):
        quota.take(f"caller-{number}")
    clock.advance(timedelta(minutes=2))
    quota.take("last")
    assert len(quota._used) == 1
    assert RequestQuota(clock, 0).take("anybody") is None
