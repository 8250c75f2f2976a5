"""Time as a parameter, so that tests own it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where the system has such a clock."""


class Clock(Protocol):
    """Wall clock, which is timezone-aware UTC and may be set, and one that nobody sets."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        ...

    def steady(self) -> float:
        """Return seconds that only grow, at the same pace on every machine, from anywhere."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def steady(self) -> float:
        return time.clock_gettime(_STEADY)


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime | None = None) -> None:
        self._began = self._now = start or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def steady(self) -> float:
        return (self._now - self._began).total_seconds()

    def advance(self, by: timedelta) -> None:
        """Move forward by ``by``."""
        self._now += by

    def set(self, by: timedelta) -> None:
        """Have somebody set the wall clock by ``by``, forward or back; no time goes by."""
        self._now += by
        self._began += by
