"""An ailing vCenter is left alone.

After a few calls in a row that are not answered, or too slowly, calls fail at once, and one at a
time tries again, with pauses that grow. Whoever is turned away has done nothing and loses
nothing: it is told when to come again.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from prometheus_client import Counter, Gauge

from moorage.kit.errors import DeferredError, MoorageError
from moorage.vsphere.faults import tells_of_health
from moorage.vsphere.limits import Limits

T = TypeVar("T")

AILING = Gauge("moorage_vcenter_ailing", "1 while calls to a vCenter are held back.", ["server"])
TURNED_AWAY = Counter(
    "moorage_vcenter_calls_held_back", "Calls not made because the vCenter ails.", ["server"]
)

STRIKES: Final = 3
"""So many calls in a row that fail, are slow, or are overdue, and no others are made."""
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 30.0
LONGEST_ASKED_S: Final = 300.0
"""However long vCenter asks to be left alone."""
_LATEST_AGAIN_S: Final = 30.0


class Breaker:
    """Watches how calls to one vCenter fare. Safe in any thread.

    Args:
        server: Of the vCenter, for texts and metrics.
        limits: What counts as slow, and how many calls are made at a time.
        on_change: Called when it opens or closes.
        now: Steady seconds.
    """

    def __init__(
        self,
        server: str,
        limits: Limits,
        on_change: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._slow_s = limits.slow_s
        self._strikes_allowed = min(STRIKES, limits.calls)
        self._on_change = on_change
        self._now = now
        self._lock = threading.Lock()
        self._begun: dict[object, float] = {}
        self._strikes = 0
        self._why = ""
        self._opened_at: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._probe_at = 0.0
        self._asked_until = 0.0
        self._probe: object | None = None
        self._shown = AILING.labels(server)
        self._shown.set(0)

    @property
    def is_open(self) -> bool:
        """Tell whether calls are held back."""
        return self._opened_at is not None

    @property
    def message(self) -> str:
        """What is wrong, for people; ``""`` while nothing is."""
        if not self.is_open:
            return ""
        return (
            f"vCenter {self._server} ails: {self._why}. Nothing is asked of it but one call at a "
            f"time, {max(0.0, self._probe_at - self._now()):.0f} s from now, to see whether it "
            "answers again; then everything goes on by itself. Look at the health of vCenter's "
            "services and at the network in between"
        )

    @property
    def probe_in_s(self) -> float:
        """Seconds until the next call is let through; 0 when one is."""
        return max(0.0, self._probe_at - self._now()) if self.is_open else 0.0

    @property
    def asked_s(self) -> float:
        """Seconds for which vCenter has asked to be left alone by everybody."""
        return max(0.0, self._asked_until - self._now()) if self.is_open else 0.0

    def leave_alone(self, seconds: float) -> None:
        """Hold calls back from now on, because vCenter asks for it."""
        with self._lock:
            changed = not self.is_open
            now = self._now()
            self._asked_until = now + min(seconds, LONGEST_ASKED_S)
            if changed:
                self._why = f"it asks to be left alone for {seconds:.0f} s"
                self._opened_at = now
                self._strikes = 0
            self._probe_at = max(self._probe_at, self._asked_until)
        self._tell(changed)

    def check(self, what: str) -> None:
        """Raise ``DeferredError`` when a call would be turned away now."""
        with self._lock:
            changed = self._look()
            error = self._turned_away(what) if self._is_closed_to_calls() else None
        self._tell(changed)
        if error is not None:
            raise error

    def begin(self, what: str, *, is_held_back: bool = True) -> object:
        """Note that a call goes out; give what is returned to ``end``.

        Args:
            what: For texts.
            is_held_back: ``False`` for those who pause by themselves.

        Raises:
            DeferredError: The call is not to be made now.
        """
        call = object()
        with self._lock:
            changed = self._look()
            error = None
            if is_held_back and self._is_closed_to_calls():
                error = self._turned_away(what)
            else:
                self._begun[call] = self._now()
                if self.is_open and self._probe is None:
                    self._probe = call
        self._tell(changed)
        if error is not None:
            raise error
        return call

    def watch(self, call: object, work: Callable[[], T]) -> T:
        """Make a call that has begun, and note how it ended."""
        answered: bool | None = None
        why = ""
        try:
            result = work()
            answered = True
        except MoorageError as error:
            answered, why = tells_of_health(error), str(error)
            raise
        else:
            return result
        finally:
            self.end(call, answered=answered, why=why)

    def end(self, call: object, *, answered: bool | None, why: str = "") -> None:
        """Note how a call ended.

        Args:
            call: From ``begin``.
            answered: ``None`` when it says nothing about vCenter, such as a call that was not sent.
            why: What was wrong.
        """
        with self._lock:
            begun = self._begun.pop(call)
            is_probe = self._probe is call
            if is_probe:
                self._probe = None
            took = self._now() - begun
            changed = False
            if answered is not None:
                if answered and took >= self._slow_s:
                    answered, why = False, f"an answer took {took:.0f} s"
                changed = self._note(begun, why, answered=answered, is_probe=is_probe)
        self._tell(changed)

    def oldest_s(self) -> float:
        """Return for how long the oldest call that is out has not been answered."""
        with self._lock:
            return max((self._now() - begun for begun in self._begun.values()), default=0.0)

    # Inside the lock

    def _note(self, begun: float, why: str, *, answered: bool, is_probe: bool) -> bool:
        if answered:
            self._strikes = 0
            if self._opened_at is None or begun < self._opened_at:
                return False
            self._opened_at = None
            self._pause_s = FIRST_PAUSE_S
            return True
        self._why = why
        if self._opened_at is not None:
            if is_probe:
                self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
                self._probe_at = max(self._now() + self._pause_s, self._asked_until)
            return False
        self._strikes += 1
        return self._look()

    def _look(self) -> bool:
        """Open when too much is wrong; tells whether it did."""
        if self._opened_at is not None:
            return False
        now = self._now()
        overdue = sum(now - begun >= self._slow_s for begun in self._begun.values())
        if overdue + self._strikes < self._strikes_allowed:
            return False
        if overdue:
            self._why = f"{overdue} calls had no answer within {self._slow_s:g} s"
        self._opened_at = now
        self._strikes = 0
        self._probe_at = now + self._pause_s
        return True

    def _is_closed_to_calls(self) -> bool:
        return self.is_open and (self._probe is not None or self._now() < self._probe_at)

    def _turned_away(self, what: str) -> DeferredError:
        TURNED_AWAY.labels(self._server).inc()
        # Not all at the same moment; who tries when a probe is due makes it.
        again = max(self.probe_in_s, random.uniform(0.5, 1.0) * _LATEST_AGAIN_S)  # noqa: S311
        return DeferredError("WaitingForVCenter", f"{what}: not tried: {self.message}", again)

    def _tell(self, changed: bool) -> None:
        if changed:
            self._shown.set(1 if self.is_open else 0)
            self._on_change()
