"""Enrolment: a token works once, for one gateway, with keys that belong together."""

import pytest

from moorage.kit.identity import PrivateIdentity
from moorage.kit.seal import PrivateSealingKey
from moorage.resources import Gateway
from tests.api.world import Json, World

ENROLL = "/v1/enroll"


async def token(world: World, gateway: str = "site-1", **body: bool) -> Json:
    return await world.ok("POST", f"/v1/gateways/{gateway}/token", body or None)


async def test_the_answer_is_the_command_to_run(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-1"}})

    made = await token(world)

    assert made["command"] == (
        f"moorage-gateway enroll --hub https://hub.example.com --token {made['token']} "
        f"--hub-fingerprint {world.hub.settings.ca_fingerprint}"
    )
    assert made["token"].startswith("site-1.")


async def test_an_enrolled_gateway_is_known_by_its_key(world: World) -> None:
    await world.enrol()

    gateway = await world.ok("GET", "/v1/gateways/site-1")

    status = gateway["status"]
    assert status["enrolled"] is True
    assert status["fingerprint"] == world.identity.public().fingerprint
    assert status["sealingKey"] == world.sealing.public().pem
    assert status["conditions"][0]["type"] == "Enrolled"


async def test_a_token_works_once_but_a_lost_answer_may_be_asked_for_again(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-1"}})
    made = await token(world)
    request = world.enrolment(made["token"], "site-1")
    first = await world.ok("POST", ENROLL, request, user="nobody")
    assert first["installation"] == world.hub.installation

    assert await world.ok("POST", ENROLL, request, user="nobody") == first

    world.identity = PrivateIdentity.generate()
    thief = world.enrolment(made["token"], "site-1")
    await world.refused(401, "POST", ENROLL, thief, user="nobody")
    stored = await world.hub.store.get(Gateway, "", "site-1")
    assert stored.status.public_key == request["identityKey"]


@pytest.mark.parametrize("wrong", ["other gateway", "other secret", "expired", "older", "garbage"])
async def test_a_token_that_does_not_hold_is_refused(world: World, wrong: str) -> None:
    for name in ("site-1", "site-2"):
        await world.ok("POST", "/v1/gateways", {"metadata": {"name": name}})
    text = (await token(world))["token"]
    gateway = "site-1"
    match wrong:
        case "other gateway":
            gateway = "site-2"
        case "other secret":
            text = text[:-3] + "AAA"
        case "expired":
            world.forward(hours=25)
        case "older":
            await token(world)
        case "garbage":
            text = "x"

    problem = await world.refused(
        401, "POST", ENROLL, world.enrolment(text, gateway), user="nobody"
    )

    assert "make another one" in problem["detail"]
    assert not (await world.hub.store.get(Gateway, "", gateway)).status.enrolled


async def test_keys_that_do_not_belong_together_are_refused(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-1"}})
    made = await token(world)
    request = world.enrolment(made["token"], "site-1")
    request["sealingKey"] = PrivateSealingKey.generate().public().pem

    faults = await world.faults("POST", ENROLL, request, user="nobody")

    assert list(faults) == ["sealingKeySignature"]
    request["sealingKey"] = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    faults = await world.faults("POST", ENROLL, request, user="nobody")
    assert list(faults) == ["sealingKey"]


async def test_replacing_an_enrolled_gateway_has_to_be_meant(world: World) -> None:
    await world.enrol()

    problem = await world.refused(409, "POST", "/v1/gateways/site-1/token")
    assert "replace" in problem["detail"]

    made = await token(world, replace=True)
    world.identity = PrivateIdentity.generate()
    await world.ok("POST", ENROLL, world.enrolment(made["token"], "site-1"), user="nobody")
    stored = await world.hub.store.get(Gateway, "", "site-1")
    assert stored.status.fingerprint == world.identity.public().fingerprint


async def test_guessing_tokens_is_slowed_down(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-1"}})
    request = world.enrolment("site-1." + "A" * 43, "site-1")
    statuses = {
        (await world.ask("POST", ENROLL, request, user="nobody")).status_code for _ in range(12)
    }
    assert statuses == {401, 429}


async def test_a_token_of_a_deleted_gateway_lets_nobody_in(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-1"}})
    made = await token(world)
    await world.ok("DELETE", "/v1/gateways/site-1")
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-1"}})

    request = world.enrolment(made["token"], "site-1")
    await world.refused(401, "POST", ENROLL, request, user="nobody")


async def test_the_recovery_key_is_set_once(world: World) -> None:
    path = "/v1/installation/recovery-key"
    first = PrivateSealingKey.generate().public().pem
    await world.ok("PUT", path, {"publicKey": first})
    await world.ok("PUT", path, {"publicKey": first})

    other = PrivateSealingKey.generate().public().pem
    await world.refused(409, "PUT", path, {"publicKey": other})
    faults = await world.faults("PUT", path, {"publicKey": "no"})

    assert "publicKey" in faults
    assert (await world.ok("GET", "/v1/installation"))["recoveryKey"] == first
