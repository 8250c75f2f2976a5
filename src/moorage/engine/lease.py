"""The lease under which the running pass works, for whoever causes effects inside it.

An effect may start only if the lease outlives the call's deadline: else another replica could
take over while the call is still on its way. ``hold`` before each effect sees to that, and what
sends it asks ``ensure_held`` once more when the bytes go out.

Nobody compares the clocks of two machines. The database counts a lease's time from when it is
asked, the holder from before it asked: so the holder's view ends first, whatever both clocks show.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from anyio import CancelScope

from moorage.engine.store import Lease, LeaseLostError, Store
from moorage.kit.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MARGIN = timedelta(seconds=2)
"""For clocks that do not run at quite the same pace, and for what is sent at the last moment."""


class HeldLease:
    """A lease that is held now. Heartbeats move its end; losing it cancels the pass."""

    def __init__(self, lease: Lease, *, ends: float, store: Store, clock: Clock) -> None:
        self._lease = lease
        self.ends = ends
        """By this machine's steady clock."""
        self.store = store
        self.clock = clock
        self._lost: str | None = None
        self.scope = CancelScope()
        """Cancelled when the lease is lost."""
        self.memory: dict[str, Any] = {}
        """What steps of this pass have read, and need not read again."""
        self.before_effect: Callable[[], Awaitable[None]] | None = None
        """Asked before each effect; it raises ``LeaseLostError`` when there must be none."""

    @classmethod
    async def take(
        cls, store: Store, clock: Clock, controller: str, *, limit: int, ttl: timedelta
    ) -> list[Self]:
        """Take up to ``limit`` keys that are due; see ``Store.lease``."""
        ends = clock.steady() + ttl.total_seconds()
        taken = await store.lease(controller, limit=limit, ttl=ttl)
        return [cls(lease, ends=ends, store=store, clock=clock) for lease in taken]

    @property
    def lease(self) -> Lease:
        """What names the lease to the store: pass it to ``Store.put_status``."""
        return self._lease

    @property
    def is_lost(self) -> bool:
        """Tell whether somebody else may be working on this key."""
        return self._lost is not None

    def outlives(self, duration: timedelta) -> bool:
        """Tell whether the lease holds for ``duration`` from now."""
        return not self.is_lost and self.reaches(duration + MARGIN)

    def ensure_outlives(self, duration: timedelta) -> None:
        """Raise ``LeaseLostError`` unless the lease holds for ``duration`` from now.

        For code that runs in a thread; elsewhere ``hold`` is better, because it extends.
        """
        if not self.outlives(duration):
            raise LeaseLostError(
                f"the lease of {self._lease.controller} on {self._lease.key} does not outlive "
                f"a call of {duration.total_seconds():g} s: the call is not made"
            )

    async def hold(self, duration: timedelta) -> None:
        """Make sure that the lease outlives a call of ``duration``; extend it when it does not.

        Raises ``LeaseLostError``: then the call must not be made, because the lease was lost or
        ``before_effect`` forbids it.
        """
        if not self.outlives(duration):
            await self.extend(duration + MARGIN)
            self.ensure_outlives(timedelta(0))  # the answer may have taken long
        if self.before_effect is not None:
            await self.before_effect()

    async def extend(self, ttl: timedelta) -> None:
        """Hold the lease until ``ttl`` from now; a lost lease cancels the pass."""
        if self._lost is not None:
            raise LeaseLostError(self._lost)
        await self.extend_all([self], ttl)
        if self._lost is not None:
            raise LeaseLostError(self._lost)

    def lose(self, why: str) -> None:
        """Mark the lease as lost and cancel the pass that works under it."""
        self._lost = why
        self.scope.cancel(why)

    def reaches(self, duration: timedelta) -> bool:
        """Tell whether it ends no sooner than ``duration`` from now, if it is not lost."""
        return self.clock.steady() + duration.total_seconds() <= self.ends

    @staticmethod
    async def extend_all(held: Iterable["HeldLease"], ttl: timedelta) -> None:
        """Hold leases of one store until ``ttl`` from now, in one write; lost ones are told so.

        Raises ``UnavailableError`` when the store does not answer: they end when they would.
        """
        short = [one for one in held if not one.is_lost and not one.reaches(ttl)]
        if not short:
            return
        store, ends = short[0].store, short[0].clock.steady() + ttl.total_seconds()
        kept = await store.extend([one.lease for one in short], ttl)
        for one in short:
            if one.lease in kept:
                one.ends = max(one.ends, ends)
            else:
                one.lose(
                    f"the lease of {one.lease.controller} on {one.lease.key} ended, and somebody "
                    "else took the key"
                )


_current: ContextVar[HeldLease | None] = ContextVar("moorage_lease", default=None)


def current() -> HeldLease | None:
    """Return the lease of the running pass; ``None`` outside of one.

    Threads started with ``anyio.to_thread`` see it too.
    """
    return _current.get()


def set_current(held: HeldLease | None) -> None:
    """Make ``held`` the lease of the running task; the manager does it, once for each pass."""
    _current.set(held)


async def hold(duration: timedelta) -> None:
    """Before an effect: make sure that the running pass's lease outlives it.

    Outside of a pass there is nothing to hold, and nothing happens. Raises ``LeaseLostError``.
    """
    held = _current.get()
    if held is not None:
        await held.hold(duration)


def ensure_held() -> None:
    """Right before bytes go out: raise ``LeaseLostError`` if the running pass's lease has ended.

    In whatever thread: a process that was stopped since ``hold`` notices it here.
    """
    held = _current.get()
    if held is not None:
        held.ensure_outlives(timedelta(0))
