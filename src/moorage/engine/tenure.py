"""A key that one process at a time holds for as long as it lives, such as a gateway's link."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NoReturn

import anyio
import structlog

from moorage.engine.lease import HeldLease, set_current
from moorage.engine.store import LeaseLostError, Store
from moorage.kit.clock import Clock
from moorage.kit.errors import MoorageError, UnavailableError

log = structlog.get_logger(__name__)

TTL: Final = timedelta(seconds=8)
_ASK_S: Final = 1.0
"""How often a process that waits asks whether it may begin."""


class Tenure:
    """Lets work run only while this process holds a lease that no other holds."""

    def __init__(
        self, store: Store, clock: Clock, controller: str, key: str, *, ttl: timedelta = TTL
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = controller, key
        self._ttl = ttl
        self.held: HeldLease | None = None
        """The lease while this process holds it."""

    async def run(self, work: Callable[[], Awaitable[None]], ended: Callable[[], None]) -> NoReturn:
        """Run ``work`` whenever, and for as long as, the lease is held; until cancelled.

        ``work`` is cancelled when the lease is lost, and its writes to the store are refused
        from that moment on; ``ended`` is called then. Cancelled, this gives the lease back.
        """
        while True:
            held = await self._take()
            log.info("tenure begins", controller=self._name[0])
            self.held = held
            try:
                with held.scope:
                    await self._work(held, work)
            finally:
                self.held = None
                with anyio.CancelScope(shield=True):
                    await self._give_back(held)
            log.warning("tenure ends", controller=self._name[0])
            ended()

    async def _take(self) -> HeldLease:
        controller, key = self._name
        while True:
            try:
                held = await HeldLease.take(
                    self._store, self._clock, controller, limit=1, ttl=self._ttl
                )
                if held:
                    return held[0]
                if await self._store.next_due([controller]) is None:
                    await self._store.enqueue(controller, key, self._clock.now())
                    continue
            except UnavailableError as error:
                log.warning("lease cannot be asked for", controller=controller, error=str(error))
            await anyio.sleep(_ASK_S)

    async def _work(self, held: HeldLease, work: Callable[[], Awaitable[None]]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew, held)
            set_current(held)  # what ``work`` writes is refused once the lease is lost
            try:
                await work()
            finally:
                set_current(None)
            tasks.cancel_scope.cancel()

    async def _renew(self, held: HeldLease) -> None:
        while True:
            await anyio.sleep(self._ttl.total_seconds() / 4)
            try:
                await held.extend(self._ttl)
            except LeaseLostError:
                return  # the work is cancelled
            except UnavailableError as error:
                log.warning("lease not extended", controller=self._name[0], error=str(error))
                if not held.outlives(timedelta(0)):
                    held.lose("the store was away for longer than the lease")
                    return

    async def _give_back(self, held: HeldLease) -> None:
        if held.is_lost:
            return
        try:
            await self._store.release([held.lease])
        except MoorageError as error:
            log.warning("lease not given back, it will expire", error=str(error))
