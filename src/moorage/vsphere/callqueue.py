"""Calls that wait for one of the few connections: first come, first served, and not for long.

All passes of a gateway share one pool: those of an account whose vCenter is slow must not hold
it from the others. So only a few wait while nothing is answered; others are sent away and come
again.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from moorage.kit.errors import DeferredError
from moorage.vsphere.breaker import Breaker
from moorage.vsphere.faults import DeadlineError

_LOOK_S: Final = 1.0
_STUCK_S: Final = 2.0
"""When the oldest call is not answered for so long, only a few more may wait."""
_FEW: Final = 2
"""Times the calls that may be made at a time."""
_AGAIN_S: Final = 3.0


class CallQueue:
    """Lets a number of calls out at a time. Of one event loop."""

    def __init__(self, size: int, breaker: Breaker) -> None:
        self._size = size
        self._free = size
        self._breaker = breaker
        self._waiting: deque[anyio.Event] = deque()

    def counts(self) -> tuple[int, int]:
        """Return how many calls are out, and how many wait."""
        return self._size - self._free, len(self._waiting)

    @asynccontextmanager
    async def turn(self, what: str, deadline: float) -> AsyncIterator[None]:
        """Wait for a turn, and hold it inside.

        Args:
            what: For texts.
            deadline: Until when (``anyio.current_time``).

        Raises:
            DeferredError: vCenter ails, or is slow and enough wait already.
            DeadlineError: The turn did not come in time.
        """
        self._breaker.check(what)
        await self._wait(what, deadline)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, what: str, deadline: float) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        if len(self._waiting) >= self._size * _FEW and self._breaker.oldest_s() > _STUCK_S:
            raise DeferredError(
                "WaitingForVCenter",
                f"{what}: not tried: {self._size} calls to vCenter are out, which is as many as "
                f"are made at a time, {len(self._waiting)} wait, and it is slow to answer",
                _AGAIN_S,
            )
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            while not turn.is_set():
                with anyio.move_on_after(min(_LOOK_S, _left_s(deadline))):
                    await turn.wait()
                if not turn.is_set():
                    self._breaker.check(what)
        except BaseException:
            if turn.is_set():
                self._release()
            else:
                self._waiting.remove(turn)
            raise

    def _release(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1


def _left_s(deadline: float) -> float:
    left = deadline - anyio.current_time()
    if left <= 0:
        raise DeadlineError("its deadline passed while it waited its turn")
    return left
