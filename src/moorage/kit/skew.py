"""Another machine's clock, held against our own wall clock."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from moorage.kit.clock import Clock

SKEW_LIMIT: Final = timedelta(seconds=60)
"""How far two clocks may be apart.

Certificates begin five minutes before they are made, for nodes whose clocks are behind. A minute
of that is given to us, the rest is left to the nodes; and clocks that follow NTP, asked over a slow
network, are never so far apart.
"""


class _Heard(NamedTuple):
    """What a peer's clock is more than our steady one: at least and at most, in seconds."""

    least: float
    most: float


class PeerClock:
    """Knows what a peer's clock shows: what it last said, and what our steady clock counted since.

    So a wall clock of ours that is set is noticed without asking the peer. Safe in any thread.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.heard_at: float | None = None
        """When the peer last told its time, by our steady clock."""
        self._heard: _Heard | None = None

    def heard(self, moment: datetime, *, since: float) -> None:
        """Take what the peer has just said.

        Args:
            moment: Its time; with its time zone.
            since: When it was asked, by our steady clock: it looked some time since then.
        """
        now, told = self.clock.steady(), moment.timestamp()
        self._heard = _Heard(told - now, told - since)
        self.heard_at = now

    def now(self) -> datetime | None:
        """Return what the peer's clock shows; ``None`` before it has said anything."""
        heard = self._heard
        if heard is None:
            return None
        ahead = (heard.least + heard.most) / 2 + self.clock.steady() - self.clock.now().timestamp()
        return self.clock.now() + timedelta(seconds=ahead)

    def skew(self) -> timedelta:
        """Return by how much our wall clock is ahead of the peer's, at least; negative: behind."""
        heard = self._heard
        if heard is None:
            return timedelta()
        ours = self.clock.now().timestamp() - self.clock.steady()
        seconds = max(0.0, ours - heard.most) or min(0.0, ours - heard.least)
        return timedelta(seconds=seconds)

    @property
    def is_skewed(self) -> bool:
        """Tell whether the two are further apart than ``SKEW_LIMIT``."""
        return abs(self.skew()) > SKEW_LIMIT


def describe_skew(skew: timedelta, ours: str, theirs: str) -> str:
    """Say how far two clocks are apart; in whole units, so that equal states read equal."""
    seconds = round(abs(skew).total_seconds())
    much = f"{seconds} s" if seconds < 600 else f"{round(seconds / 60)} min"  # noqa: PLR2004
    return f"{ours} is {much} {'ahead of' if skew > timedelta() else 'behind'} {theirs}"
