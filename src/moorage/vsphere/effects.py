"""What we have started and not yet seen the end of: nothing is started twice."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from pyVmomi import vim

from moorage.engine import lease
from moorage.kit.errors import ConflictError, TerminalError, UnavailableError
from moorage.vsphere.clone import start_clone, who_has_the_name
from moorage.vsphere.ownership import Ownership
from moorage.vsphere.properties import moref
from moorage.vsphere.session import Session
from moorage.vsphere.tasks import AT_ONCE, CLONE, SHOWN, Tasks
from moorage.vsphere.turns import Claim, Turns
from moorage.vsphere.types import VM, CloneRequest, Task, TaskRef, TaskState

T = TypeVar("T")

Start = Callable[[Session, VM], Any]


@dataclass(frozen=True, slots=True)
class _Started:
    task: str
    is_done: Callable[[], bool] | None


class Effects:
    """Starts tasks, remembers them until they are over, and keeps to the limits."""

    def __init__(self, session: Session, tasks: Tasks, ownership: Ownership, turns: Turns) -> None:
        self._session = session
        self._tasks = tasks
        self._ownership = ownership
        self.turns = turns
        """Whose turn it is to be cloned, here and by other accounts of this vCenter."""
        self._limits = session.limits
        self._lock = threading.Lock()
        self._started: dict[str, dict[Hashable, _Started]] = {}
        """By UID, then by what makes two effects the same."""
        self._clones: dict[str, str] = {}
        """UID -> its last clone task."""
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
        uid = vm.owner.uid if vm.owner is not None else vm.instance_uuid
        key = (vm.moref, verb, detail)
        if is_done is not None and is_done():
            return TaskRef(None, vm.moref)
        with self._lock:
            before = self._started.get(uid, {}).get(key)
            last = self._tasks.get(before.task) if before else None
            if last is not None and last.state is TaskState.RUNNING:
                return TaskRef(last.moref, vm.moref)
            self._end(uid, key)
        if last is not None and last.error is not None:
            raise last.error
        what = f"{verb} VM {vm.name}"

        def work() -> str:
            # Noted in the thread: a caller that is cancelled meanwhile does not lose the task.
            task = moref(start(self._session, vm)) or ""
            self._tasks.track(task, uid, what, SHOWN)
            with self._lock:
                self._started.setdefault(uid, {})[key] = _Started(task, is_done)
            return task

        return TaskRef(await self.under_lease(what, work, deadline_s), vm.moref)

    async def under_lease(
        self, what: str, work: Callable[[], T], deadline_s: float | None = None
    ) -> T:
        """Make a call that starts something, if the running pass's lease outlives its deadline."""
        deadline = deadline_s or self._limits.effect_s
        await lease.hold(timedelta(seconds=deadline))

        def guarded() -> T:
            with self._session.effect(what):
                return work()

        return await self._session.call(what, guarded, deadline_s=deadline)

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
        if taken:
            return await self._name_is_taken(request)
        self.turns.take(self.claim(request))
        what = f"clone {request.target.template.name} to VM {request.name}"

        def work() -> str:
            task = start_clone(self._session, request)
            with self._lock:
                self._clones[uid] = task
            self._tasks.track(task, uid, what, CLONE)
            return task

        try:
            task = await self.under_lease(what, work, deadline_s)
        except ConflictError as error:
            if not isinstance(error.__cause__, vim.fault.DuplicateName):
                raise
        else:
            return TaskRef(task)
        finally:
            if uid not in self._clones:
                self.turns.end(uid)
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

    def claim(self, request: CloneRequest) -> Claim:
        """Return what a clone would keep busy."""
        target = request.target
        template = self._ownership.inventory.get(target.template.moref)
        hosts = (template.host if template is not None else None, request.host)
        return Claim(
            uid=request.uid,
            cluster=request.mark.cluster,
            rank=request.rank,
            datastore=target.datastore,
            hosts=frozenset(host for host in hosts if host is not None),
            session=id(self),
        )

    def close(self) -> None:
        """Give up all places for clones."""
        self.turns.close(id(self))

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
            self._tasks.track(task, uid, f"task {task}", AT_ONCE)
            known = self._tasks.get(task)
            if uid:
                with self._lock:
                    if uid not in self._clones:
                        self._clones[uid] = task
                        self.turns.note_running(Claim(uid, session=id(self)))
        return known

    def known_task(self, task: str) -> Task | None:
        """Return how far a task is; ``None`` when what it was for was seen, or it was not ours."""
        return self._tasks.get(task)

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

    def changed(self, uids: frozenset[str]) -> None:
        """Take note of changes; those whose turn has come then are called."""
        cloned = []
        with self._lock:
            for uid in uids & self._clones.keys():
                last = self._last_clone(uid)
                if last is not None and not last.is_over:
                    continue
                cloned.append(uid)
                made = last.result if last is not None else None
                if made is not None and self._ownership.made.get(uid) != made:
                    self._note_made(uid, made)
            for uid in uids & self._started.keys():
                for key, started in list(self._started[uid].items()):
                    if self._is_over(started):
                        self._end(uid, key)
            for uid in uids & self._made_at.keys():
                if self._ownership.inventory.get(self._ownership.made[uid]) is not None:
                    del self._made_at[uid]  # shown: from now on its absence means something
        self.turns.end(*cloned)

    def _is_over(self, started: _Started) -> bool:
        """Tell what need not be remembered: failures must, until somebody has heard of them."""
        if started.is_done is not None and started.is_done():
            self._tasks.forget(started.task)
            return True
        task = self._tasks.get(started.task)
        return task is None or task.state in (TaskState.SUCCESS, TaskState.LOST)

    def _end(self, uid: str, key: Hashable) -> None:
        mine = self._started.get(uid, {})
        mine.pop(key, None)
        if not mine:
            self._started.pop(uid, None)

    def _note_made(self, uid: str, vm: str) -> None:
        self._ownership.made[uid] = vm
        self._made_at[uid] = time.monotonic()
