"""What makes keys due: changes of resources, triggers from outside, and a look at everything."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio

from moorage.engine.controller import Controller
from moorage.engine.store import Change, Changes, Store
from moorage.kit.clock import Clock
from moorage.resources import Resource

_PAGE = 500
_MOST_BEGUN = 1000

Item = tuple[str, str]
"""Controller and key."""


class Intake:
    """Turns changes and triggers into due keys of the queue, many in one write."""

    def __init__(self, store: Store, controllers: Sequence[Controller[Any]], clock: Clock) -> None:
        self._store = store
        self._controllers = controllers
        self._names = {controller.name for controller in controllers}
        self._clock = clock
        self._triggered: deque[Item] = deque()
        self._arrived = anyio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._paces = {one.name: one.pace for one in controllers if one.pace}
        self._begun: dict[Item, float] = {}
        """When the last pass began, by the steady clock; of keys whose controller has a pace."""
        self._is_paced = False

    def attach(self, *, paced: bool) -> None:
        """Let triggers wake the event loop that is running now, and keep paces or not."""
        self._loop = asyncio.get_running_loop()
        self._is_paced = paced

    def begin(self, item: Item) -> None:
        """Note that a pass begins: its controller's pace counts from now."""
        if self._is_paced and item[0] in self._paces:
            now = self._clock.steady()
            if len(self._begun) >= _MOST_BEGUN:
                self._begun = {one: at for one, at in self._begun.items() if self._left(one) > 0}
            self._begun[item] = now

    def check_name(self, controller: str) -> None:
        """Raise ``ValueError`` for the name of no controller: a slip of the programmer."""
        if controller not in self._names:
            raise ValueError(f"no controller is called {controller!r}: {sorted(self._names)}")

    def trigger(self, controller: str, key: str) -> None:
        """Note a key; from any thread. What is not taken in before a crash is lost."""
        self.check_name(controller)
        self._triggered.append((controller, key))
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: nobody is left to look
                self._loop.call_soon_threadsafe(self._notice)

    def _notice(self) -> None:
        self._arrived.set()  # the event of this moment, not that of the trigger's

    async def wait_triggered(self) -> None:
        """Wait until there is a trigger."""
        while not self._triggered:
            self._arrived = anyio.Event()
            if not self._triggered:  # one may have come from another thread just now
                await self._arrived.wait()

    def triggered(self) -> set[Item]:
        """Return what was triggered, and take it off."""
        found: set[Item] = set()
        while self._triggered:
            found.add(self._triggered.popleft())
        return found

    async def keys(self, changes: Iterable[Change]) -> set[Item]:
        """Return what changes make due; everything, when some went by unseen."""
        found: set[Item] = set()
        for change in changes:
            if change.is_resync:
                return await self.everything()
            for controller in self._controllers:
                found.update((controller.name, key) for key in controller.keys(change))
        return found

    async def everything(self) -> set[Item]:
        """Return the keys of all that controllers may have to look at.

        A controller without a kind of its own knows its keys from what it watches only.
        """
        found: set[Item] = set()
        for controller in self._controllers:
            own = controller.reconciler.kind
            kinds = {own} if own is not None else {watch.kind for watch in controller.watches}
            for kind in kinds:
                async for change in self._each(kind):
                    found.update((controller.name, key) for key in controller.keys(change))
        return found

    async def _each(self, kind: type[Resource]) -> AsyncIterator[Change]:
        after: tuple[str, str] | None = None
        while page := await self._store.overview(kind, limit=_PAGE, after=after):
            after = (page[-1].project, page[-1].name)
            for change in page:
                yield change

    async def enqueue(self, items: Iterable[Item]) -> None:
        """Make keys due now, or as soon as the pace of their controller allows."""
        now = self._clock.now()
        by_wait: dict[float, list[Item]] = {}
        for item in items:
            by_wait.setdefault(self._left(item), []).append(item)
        for wait_s, some in sorted(by_wait.items()):
            await self._store.enqueue_many(some, now + timedelta(seconds=wait_s))

    def _left(self, item: Item) -> float:
        """Return how many seconds of its pace a key still has to wait."""
        begun = self._begun.get(item)
        if begun is None:
            return 0.0
        pace_s = self._paces[item[0]].total_seconds()
        return max(begun + pace_s - self._clock.steady(), 0.0)

    async def take_in(self, changes: Changes) -> None:
        """Make due what waits now, without waiting for more."""
        items = await self.keys(changes.drain()) | self.triggered()
        if items:
            await self.enqueue(items)
