"""What imports share: work in threads of their own, for as long as an upload takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from pyVmomi import vim

from moorage.engine import lease
from moorage.kit.errors import TerminalError, UnavailableError
from moorage.vsphere.ova import OvaReader
from moorage.vsphere.properties import Want, moref, retrieve
from moorage.vsphere.session import Session
from moorage.vsphere.types import OWNER_KEY, OwnerMark

T = TypeVar("T")

CALL_S: Final = 60.0
PIECE_S: Final = 120.0
"""How long who takes an upload may take for one piece of it."""
READY_S: Final = 1800.0
"""How long it may take to check and store what was sent."""
_TASK_S: Final = 0.2
_AT_A_TIME: Final = 4


@dataclass(slots=True)
class Transfer:
    """One upload under way; read by others while it goes on."""

    total: int = 0
    """Bytes."""
    done: int = 0
    stopped: Event = field(default_factory=Event)
    """Set by whoever wants it to end."""

    def ensure_wanted(self) -> None:
        """Raise ``UnavailableError`` once somebody has stopped it."""
        if self.stopped.is_set():
            raise UnavailableError("the import was stopped")


class LongCalls:
    """Runs blocking work in threads that take no place of other calls, each with a new deadline."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._threads = anyio.CapacityLimiter(_AT_A_TIME)

    def soon(self, within_s: float) -> None:
        """Give the next call of this thread a deadline of its own."""
        self.session.stub.deadline.at = time.monotonic() + within_s

    async def run(self, what: str, work: Callable[[], T], transfer: Transfer) -> T:
        """Work in a thread of its own; it ends soon after the caller."""
        await lease.hold(timedelta(seconds=CALL_S))

        def run() -> T:
            return self.session.run(what, work, deadline=time.monotonic() + CALL_S)

        try:
            return await anyio.to_thread.run_sync(
                run, limiter=self._threads, abandon_on_cancel=True
            )
        finally:
            transfer.stopped.set()

    def adopt(self, vm: str, mark: OwnerMark) -> None:
        """Set identity and mark, and stay until they are: without them it would be debris.

        In a thread of ``run``.
        """
        self.soon(CALL_S)
        task = moref(
            self.session.ref(vim.VirtualMachine, vm).ReconfigVM_Task(
                vim.vm.ConfigSpec(
                    instanceUuid=mark.uid,
                    extraConfig=[vim.option.OptionValue(key=OWNER_KEY, value=mark.to_json())],
                )
            )
        )
        state, until = "", time.monotonic() + CALL_S
        while state != "success":
            if state == "error" or time.monotonic() > until:
                raise UnavailableError(f"vCenter could not set the identity of {vm}: tried again")
            time.sleep(_TASK_S)
            self.soon(CALL_S)
            wanted = [Want(vim.Task, [str(task)], ["info.state"])]
            state = str(retrieve(self.session, wanted).get(str(task), {}).get("info.state"))


def check_whole(reader: OvaReader, sha256: str | None) -> None:
    """Raise ``TerminalError`` where an OVA that has passed by is not the one asked for."""
    found = reader.sha256.hexdigest()
    if sha256 not in {None, found}:
        raise TerminalError(
            "ChecksumMismatch", f"the OVA has the SHA-256 {found}, and {sha256} was asked for"
        )
