"""The lease under which the running pass works, for whoever causes effects inside it.

An effect may start only if the lease outlives the call's deadline: else another replica could
take over while the call is still on its way. ``hold`` before each effect sees to that.
"""

from contextvars import ContextVar
from datetime import timedelta

from anyio import CancelScope

from moorage.engine.store import Lease, LeaseLostError, Store
from moorage.kit.clock import Clock

CLOCK_SKEW = timedelta(seconds=5)
"""How far the clocks of two replicas may differ."""


class HeldLease:
    """A lease that is held now. Heartbeats move its end; losing it cancels the pass."""

    def __init__(self, lease: Lease, *, store: Store, clock: Clock) -> None:
        self._lease = lease
        self._store = store
        self._clock = clock
        self._lost: str | None = None
        self.scope = CancelScope()
        """Cancelled when the lease is lost."""

    @property
    def lease(self) -> Lease:
        """The lease as last extended: pass it to ``Store.put_status``."""
        return self._lease

    @property
    def is_lost(self) -> bool:
        """Tell whether somebody else may be working on this key."""
        return self._lost is not None

    def outlives(self, duration: timedelta) -> bool:
        """Tell whether the lease holds for ``duration`` from now, whatever the others' clocks."""
        if self.is_lost:
            return False
        return self._clock.now() + duration + CLOCK_SKEW <= self._lease.expires_at

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

        Raises ``LeaseLostError``: then the call must not be made.
        """
        if not self.outlives(duration):
            await self.extend(duration + CLOCK_SKEW)

    async def extend(self, ttl: timedelta) -> None:
        """Hold the lease until ``ttl`` from now; a lost lease cancels the pass."""
        if self._lost is not None:
            raise LeaseLostError(self._lost)
        if self._clock.now() + ttl <= self._lease.expires_at:
            return
        try:
            self._lease = await self._store.extend(self._lease, ttl)
        except LeaseLostError as error:
            self.lose(str(error))
            raise

    def lose(self, why: str) -> None:
        """Mark the lease as lost and cancel the pass that works under it."""
        self._lost = why
        self.scope.cancel(why)


_current: ContextVar[HeldLease | None] = ContextVar("moorage_lease", default=None)


def current() -> HeldLease | None:
    """Return the lease of the running pass; ``None`` outside of one.

    Threads started with ``anyio.to_thread`` see it too.
    """
    return _current.get()


def set_current(held: HeldLease) -> None:
    """Make ``held`` the lease of the running task; the manager does it, once for each pass."""
    _current.set(held)


async def hold(duration: timedelta) -> None:
    """Before an effect: make sure that the running pass's lease outlives it.

    Outside of a pass there is nothing to hold, and nothing happens. Raises ``LeaseLostError``.
    """
    held = _current.get()
    if held is not None:
        await held.hold(duration)
