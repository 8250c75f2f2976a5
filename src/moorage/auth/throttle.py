"""Slow down the guessing of passwords without letting a stranger lock anybody out.

Failures are counted for each pair of user name and source address, and more generously for each
source alone. Somebody who guesses at alice's password from one place therefore shuts out only
that place; alice herself, from elsewhere, does not notice. Counters live in memory: a replica
or a restart forgives at most one budget. Time is counted by the steady clock: setting the other one
neither shuts anybody out for longer nor lets anybody guess more.
"""

from collections import OrderedDict

from moorage.kit.clock import Clock

_WINDOW_S = 15 * 60.0
_PER_PAIR = 10
_PER_SOURCE = 100
_MAX_KEYS = 20_000


class LoginThrottle:
    """Counts failed attempts of the last 15 minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def retry_after(self, username: str, source: str) -> float:
        """Return for how many seconds no password is looked at; 0 means go ahead."""
        now = self._clock.steady()
        wait = 0.0
        for key, budget in (((username, source), _PER_PAIR), (("", source), _PER_SOURCE)):
            recent = self._recent(key, now)
            if len(recent) >= budget:
                wait = max(wait, recent[-budget] + _WINDOW_S - now)
        return wait

    def begin(self, username: str, source: str) -> None:
        """Count an attempt before it is judged, so that many at once get no more tries."""
        now = self._clock.steady()
        for key in ((username, source), ("", source)):
            self._failures[key] = [*self._recent(key, now), now][-_PER_SOURCE:]
            self._failures.move_to_end(key)
        while len(self._failures) > _MAX_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, username: str, source: str) -> None:
        """Forget the pair's failures, and this attempt: whoever got there had mistyped."""
        self._failures.pop((username, source), None)
        of_source = self._failures.get(("", source))
        if of_source:
            of_source.pop()

    def _recent(self, key: tuple[str, str], now: float) -> list[float]:
        return [at for at in self._failures.get(key, ()) if at > now - _WINDOW_S]
