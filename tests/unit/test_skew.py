"""How far another machine's clock is from ours, whatever happens to either."""

from datetime import timedelta

import pytest

from moorage.kit.clock import FakeClock
from moorage.kit.skew import SKEW_LIMIT, PeerClock, describe_skew

HOURS = timedelta(hours=2)


def a_peer(clock: FakeClock, ahead: timedelta = timedelta()) -> PeerClock:
    peer = PeerClock(clock)
    peer.heard(clock.now() - ahead, since=clock.steady())
    return peer


def test_nothing_is_known_before_the_peer_has_spoken(clock: FakeClock) -> None:
    peer = PeerClock(clock)
    assert peer.now() is None
    assert peer.heard_at is None
    assert not peer.is_skewed


@pytest.mark.parametrize("ahead", [HOURS, -HOURS])
def test_a_clock_that_is_off_when_the_peer_speaks_is_seen(
    clock: FakeClock, ahead: timedelta
) -> None:
    peer = a_peer(clock, ahead)
    assert peer.skew() == ahead
    assert peer.is_skewed
    assert peer.now() == clock.now() - ahead


@pytest.mark.parametrize("jump", [HOURS, -HOURS])
def test_a_clock_that_is_set_later_is_seen_without_asking(
    clock: FakeClock, jump: timedelta
) -> None:
    peer = a_peer(clock)
    clock.advance(timedelta(days=3))
    assert peer.skew() == timedelta()

    clock.set(jump)
    assert peer.skew() == jump
    assert peer.now() == clock.now() - jump

    clock.set(-jump)
    assert not peer.is_skewed


def test_a_slow_answer_is_no_skew(clock: FakeClock) -> None:
    peer, asked = PeerClock(clock), clock.steady()
    told = clock.now() + timedelta(seconds=1)  # it looked soon, and its answer took long
    clock.advance(timedelta(minutes=5))
    peer.heard(told, since=asked)
    assert peer.skew() == timedelta()

    clock.set(SKEW_LIMIT + timedelta(minutes=5))
    assert peer.is_skewed


def test_the_limit_itself_is_allowed(clock: FakeClock) -> None:
    assert not a_peer(clock, SKEW_LIMIT).is_skewed
    assert a_peer(clock, SKEW_LIMIT + timedelta(milliseconds=1)).is_skewed


def test_it_is_said_in_whole_units() -> None:
    assert describe_skew(HOURS, "a", "b") == "a is 120 min ahead of b"
    assert describe_skew(-timedelta(seconds=75.2), "a", "b") == "a is 75 s behind b"
