"""Each end knows the other's time: the gateway goes by it, and the hub says who is off."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from moorage.link.frames import Pong, Welcome, decode
from moorage.resources import Gateway
from tests.clocks import ShiftedClock

from .world import World, a_world, until

HOURS = timedelta(hours=2)
NEAR = timedelta(minutes=5)


async def told(world: World, reason: str) -> str:
    """Wait until the hub says that of the gateway's clock; return its words."""

    async def look() -> str | None:
        gateway = await world.hub.store.get(Gateway, "", world.name)
        found = gateway.status.condition("ClockAgrees")
        return found.message if found is not None and found.reason == reason else None

    return await until(world.hub.store, look)


@pytest.mark.parametrize(("shift", "words"), [(HOURS, "ahead of"), (-HOURS, "behind")])
async def test_the_hub_says_whose_clock_is_off_until_it_is_right(
    tmp_path: Path, shift: timedelta, words: str
) -> None:
    clock = ShiftedClock(shift)
    async with (
        a_world(tmp_path, heartbeat_s=1, seen_every_s=0.5) as world,
        world.running(world.link(clock=clock)) as link,
    ):
        said = await told(world, "ClockSkewed")
        assert f"the clock of gateway gw1 is 120 min {words} that of the hub" in said
        hub_now = link.hub_clock.now()
        assert hub_now is not None
        assert abs(hub_now - datetime.now(UTC)) < NEAR

        clock.shift = timedelta()
        await told(world, "Done")


async def test_a_clock_that_was_always_right_is_no_news(tmp_path: Path) -> None:
    async with (
        a_world(tmp_path, heartbeat_s=1, seen_every_s=0.5) as world,
        world.running(world.link()),
    ):

        async def seen_often() -> Gateway | None:
            gateway = await world.hub.store.get(Gateway, "", world.name)
            return gateway if world.hub.messages.count("pong") > 2 else None

        gateway = await until(world.hub.store, seen_often)
        assert gateway.status.condition("ClockAgrees") is None


def test_a_peer_of_an_earlier_release_says_no_time() -> None:
    assert decode('[{"type": "pong"}]') == [Pong()]
    text = '[{"type": "welcome", "since": 1, "start": 1, "incarnation": "a", "heartbeatS": 1}]'
    (welcome,) = decode(text)
    assert isinstance(welcome, Welcome)
    assert welcome.at is None
