"""What we have started and not yet seen the end of: nothing is started twice."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyVmomi import vim

from moorage.kit.errors import ConflictError, TerminalError, UnavailableError
from moorage.vsphere.clone import start_clone, who_has_the_name
from moorage.vsphere.ownership import Ownership
from moorage.vsphere.properties import moref
from moorage.vsphere.session import Session
from moorage.vsphere.tasks import LATER_S, Tasks
from moorage.vsphere.types import VM, CloneRequest, Task, TaskRef, TaskState

Start = Callable[[Session, VM], Any]


class BusyError(UnavailableError):
    """As many clones are running as this vCenter is asked to do at a time."""


@dataclass(frozen=True, slots=True)
class _Started:
    task: str
    uid: str
    is_done: Callable[[], bool] | None


class Effects:
    """Starts tasks, remembers them until they are over, and keeps to the limits."""

    def __init__(self, session: Session, tasks: Tasks, ownership: Ownership) -> None:
        self._session = session
        self._tasks = tasks
        self._ownership = ownership
        self._limits = session.limits
        self._lock = threading.Lock()
        self._started: dict[Hashable, _Started] = {}
        self._clones: dict[str, str] = {}
        self._calling = 0
        self._waiting: dict[str, None] = {}
        self._folders: dict[str, str] = {}
        self._made_at: dict[str, float] = {}

    # Power, destroy, reconfigure

    async def start(
        self,
        verb: str,
        start: Start,
        vm: VM,
        is_done: Callable[[], bool] | None,
        deadline_s: float | None,
        *,
        detail: Hashable = None,
    ) -> TaskRef:
        """Start a task on a VM, unless the same is running or its end is in sight already.

        When the last try has failed, its error is raised, once; the next call tries again.

        Args:
            verb: For texts, and what "the same" is, together with ``detail``.
            start: Makes the call and returns the task.
            vm: On which VM.
            is_done: Tells from memory that the aim is reached. The task is then watched only
                if that takes long.
            deadline_s: For the call.
            detail: What else makes this different from another with the same verb.
        """
        key = (vm.moref, verb, detail)
        if is_done is not None and is_done():
            return TaskRef(None, vm.moref)
        with self._lock:
            before = self._started.get(key)
            last = self._tasks.get(before.task) if before else None
            if last is not None and last.state is TaskState.RUNNING:
                return TaskRef(last.moref, vm.moref)
            self._started.pop(key, None)
        if last is not None and last.error is not None:
            raise last.error
        what = f"{verb} VM {vm.name}"
        task = await self._session.call(
            what,
            partial(_started_task, start, self._session, vm),
            deadline_s=deadline_s or self._limits.effect_s,
        )
        uid = vm.owner.uid if vm.owner is not None else vm.instance_uuid
        with self._lock:
            self._started[key] = _Started(task, uid, is_done)
        self._tasks.track(task, uid, what, after_s=LATER_S)
        return TaskRef(task, vm.moref)

    # Clones

    async def clone(self, request: CloneRequest, deadline_s: float | None) -> TaskRef:
        """Start to clone; see ``VCenter.clone``."""
        uid = request.uid
        with self._lock:
            self._folders[uid] = request.target.folder
            last = self._last_clone(uid)
            if last is not None and last.state is TaskState.RUNNING:
                return TaskRef(last.moref)
            self._clones.pop(uid, None)
            taken = last is not None and last.fault == "DuplicateName"
            if not taken:
                self._take_slot(uid)
        if taken:
            return await self._name_is_taken(request)
        what = f"clone {request.target.template.name} to VM {request.name}"
        try:
            task = await self._session.call(
                what,
                partial(start_clone, self._session, request),
                deadline_s=deadline_s or self._limits.effect_s,
            )
            self._tasks.track(task, uid, what)
            with self._lock:
                self._clones[uid] = task
        except ConflictError as error:
            if not isinstance(error.__cause__, vim.fault.DuplicateName):
                raise
        else:
            return TaskRef(task)
        finally:
            with self._lock:
                self._calling -= 1
        return await self._name_is_taken(request)

    async def _name_is_taken(self, request: CloneRequest) -> TaskRef:
        holder = await self._session.call(
            f"find who has the name {request.name}",
            partial(
                who_has_the_name, self._session, request, self._ownership.made.get(request.uid)
            ),
        )
        match holder:
            case None:
                raise UnavailableError(
                    f"VM name {request.name} was taken a moment ago and is free now"
                )
            case (vm, "ours"):
                self._note_made(request.uid, vm)
                return TaskRef(None, vm)
            case (vm, "unfinished"):
                raise UnavailableError(f"VM {request.name} ({vm}) is still being made")
            case (vm, _):
                raise TerminalError(
                    "NameTaken",
                    f"the name {request.name} is taken in the folder by {vm}, which is not ours",
                )
        raise AssertionError(holder)

    def _take_slot(self, uid: str) -> None:
        running = sum(
            state is not None and state.state is TaskState.RUNNING
            for state in map(self._tasks.get, self._clones.values())
        )
        if running + self._calling >= self._limits.clones:
            self._waiting[uid] = None
            raise BusyError(
                f"{running + self._calling} clones are running in this vCenter, "
                f"which is the limit of {self._limits.clones}: this one waits its turn"
            )
        self._waiting.pop(uid, None)
        self._calling += 1

    def _last_clone(self, uid: str) -> Task | None:
        task = self._clones.get(uid)
        return self._tasks.get(task) if task else None

    def running_clone(self, uid: str) -> str | None:
        """Return the clone task that is running for a UID."""
        last = self._last_clone(uid)
        return last.moref if last is not None and last.state is TaskState.RUNNING else None

    def task(self, task: str, uid: str) -> Task | None:
        """Return how far a task is; one that is not known yet is followed from now on."""
        known = self._tasks.get(task)
        if known is None:
            self._tasks.track(task, uid, f"task {task}", after_s=0.0)
            known = self._tasks.get(task)
            if uid:
                with self._lock:
                    self._clones.setdefault(uid, task)
        return known

    def note_folder(self, uid: str, folder: str | None) -> None:
        """Remember where a VM of ours was seen: its absence is to be proven there."""
        if folder is not None:
            self._folders[uid] = folder

    def folder_of(self, uid: str) -> str | None:
        """Return the folder that was last cloned into, or where the VM was seen."""
        return self._folders.get(uid)

    def made_lately(self, uid: str, within_s: float) -> bool:
        """Tell whether vCenter said recently that it made a VM which it has not shown yet."""
        at = self._made_at.get(uid)
        return at is not None and time.monotonic() - at < within_s

    # What the stream tells

    def changed(self, uids: frozenset[str]) -> frozenset[str]:
        """Take note of changes; returns further UIDs whose turn has come."""
        ended = False
        with self._lock:
            for uid in uids & self._clones.keys():
                last = self._last_clone(uid)
                if last is None or not last.is_over:
                    continue
                ended = True
                if last.result is not None and self._ownership.made.get(uid) != last.result:
                    self._note_made(uid, last.result)
            done = [
                (key, started)
                for key, started in self._started.items()
                if started.uid in uids and started.is_done is not None and started.is_done()
            ]
            for key, started in done:
                del self._started[key]
                self._tasks.forget(started.task)
            for uid in uids & self._made_at.keys():
                if self._ownership.inventory.get(self._ownership.made[uid]) is not None:
                    del self._made_at[uid]  # shown: from now on its absence means something
            woken = list(self._waiting) if ended else []
            for uid in woken:
                del self._waiting[uid]
        return frozenset(woken)

    def _note_made(self, uid: str, vm: str) -> None:
        self._ownership.made[uid] = vm
        self._made_at[uid] = time.monotonic()


def _started_task(start: Start, session: Session, vm: VM) -> str:
    return moref(start(session, vm)) or ""
