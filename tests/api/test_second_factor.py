"""Codes of an authenticator app: at the login, once each, and in nobody's way."""

import base64
import hmac
import struct
from datetime import datetime

from tests.api.world import PASSWORD, Json, World

LOGIN = "/v1/login"
TOTP = "/v1/whoami/totp"


def code_of(secret: str, now: datetime) -> str:
    """Return what an app would show (RFC 6238, written out: the hub uses a library)."""
    counter = struct.pack(">Q", int(now.timestamp()) // 30)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def test_the_codes_are_those_of_the_standard() -> None:
    secret = base64.b32encode(b"12345678901234567890").decode()
    assert code_of(secret, datetime.fromisoformat("1970-01-01T00:00:59+00:00")) == "287082"
    assert code_of(secret, datetime.fromisoformat("2005-03-18T01:58:29+00:00")) == "081804"


async def ann(world: World) -> tuple[str, list[str]]:
    """Make a user with a second factor; return its secret and recovery codes."""
    await world.make_user("ann", [{"role": "project-viewer"}])
    begun = await world.ok("POST", TOTP, {"current": PASSWORD}, user="ann")
    assert begun["uri"].startswith("otpauth://totp/Moorage%20hub.example.com%3Aann?secret=")
    await world.ok("POST", LOGIN, login())  # nothing has changed yet
    code = code_of(begun["secret"], world.clock.now())
    done = await world.ok("PUT", TOTP, {"code": code}, user="ann")
    world.forward(seconds=60)
    return begun["secret"], done["recoveryCodes"]


def login(**more: str) -> Json:
    return {"username": "ann", "password": PASSWORD, **more}


async def test_the_login_needs_a_code_and_takes_each_once(world: World) -> None:
    secret, _ = await ann(world)

    problem = await world.refused(401, "POST", LOGIN, login())
    assert problem["type"] == "/problems/second-factor"
    await world.refused(401, "POST", LOGIN, login(code="000000"))
    code = code_of(secret, world.clock.now())
    await world.ok("POST", LOGIN, login(code=code))
    await world.refused(401, "POST", LOGIN, login(code=code))
    world.forward(seconds=30)
    await world.ok("POST", LOGIN, login(code=code_of(secret, world.clock.now())))


async def test_without_the_password_a_code_tells_nothing(world: World) -> None:
    secret, _ = await ann(world)
    code = code_of(secret, world.clock.now())
    problem = await world.refused(
        401, "POST", LOGIN, {"username": "ann", "password": "wrong", "code": code}
    )
    assert problem["type"] == "/problems/unauthenticated"
    await world.ok("POST", LOGIN, login(code=code))


async def test_codes_cannot_be_guessed_and_the_password_alone_resets_nothing(world: World) -> None:
    secret, _ = await ann(world)
    for _ in range(10):
        await world.refused(401, "POST", LOGIN, login(code="000000"))
        await world.refused(401, "POST", LOGIN, login())
    refused = await world.ask("POST", LOGIN, login(code=code_of(secret, world.clock.now())))
    assert refused.status_code == 429
    await world.ok("GET", "/v1/whoami", user="ann")  # who is in stays in

    world.forward(minutes=16)
    await world.ok("POST", LOGIN, login(code=code_of(secret, world.clock.now())))


async def test_a_recovery_code_stands_in_once(world: World) -> None:
    _, codes = await ann(world)
    assert len(set(codes)) == 10
    await world.ok("POST", LOGIN, login(code=codes[3].upper()))
    await world.refused(401, "POST", LOGIN, login(code=codes[3]))
    await world.ok("POST", LOGIN, login(code=codes[4]))


async def test_a_second_factor_goes_with_password_and_code_only(world: World) -> None:
    secret, _ = await ann(world)
    remove = f"{TOTP}/remove"
    await world.refused(409, "POST", TOTP, {"current": PASSWORD}, user="ann")
    await world.refused(422, "POST", remove, {"current": "wrong"}, user="ann")
    await world.refused(401, "POST", remove, {"current": PASSWORD}, user="ann")
    code = code_of(secret, world.clock.now())
    await world.ok("POST", remove, {"current": PASSWORD, "code": code}, user="ann")
    await world.ok("POST", LOGIN, login())


async def test_an_administrator_helps_one_who_lost_the_app(world: World) -> None:
    await ann(world)
    await world.refused(404, "DELETE", "/v1/users/admin/totp", user="ann")
    await world.ok("DELETE", "/v1/users/ann/totp")
    await world.ok("POST", LOGIN, login())


async def test_it_is_confirmed_by_a_right_code_only(world: World) -> None:
    await world.make_user("ann", [])
    await world.refused(409, "PUT", TOTP, {"code": "000000"}, user="ann")
    await world.ok("POST", TOTP, {"current": PASSWORD}, user="ann")
    faults = await world.faults("PUT", TOTP, {"code": "000000"}, user="ann")
    assert "clock" in faults["code"]
    await world.ok("POST", LOGIN, login())
