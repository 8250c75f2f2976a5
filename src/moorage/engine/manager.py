"""The manager: leases what is due, runs passes, keeps their leases alive, gives them back."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from moorage.engine import metrics
from moorage.engine.controller import Controller
from moorage.engine.intake import Intake, Item
from moorage.engine.lease import HeldLease, set_current
from moorage.engine.step import RESULT_FAILED, RESULT_LOST, Result
from moorage.engine.store import Change, Changes, Lease, LeaseLostError, QueueDepth, Store
from moorage.kit.clock import Clock
from moorage.kit.errors import MoorageError, UnavailableError

log = structlog.get_logger(__name__)

_FIRST_BACKOFF_S: Final = 1.0
_LONGEST_BACKOFF_S: Final = 60.0
_PUT_OFF: Final = 4.0
"""Times the lateness: a fifth of the time that passes wait then comes from looking again."""
_MOST_PUT_OFF_S: Final = 60.0
"""The process may only have been stopped for a while."""
_POLL_S: Final = 1.0
_LEAST_PAUSE_S: Final = 0.02
_STORE_PAUSE_S: Final = 2.0


class NotSettledError(MoorageError):
    """The controllers go on and on; the message names the keys that were busiest."""


class Manager:
    """Runs controllers over one store. Several managers may share it, in any processes."""

    def __init__(
        self,
        store: Store,
        controllers: Sequence[Controller[Any]],
        *,
        clock: Clock,
        lease_ttl: timedelta = timedelta(seconds=60),
        chance: random.Random | None = None,
    ) -> None:
        self._store = store
        self._controllers = {controller.name: controller for controller in controllers}
        if len(self._controllers) != len(controllers):
            raise ValueError("two controllers have the same name")
        self._clock = clock
        self._ttl = lease_ttl
        self._chance = chance or random.Random()  # noqa: S311 - jitter is no secret
        self._intake = Intake(store, controllers, clock)
        self._held: dict[tuple[str, str], HeldLease] = {}
        self._full_since: dict[str, datetime] = {}
        """Since when more is due than can be taken, by controller."""
        self._behind_s: dict[str, float] = {}
        """How long who is due waits for that, by controller."""
        self._wake = anyio.Event()
        self._settling: tuple[AsyncExitStack, Changes] | None = None

    async def enqueue(self, controller: str, key: str, after: float = 0.0) -> None:
        """Have a controller look at a key in ``after`` seconds, or earlier."""
        self._intake.check_name(controller)
        await self._store.enqueue(controller, key, self._clock.now() + timedelta(seconds=after))
        self._wake.set()

    def trigger(self, controller: str, key: str) -> None:
        """Have a controller look at a key soon. From any thread, and without waiting."""
        self._intake.trigger(controller, key)

    async def run(self) -> None:
        """Work until cancelled; then give all leases back, so that others go on at once.

        At the start everything is looked at, because a process that was killed may have written
        what it then did not enqueue.
        """
        self._intake.attach(paced=True)
        try:
            async with self._store.watch() as changes:  # first watch, then list: nothing is missed
                await self._persist(self._enqueue_everything)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._follow_changes, changes)
                    tasks.start_soon(self._follow_triggers)
                    tasks.start_soon(self._keep_leases)
                    await self._dispatch(tasks)
        finally:
            with anyio.CancelScope(shield=True):
                await self._return_leases()

    async def settle(self, max_passes: int = 10_000) -> int:
        """Run what is due until nothing is due now; return the number of passes. For tests.

        Raises ``NotSettledError`` after ``max_passes``.
        """
        self._intake.attach(paced=False)
        if self._settling is None:
            stack = AsyncExitStack()
            self._settling = stack, await stack.enter_async_context(self._store.watch())
            await self._enqueue_everything()
        _, changes = self._settling
        counts: dict[tuple[str, str], int] = {}
        while True:
            await self._intake.take_in(changes)
            async with anyio.create_task_group() as tasks:
                started = await self._lease_due(tasks)
            for lease in started:
                key = (lease.controller, lease.key)
                counts[key] = counts.get(key, 0) + 1
            if not started:
                return sum(counts.values())
            if sum(counts.values()) > max_passes:
                busiest = sorted(counts, key=lambda key: -counts[key])[:5]
                raise NotSettledError(
                    f"not settled after {max_passes} passes; busiest: "
                    + ", ".join(f"{name} {key} ({counts[name, key]})" for name, key in busiest)
                )

    async def close(self) -> None:
        """End what ``settle`` began to watch."""
        if self._settling is not None:
            stack, _ = self._settling
            self._settling = None
            await stack.aclose()

    async def heartbeat(self) -> None:
        """Extend all leases held; a pass whose lease is lost is cancelled."""
        held = list(self._held.values())
        try:
            await HeldLease.extend_all(held, self._ttl)
        except UnavailableError as error:
            # Not lost yet: effects need a lease that lasts, writes need its token.
            log.warning("leases not extended", leases=len(held), error=str(error))
        for one in held:
            if one.is_lost:
                log.warning("lease lost", controller=one.lease.controller, resource=one.lease.key)

    async def _dispatch(self, tasks: TaskGroup) -> None:
        while True:
            self._wake = anyio.Event()
            try:
                started = await self._lease_due(tasks)
                pause = await self._pause(busy=bool(started))
            except UnavailableError as error:
                log.warning("queue cannot be read", error=str(error), retry_s=_STORE_PAUSE_S)
                await anyio.sleep(_STORE_PAUSE_S)
                continue
            with anyio.move_on_after(pause):
                await self._wake.wait()

    async def _lease_due(self, tasks: TaskGroup) -> list[Lease]:
        """Start a pass for what is due and can be taken; return the leases."""
        depths = await self._store.queue_depths()
        now = self._clock.now()
        metrics.show_queue(self._controllers, depths, now)
        self._note_lateness(depths, now)
        leases: list[Lease] = []
        for depth in depths:
            free = self._free(depth.controller)
            if free > 0:
                taken = await HeldLease.take(
                    self._store, self._clock, depth.controller, limit=free, ttl=self._ttl
                )
                for held in taken:
                    self._held[held.lease.controller, held.lease.key] = held
                    self._intake.begin((held.lease.controller, held.lease.key))
                    tasks.start_soon(self._pass, held.lease)
                leases.extend(held.lease for held in taken)
        return leases

    def _note_lateness(self, depths: Sequence[QueueDepth], now: datetime) -> None:
        """Note who has to wait because all places are taken; not because nobody was there."""
        full = {
            one.controller: one.oldest for one in depths if one.due > self._free(one.controller)
        }
        self._full_since = {name: self._full_since.get(name, now) for name in full}
        self._behind_s = {
            name: (now - max(oldest, self._full_since[name])).total_seconds()
            for name, oldest in full.items()
        }

    async def _pause(self, *, busy: bool) -> float:
        """Return how long nothing can be due, for controllers that could take it."""
        free = [name for name in self._controllers if self._free(name) > 0]
        due = await self._store.next_due(free)
        if due is None:
            return _POLL_S
        least = 0.0 if busy else _LEAST_PAUSE_S
        return min(max((due - self._clock.now()).total_seconds(), least), _POLL_S)

    def _free(self, name: str) -> int:
        controller = self._controllers.get(name)
        if controller is None:
            return 0
        return controller.concurrency - sum(1 for held in self._held if held[0] == name)

    async def _pass(self, lease: Lease) -> None:
        """Run one pass. Cancelled from outside, its lease stays in ``_held`` to be returned."""
        held = self._held[lease.controller, lease.key]
        controller = self._controllers[lease.controller]
        started = time.perf_counter()
        outcome = "lost"
        with (
            held.scope,
            structlog.contextvars.bound_contextvars(controller=controller.name, resource=lease.key),
        ):
            set_current(held)
            outcome = await self._reconcile(controller, held)
        if outcome == "lost":
            metrics.LEASES_LOST.labels(controller.name).inc()
        metrics.RECONCILE_SECONDS.labels(controller.name, outcome).observe(
            time.perf_counter() - started
        )
        del self._held[lease.controller, lease.key]
        self._wake.set()

    async def _reconcile(self, controller: Controller[Any], held: HeldLease) -> str:
        context = controller.context(self._store, self._clock)
        try:
            result = await controller.reconciler.reconcile(held.lease.key, held, context)
        except LeaseLostError as error:
            log.warning("pass ended without effect", error=str(error))
            result = RESULT_LOST  # if it is still ours, it was too short: try again later
        except MoorageError as error:
            log.warning("pass failed", error=str(error))
            result = RESULT_FAILED
        except Exception:
            log.exception("pass raised")
            result = RESULT_FAILED
        try:
            await self._give_back(controller, held.lease, result)
        except LeaseLostError as error:
            log.warning("pass ended too late", error=str(error))
            return "lost"
        except UnavailableError as error:
            log.warning("lease not given back, it will expire", error=str(error))
        return result.outcome

    async def _give_back(self, controller: Controller[Any], lease: Lease, result: Result) -> None:
        now = self._clock.now()
        if result.outcome in {"failed", "lost"}:
            await self._store.fail(lease, due=now + self._backoff(lease.attempts))
        elif result.outcome == "gone":
            await self._store.finish(lease, due=None)
        elif result.after is not None:
            # Where passes begin late, looking again as soon as ever would make all of them later,
            # among them those for whom something has come.
            late_s = self._behind_s.get(controller.name, 0.0)
            after = max(result.after, min(_PUT_OFF * late_s, _MOST_PUT_OFF_S))
            await self._store.finish(lease, due=now + timedelta(seconds=after))
        else:
            spread = controller.resync * self._chance.uniform(0.9, 1.1)
            await self._store.finish(lease, due=now + spread)

    def _backoff(self, attempts: int) -> timedelta:
        longest = min(_FIRST_BACKOFF_S * 2 ** min(attempts, 30), _LONGEST_BACKOFF_S)
        return timedelta(seconds=max(_FIRST_BACKOFF_S, longest * self._chance.uniform(0.6, 1.0)))

    async def _follow_changes(self, changes: Changes) -> None:
        while True:
            first = await changes.__anext__()

            async def enqueue(first: Change = first) -> None:
                await self._intake.enqueue(await self._intake.keys([first, *changes.drain()]))

            await self._persist(enqueue)
            self._wake.set()

    async def _follow_triggers(self) -> None:
        while True:
            await self._intake.wait_triggered()
            items = self._intake.triggered()

            async def enqueue(items: set[Item] = items) -> None:
                await self._intake.enqueue(items)

            await self._persist(enqueue)
            self._wake.set()

    async def _keep_leases(self) -> None:
        while True:
            await anyio.sleep(self._ttl.total_seconds() / 3)
            await self.heartbeat()

    async def _enqueue_everything(self) -> None:
        await self._intake.enqueue(await self._intake.everything())

    @staticmethod
    async def _persist(attempt: Callable[[], Awaitable[None]]) -> None:
        """Repeat until the store takes it: what was asked for must not be forgotten."""
        while True:
            try:
                await attempt()
            except UnavailableError as error:
                log.warning("queue cannot be written", error=str(error), retry_s=_STORE_PAUSE_S)
                await anyio.sleep(_STORE_PAUSE_S)
            else:
                return

    async def _return_leases(self) -> None:
        held = [one.lease for one in self._held.values() if not one.is_lost]
        self._held.clear()
        if not held:
            return
        try:
            await self._store.release(held)
        except MoorageError as error:
            log.warning("leases not returned, they will expire", error=str(error))
