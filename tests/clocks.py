"""A wall clock that somebody sets, beside real time."""

from datetime import datetime, timedelta

from moorage.kit.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clocks, with the wall clock set by ``shift``; the steady one stays."""

    def __init__(self, shift: timedelta = timedelta()) -> None:
        self.shift = shift

    def now(self) -> datetime:
        return super().now() + self.shift
