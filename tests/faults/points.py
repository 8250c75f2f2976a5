"""Kill points: the process kills itself at the N-th call, or commit, that it begins or has ended.

Installed by a test in a child process of its own; the product knows nothing of it. What is armed
stands in a small shared file, so that a running process can be armed, and what is counted there
outlives it.
"""

import mmap
import os
import signal
import struct
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_SLOT = struct.Struct("<qq")
"""Of each point: how often it was passed, and at which passage to die (0: never)."""


class Point(IntEnum):
    """Where a process can die."""

    VCENTER_BEFORE = 0
    VCENTER_AFTER = 1
    API_SERVER_BEFORE = 2
    API_SERVER_AFTER = 3
    COMMIT_BEFORE = 4
    COMMIT_AFTER = 5


class Board:
    """The shared file of one child."""

    def __init__(self, path: Path) -> None:
        size = _SLOT.size * len(Point)
        with path.open("a+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)

    def arm(self, point: Point, passage: int) -> None:
        """Let the child die at that passage from now on, counted from 1."""
        passed, _ = self._read(point)
        _SLOT.pack_into(self._map, point * _SLOT.size, passed, passed + passage)

    def disarm(self) -> None:
        """Let the child live."""
        for point in Point:
            passed, _ = self._read(point)
            _SLOT.pack_into(self._map, point * _SLOT.size, passed, 0)

    def passed(self) -> dict[Point, int]:
        """Return how often each point was passed."""
        return {point: self._read(point)[0] for point in Point}

    def pass_by(self, point: Point) -> None:
        """Count a passage, and die if it is the one."""
        passed, dies_at = self._read(point)
        _SLOT.pack_into(self._map, point * _SLOT.size, passed + 1, dies_at)
        if passed + 1 == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _read(self, point: Point) -> tuple[int, int]:
        passed, dies_at = _SLOT.unpack_from(self._map, point * _SLOT.size)
        return passed, dies_at


def install(board: Board) -> None:
    """Put the points around each vCenter call, API-server call and commit of this process."""
    from pyVmomi.SoapAdapter import SoapStubAdapter  # noqa: PLC0415 - in the child only

    from moorage.kube.transport import Transport  # noqa: PLC0415
    from moorage.store.aio import AsyncConnection  # noqa: PLC0415

    invoke = SoapStubAdapter.InvokeMethod

    @wraps(invoke)
    def invoked(stub: Any, mo: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
        if info.wsdlName == "WaitForUpdatesEx":  # waits, and asks for nothing
            return invoke(stub, mo, info, *args, **kwargs)
        board.pass_by(Point.VCENTER_BEFORE)
        try:
            return invoke(stub, mo, info, *args, **kwargs)
        finally:
            board.pass_by(Point.VCENTER_AFTER)

    SoapStubAdapter.InvokeMethod = invoked
    _around(board, Transport, "handle_async_request", Point.API_SERVER_BEFORE)
    _around(board, AsyncConnection, "commit", Point.COMMIT_BEFORE)


def _around(board: Board, owner: type, name: str, before: Point) -> None:
    inner: Callable[..., Awaitable[Any]] = getattr(owner, name)
    after = Point(before + 1)

    @wraps(inner)
    async def outer(*args: Any, **kwargs: Any) -> Any:
        board.pass_by(before)
        try:
            return await inner(*args, **kwargs)
        finally:
            board.pass_by(after)

    setattr(owner, name, outer)
