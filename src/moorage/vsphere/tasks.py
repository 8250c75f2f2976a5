"""Tasks that we started: put into one ListView in batches, their ends pushed, never polled.

What the inventory shows by itself (a VM that is powered on) is watched only when that has not
happened after a while, so that the quick case costs no call. Whatever is put into the view takes
with it what else may go, and what is over: a call of its own is made only for a task that has
waited as long as its kind may.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from moorage.kit.errors import UnavailableError
from moorage.vsphere.faults import fault_name, translate
from moorage.vsphere.properties import moref
from moorage.vsphere.types import Task, TaskState

PATHS = ("info.state", "info.result", "info.error")
PATHS_WITHOUT_ERROR = PATHS[:2]
"""For a vCenter that has named a fault which cannot be read."""

_KEEP_S = 900.0
_PRUNE_S = 60.0
_APART_S = 0.25
"""Between two changes of the view, at least."""
_SHARE = 1 / 3
_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a task may be out of view, in seconds since it was asked for."""

    ripe_s: float
    """From then on it goes with the others, when the view is changed for one of them."""
    late_s: float
    """Then the view is changed for it."""
    most_s: float = 0.0
    """Where it is more than ``late_s``: as long as a third of what the shortest of the last such
    tasks took, up to this much. So nothing that lasts as long as those do is seen later, and where
    clones take their time, many of them share one call."""


CLONE = Patience(ripe_s=0.0, late_s=0.5, most_s=3.0)
SHOWN = Patience(ripe_s=1.0, late_s=3.0)
"""The inventory shows what it was for: only failures are told by the task."""
AT_ONCE = Patience(ripe_s=0.0, late_s=0.0)

_STATES = {"success": TaskState.SUCCESS, "error": TaskState.ERROR}


@dataclass(slots=True)
class _Tracked:
    uid: str
    state: Task
    patience: Patience
    asked_at: float
    watched: bool = False
    ended_at: float | None = None


class Tasks:
    """What is known of our tasks. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._tasks: dict[str, _Tracked] = {}
        self._due: dict[str, tuple[float, float]] = {}
        """Task -> when it may, and when it has to, go into the view (``time.monotonic``)."""
        self._lasted: dict[Patience, deque[float]] = {}
        """Seconds that the last tasks of a kind took, as far as they were seen to end."""
        self._remove: list[str] = []
        self._not_before = 0.0
        self._pruned_at = time.monotonic()

    def track(self, task: str, uid: str, what: str, patience: Patience) -> None:
        """Begin to follow a task that was asked for just now."""
        with self._wake:
            self._prune()
            if task not in self._tasks:
                now = time.monotonic()
                running = Task(moref=task, state=TaskState.RUNNING, what=what)
                self._tasks[task] = _Tracked(uid, running, patience, now)
                self._due[task] = now + patience.ripe_s, now + self._late_s(patience)
                self._wake.notify_all()

    def _late_s(self, patience: Patience) -> float:
        shortest = min(self._lasted.get(patience, ()), default=0.0)
        return max(patience.late_s, min(shortest * _SHARE, patience.most_s))

    def forget(self, task: str) -> None:
        """Stop following: what it was for has been seen."""
        with self._lock:
            tracked = self._tasks.pop(task, None)
            self._due.pop(task, None)
            if tracked is not None and tracked.watched:
                self._remove.append(task)

    def get(self, task: str) -> Task | None:
        """Return what was last pushed; ``None`` for a task that is not followed."""
        tracked = self._tasks.get(task)
        return None if tracked is None else tracked.state

    def uid(self, task: str) -> str | None:
        """Return whose task it is."""
        tracked = self._tasks.get(task)
        return None if tracked is None else tracked.uid

    def push(self, task: str, values: dict[str, Any]) -> Task | None:
        """Take pushed properties; returns the new state when it has changed."""
        with self._lock:
            tracked = self._tasks.get(task)
            if tracked is None:
                return None
            old = tracked.state
            new = self._changed(old, values)
            tracked.state = new
            if new.is_over and tracked.ended_at is None:
                tracked.ended_at = time.monotonic()
                lasted = self._lasted.setdefault(tracked.patience, deque(maxlen=_REMEMBERED))
                lasted.append(tracked.ended_at - tracked.asked_at)
                self._remove.append(task)
        return new if new != old else None

    @staticmethod
    def _changed(old: Task, values: dict[str, Any]) -> Task:
        new = old
        if values.get("info.result") is not None:
            new = replace(new, result=moref_or_none(values["info.result"]))
        error = values.get("info.error")
        if error is not None:
            new = replace(new, error=translate(error, old.what), fault=fault_name(error))
        if "info.state" in values:
            new = replace(new, state=_STATES.get(str(values["info.state"]), TaskState.RUNNING))
        if new.state is TaskState.ERROR and new.error is None:
            why = f"{new.what}: vCenter's task {new.moref} failed for a reason that cannot be read"
            new = replace(new, error=UnavailableError(f"{why}: see its task list. Tried again"))
        return new

    def lose(self, tasks: list[str]) -> set[str]:
        """Note that vCenter does not know these any more; returns whose they were."""
        uids: set[str] = set()
        with self._lock:
            for task in tasks:
                tracked = self._tasks.get(task)
                if tracked is not None and not tracked.state.is_over:
                    tracked.state = replace(tracked.state, state=TaskState.LOST)
                    tracked.ended_at = time.monotonic()
                    uids.add(tracked.uid)
        return uids

    def restart(self) -> None:
        """The view was lost: everything unfinished belongs into the next one."""
        with self._wake:
            self._remove.clear()
            now = time.monotonic()
            for task, tracked in self._tasks.items():
                if tracked.watched and not tracked.state.is_over:
                    self._due[task] = now, now
                tracked.watched = False
            self._wake.notify_all()

    def due(self, stop: Callable[[], bool]) -> tuple[list[str], list[str]]:
        """Wait until tasks are due; returns those to add to and remove from the view."""
        with self._wake:
            while not stop():
                now = time.monotonic()
                soonest = min((late for _, late in self._due.values()), default=None)
                if soonest is None:
                    self._wake.wait()
                elif (delay := max(soonest, self._not_before) - now) > 0:
                    self._wake.wait(delay)
                else:
                    ready = [task for task, (ripe, _) in self._due.items() if ripe <= now]
                    for task in ready:
                        del self._due[task]
                        self._tasks[task].watched = True
                    remove, self._remove = self._remove, []
                    self._not_before = now + _APART_S
                    return ready, remove
        return [], []

    def unwatched(self, tasks: list[str]) -> None:
        """Putting these into the view failed: they are due again a little later."""
        with self._wake:
            for task in tasks:
                if task in self._tasks:
                    self._tasks[task].watched = False
                    again = time.monotonic() + 1.0
                    self._due[task] = again, again
            self._wake.notify_all()

    def wake(self) -> None:
        """Let ``due`` look at its ``stop`` again."""
        with self._wake:
            self._wake.notify_all()

    def _prune(self) -> None:
        now = time.monotonic()
        if now - self._pruned_at < _PRUNE_S:
            return
        self._pruned_at = now
        before = now - _KEEP_S
        old = [
            task
            for task, tracked in self._tasks.items()
            if tracked.ended_at is not None and tracked.ended_at < before
        ]
        for task in old:
            del self._tasks[task]


def moref_or_none(value: Any) -> str | None:
    """Return the moref of a task's result; results that are not managed objects give ``None``."""
    return moref(value) if hasattr(value, "_moId") else None
