"""One folder of a real vCenter: what checks work with, and the removal of all that they made."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import anyio
from pyVim.task import WaitForTask
from pyVmomi import vim

from conformance.settings import Settings
from moorage.kit.errors import MoorageError, TerminalError
from moorage.kit.ids import new_uid
from moorage.vsphere import (
    VM,
    CloneRequest,
    Endpoint,
    Found,
    Limits,
    OwnerMark,
    ResolvedTarget,
    TaskRef,
    VCenter,
)
from moorage.vsphere.session import Session

T = TypeVar("T")

PREFIX: Final = "moorage-conformance-"
"""Of the name of each run's own folder."""
PATIENCE_S: Final = 900.0
"""For a task: a full clone to a busy datastore takes its time."""
_CALL_S: Final = 60.0
_LOOK_S: Final = 0.2


@dataclass
class Site:
    """The run's own folder. Nothing outside of it is changed."""

    settings: Settings
    vcenter: VCenter
    """As a gateway uses it."""
    hand: Session
    """Another session, to do and to read what Moorage itself does not."""
    target: ResolvedTarget
    """Where clones go: into the own folder."""
    run: str
    _clones: list[str] = field(default_factory=list)

    @property
    def installation(self) -> str:
        """What stands in owner marks: that of no hub."""
        return f"conformance-{self.run}"

    @property
    def folder(self) -> vim.Folder:
        """The own folder, to call methods on by ``by_hand``."""
        return self.hand.ref(vim.Folder, self.target.folder)

    def request(self, **changes: Any) -> CloneRequest:
        """Return what to ask for, to make the smallest machine of the template."""
        uid = changes.pop("uid", None) or new_uid()
        values: dict[str, Any] = {
            "uid": uid,
            "name": f"check-{uid[:10]}",
            "target": self.target,
            "cpus": 2,
            "memory_mib": 2048,
            "mark": OwnerMark(self.installation, "Machine", uid),
            **changes,
        }
        return CloneRequest(**values)

    async def start_clone(self, request: CloneRequest) -> TaskRef:
        """Start a clone; what was started is known to who cleans up, whatever happens."""
        with anyio.CancelScope(shield=True):
            task = await self.vcenter.clone(request)
            self._clones.append(task.moref or "")
        return task

    async def clone(self, request: CloneRequest | None = None) -> VM:
        """Clone, and return the VM as the inventory shows it."""
        request = request or self.request()
        task = await self.start_clone(request)

        def made() -> VM | None:
            seen = self.vcenter.find(request.uid)
            if isinstance(seen, Found):
                return seen.vm
            ended = self.vcenter.task(task.moref or "")
            if ended is not None and ended.error is not None:
                raise ended.error
            return None

        return await self.until(made, f"the clone {request.name} is in the inventory")

    async def end(self, vm: VM) -> None:
        """Delete a VM as Moorage does."""
        await self.vcenter.destroy(vm)
        mark = vm.owner
        await self.until(
            lambda: mark is None or not isinstance(self.vcenter.find(mark.uid), Found),
            f"{vm.name} is gone",
        )

    async def until(self, claim: Callable[[], T | None], what: str) -> T:
        """Wait until something true is returned, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := claim()):
            if time.monotonic() > deadline:
                raise TerminalError("NotSeen", f"{what}: not so after {PATIENCE_S:.0f} s")
            await anyio.sleep(_LOOK_S)
        return found

    async def by_hand(self, what: str, work: Callable[[], T], *, deadline_s: float = _CALL_S) -> T:
        """Do or read something with the other session, blocking, in a thread."""
        return await self.hand.call(what, work, deadline_s=deadline_s)

    async def task_by_hand(self, what: str, start: Callable[[], Any]) -> Any:
        """Start a task with the other session and wait for its end; returns its result."""

        def work() -> Any:
            task = start()
            WaitForTask(task)
            return task.info.result

        with anyio.CancelScope(shield=True):
            return await self.by_hand(what, work, deadline_s=PATIENCE_S)

    def vm(self, vm: VM) -> Any:
        """Return a VM to read by hand."""
        return self.hand.ref(vim.VirtualMachine, vm.moref)

    async def clean(self) -> list[str]:
        """Remove everything in the own folder, and the folder; returns what could not be."""
        for task in filter(None, self._clones):
            await self._wait_for_clone(task)
        left = await self.by_hand("clean up", self._destroy_all, deadline_s=PATIENCE_S)
        if not left:
            await self.task_by_hand("remove the folder", self.folder.Destroy_Task)
        return left

    async def _wait_for_clone(self, moref: str) -> None:
        task = self.hand.ref(vim.Task, moref)
        try:
            await self.by_hand(
                "wait for a clone",
                lambda: WaitForTask(task, raiseOnError=False),
                deadline_s=PATIENCE_S,
            )
        except MoorageError:
            return  # vCenter does not know it any more

    def _destroy_all(self) -> list[str]:
        left: list[str] = []
        for child in _below(self.folder):
            if isinstance(child, vim.VirtualMachine) and self._is_ours(child):
                if child.runtime.powerState == "poweredOn":
                    WaitForTask(child.PowerOffVM_Task())
                WaitForTask(child.Destroy_Task())
            elif not isinstance(child, vim.Folder):
                left.append(f"{child.name}: not made by this run, so it is left")
        return left

    def _is_ours(self, vm: Any) -> bool:
        options = vm.config.extraConfig if vm.config is not None else ()
        return vm.config is None or any(self.installation in str(one.value) for one in options)


def _below(folder: Any) -> list[Any]:
    """Return what is in a folder and in folders below; what is deepest comes first."""
    found: list[Any] = []
    for child in folder.childEntity:
        if isinstance(child, vim.Folder):
            found += _below(child)
        found.append(child)
    return found


@asynccontextmanager
async def open_site(settings: Settings, left: list[str]) -> AsyncIterator[Site]:
    """Log in, make the run's own folder, and remove it with all that is in it at the end.

    Args:
        settings: Where, and who.
        left: Gets a line for everything that could not be removed.

    Raises:
        MoorageError: The vCenter cannot be used, or a place is not there.
    """
    endpoint = Endpoint(settings.server, settings.username, settings.trust)
    run = new_uid()[:8]
    vcenter = await VCenter.connect(endpoint, settings.password, installation=f"conformance-{run}")
    hand = Session(endpoint, settings.password, Limits())
    try:
        vcenter.check()
        await vcenter.wait_synced(PATIENCE_S)
        where = await vcenter.resolve(settings.target)
        await hand.call("log in", lambda: None)
        parent = hand.ref(vim.Folder, where.folder)
        made = await hand.call("make a folder", lambda: parent.CreateFolder(PREFIX + run)._moId)
        site = Site(settings, vcenter, hand, replace(where, folder=str(made)), run)
        try:
            yield site
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    left += await site.clean()
                except Exception as error:  # noqa: BLE001 - said, whatever it is
                    left.append(f"folder {PREFIX}{run}: {error}")
    finally:
        with anyio.CancelScope(shield=True):
            await vcenter.close()
            await anyio.to_thread.run_sync(hand.close)
