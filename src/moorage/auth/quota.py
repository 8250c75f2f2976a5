"""How often one caller may ask: a bucket that fills again evenly, in the memory of each replica."""

from collections import OrderedDict
from typing import NamedTuple

from moorage.kit.clock import Clock

WINDOW_S = 60.0
_MAX_CALLERS = 20_000


class Left(NamedTuple):
    """What is left after a request was counted."""

    limit: int
    """Requests in a minute."""
    remaining: int
    reset_s: float
    """Until all of it is there again."""
    wait_s: float
    """Until there is one more; 0: this one may go on."""


class RequestQuota:
    """Counts requests. Who has been silent for a minute costs nothing."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        """Count; ``per_minute`` 0: nobody is held up."""
        self._clock = clock
        self._limit = per_minute
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By caller: how much was used, and when that was so."""

    def take(self, caller: str) -> Left | None:
        """Count one request; ``None``: there is no limit."""
        if not self._limit:
            return None
        now, rate = self._clock.steady(), self._limit / WINDOW_S
        used, at = self._used.pop(caller, (0.0, now))
        used = max(0.0, used - (now - at) * rate)
        wait = max(0.0, used + 1 - self._limit) / rate
        if not wait:
            used += 1
        self._used[caller] = (used, now)
        while self._used and (
            len(self._used) > _MAX_CALLERS or now - next(iter(self._used.values()))[1] > WINDOW_S
        ):
            self._used.popitem(last=False)
        return Left(self._limit, int(self._limit - used), used / rate, wait)
