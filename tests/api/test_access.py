"""Getting in and out: passwords, sessions, API keys, the first administrator."""

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from moorage.hub.context import HubSettings
from moorage.hub.passwords import is_password
from moorage.hub.start import open_hub, reset_administrator
from moorage.kit.errors import InvalidError
from moorage.resources import User
from moorage.store import SqlStore, open_store
from tests.api.world import PASSWORD, World

LOGIN = "/v1/login"


async def test_the_set_up_password_is_gone_once_it_is_changed(world: World) -> None:
    file = world.hub.settings.initial_password_file
    assert file is not None
    first = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600

    await world.ok("PUT", "/v1/whoami/password", {"current": first, "new": PASSWORD})

    assert not file.exists()
    await world.refused(401, "POST", LOGIN, {"username": "admin", "password": first})
    await world.log_in("admin", PASSWORD)


async def test_a_second_start_makes_no_second_administrator(world: World) -> None:
    file = world.hub.settings.initial_password_file
    assert file is not None
    before = file.read_text()

    again = await open_hub(world.hub.store, world.hub.settings, clock=world.hub.clock)

    assert again.installation == world.hub.installation
    assert again.incarnation == world.hub.incarnation
    assert file.read_text() == before


async def test_the_set_up_password_may_be_given(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    settings = HubSettings(data=tmp_path, admin_password_file=file)
    store = await open_store(f"sqlite:///{tmp_path}/hub.db")
    try:
        hub = await open_hub(store, settings)
        assert await is_password(hub, "admin", PASSWORD)
        assert not (tmp_path / "initial-admin-password").exists()
        file.unlink()
        await open_hub(store, settings)  # only the first start reads it
    finally:
        await store.close()


@pytest.mark.parametrize(("text", "why"), [(None, "cannot be read"), ("short", "not good enough")])
async def test_a_set_up_password_that_will_not_do_makes_no_administrator(
    tmp_path: Path, sqlite_store: SqlStore, text: str | None, why: str
) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_text(text)

    with pytest.raises(InvalidError, match=why) as refused:
        await open_hub(sqlite_store, HubSettings(data=tmp_path, admin_password_file=file))

    assert [fault.path for fault in refused.value.faults] == ["admin-password-file"]
    assert await sqlite_store.find(User, "", "admin") is None


async def test_a_lost_password_is_reset_beside_the_hub(world: World) -> None:
    await world.make_user("alice", [{"role": "tenant-admin"}])
    key = (await world.ok("POST", "/v1/apikeys", {"name": "ci"}))["key"]
    file = world.hub.settings.initial_password_file
    assert file is not None
    await world.ok(
        "PUT", "/v1/whoami/password", {"current": file.read_text().strip(), "new": PASSWORD}
    )
    await world.ok("PUT", "/v1/users/admin/spec", {"disabled": True}, user="alice")

    await reset_administrator(world.hub)

    await world.refused(401, "GET", "/v1/whoami")
    world.tokens["key"] = key
    await world.refused(401, "GET", "/v1/whoami", user="key")
    await world.log_in("admin", file.read_text().strip())
    assert (await world.ok("GET", "/v1/whoami"))["grants"][0]["role"] == "tenant-admin"


async def test_a_deleted_administrator_does_not_come_back_at_the_next_start(world: World) -> None:
    await world.make_user("alice", [{"role": "tenant-admin"}])
    await world.ok("DELETE", "/v1/users/admin", user="alice")

    await open_hub(world.hub.store, world.hub.settings, clock=world.hub.clock)

    await world.refused(404, "GET", "/v1/users/admin", user="alice")


@pytest.mark.parametrize("name", ["admin", "nobody", "", "Ä" * 200])
async def test_a_wrong_password_says_the_same_whoever_is_asked_for(world: World, name: str) -> None:
    problem = await world.refused(401, "POST", LOGIN, {"username": name, "password": "wrong"})

    assert problem["detail"] == "user name or password is wrong"
    assert problem["type"] == "/problems/unauthenticated"


async def test_guessing_from_one_place_shuts_out_only_that_place(world: World) -> None:
    await world.make_user("alice", [])
    wrong = {"username": "alice", "password": "wrong"}
    for _ in range(10):
        await world.refused(401, "POST", LOGIN, wrong)

    right = {"username": "alice", "password": PASSWORD}
    refused = await world.ask("POST", LOGIN, right)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 900

    elsewhere = httpx2.ASGITransport(
        world.http._transport.app,  # type: ignore[attr-defined]
        client=("192.0.2.7", 1),
    )
    async with httpx2.AsyncClient(transport=elsewhere, base_url="https://hub") as other:
        assert (await other.post(LOGIN, json=right)).status_code == 200
    # and others from the same place are not shut out
    await world.make_user("bob", [])

    world.forward(minutes=16)
    assert (await world.ask("POST", LOGIN, right)).status_code == 200


async def test_a_clock_that_is_set_neither_ends_nor_prolongs_the_wait(world: World) -> None:
    await world.make_user("alice", [])
    for _ in range(10):
        await world.refused(401, "POST", LOGIN, {"username": "alice", "password": "wrong"})
    right = {"username": "alice", "password": PASSWORD}
    world.clock.set(timedelta(hours=2))
    assert (await world.ask("POST", LOGIN, right)).status_code == 429

    world.clock.set(timedelta(hours=-4))
    world.forward(minutes=16)
    assert (await world.ask("POST", LOGIN, right)).status_code == 200


async def test_a_session_ends_by_logout_and_by_time(world: World) -> None:
    await world.make_user("alice", [])
    await world.ok("POST", "/v1/logout", user="alice")
    await world.refused(401, "GET", "/v1/whoami", user="alice")

    await world.ok("GET", "/v1/whoami")
    world.forward(hours=13)
    await world.refused(401, "GET", "/v1/whoami")


async def test_a_new_password_ends_the_other_sessions(world: World) -> None:
    await world.make_user("alice", [])
    old = world.tokens["alice"]
    await world.log_in("alice", PASSWORD)
    body = {"current": PASSWORD, "new": "another good password"}

    await world.ok("PUT", "/v1/whoami/password", body, user="alice")

    await world.ok("GET", "/v1/whoami", user="alice")
    world.tokens["alice"] = old
    await world.refused(401, "GET", "/v1/whoami", user="alice")


async def test_a_disabled_user_is_out_at_once(world: World) -> None:
    await world.make_user("alice", [{"role": "project-viewer"}])
    await world.ok("PUT", "/v1/users/alice/spec", {"disabled": True})

    await world.refused(401, "GET", "/v1/whoami", user="alice")
    await world.refused(401, "POST", LOGIN, {"username": "alice", "password": PASSWORD})


async def test_a_deleted_user_leaves_no_way_in(world: World) -> None:
    await world.make_user("alice", [{"role": "project-viewer"}])
    key = (await world.ok("POST", "/v1/apikeys", {"name": "ci"}, user="alice"))["key"]
    await world.ok("DELETE", "/v1/users/alice")
    # somebody else of that name gets nothing of hers
    await world.ok("POST", "/v1/users", {"metadata": {"name": "alice"}})

    await world.refused(401, "GET", "/v1/whoami", user="alice")
    world.tokens["key"] = key
    await world.refused(401, "GET", "/v1/whoami", user="key")
    await world.refused(401, "POST", LOGIN, {"username": "alice", "password": PASSWORD})


@pytest.mark.parametrize(
    ("password", "why"),
    [("short", "12 characters"), ("a" * 20, "too few"), ("alice-alice-1", "user's name")],
)
async def test_a_bad_password_is_refused_with_the_reason(
    world: World, password: str, why: str
) -> None:
    await world.ok("POST", "/v1/users", {"metadata": {"name": "alice"}})

    faults = await world.faults("PUT", "/v1/users/alice/password", {"password": password})

    assert why in faults["password"]


async def test_an_api_key_works_until_it_is_revoked(world: World) -> None:
    made = await world.ok("POST", "/v1/apikeys", {"name": "ci", "days": 30})
    world.tokens["key"] = made["key"]
    me = await world.ok("GET", "/v1/whoami", user="key")
    assert me["username"] == "admin"
    assert me["credential"] == f"apikey:{made['id']}"
    (listed,) = (await world.ok("GET", "/v1/apikeys"))["items"]
    assert "key" not in listed
    assert listed["lastUsedAt"]

    await world.ok("DELETE", f"/v1/apikeys/{made['id']}")

    await world.refused(401, "GET", "/v1/whoami", user="key")
    await world.refused(404, "DELETE", f"/v1/apikeys/{made['id']}")


async def test_an_api_key_expires_and_makes_no_further_keys(world: World) -> None:
    made = await world.ok("POST", "/v1/apikeys", {"name": "ci", "days": 1})
    world.tokens["key"] = made["key"]
    await world.refused(403, "POST", "/v1/apikeys", {"name": "more"}, user="key")

    world.forward(hours=25)

    await world.refused(401, "GET", "/v1/whoami", user="key")


async def test_nobody_revokes_the_key_of_another(world: World) -> None:
    made = await world.ok("POST", "/v1/apikeys", {"name": "ci"})
    await world.make_user("alice", [{"role": "project-viewer"}])

    await world.refused(404, "DELETE", f"/v1/apikeys/{made['id']}", user="alice")

    assert (await world.ok("GET", "/v1/apikeys", user="alice"))["items"] == []
    assert len((await world.ok("GET", "/v1/apikeys"))["items"]) == 1


async def test_the_database_holds_no_token_and_no_password(world: World) -> None:
    key = (await world.ok("POST", "/v1/apikeys", {"name": "ci"}))["key"]
    await world.make_user("alice", [])
    assert world.hub.settings.data is not None
    stored = b"".join(path.read_bytes() for path in world.hub.settings.data.glob("hub.db*"))

    for secret in (key, key.rpartition("_")[2], PASSWORD, *world.tokens.values()):
        assert secret.encode() not in stored


async def test_the_last_administrator_stays(world: World) -> None:
    faults = await world.faults("PUT", "/v1/users/admin/spec", {"grants": []})
    assert "last administrator" in faults["spec.grants"]
    faults = await world.faults(
        "PUT",
        "/v1/users/admin/spec",
        {"grants": [{"role": "tenant-admin", "project": "*"}], "disabled": True},
    )
    assert "last administrator" in faults["spec.disabled"]
    await world.refused(409, "DELETE", "/v1/users/admin")

    await world.make_user("alice", [{"role": "tenant-admin"}])
    await world.ok("PUT", "/v1/users/admin/spec", {"grants": []})
