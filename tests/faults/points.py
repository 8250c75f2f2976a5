"""Kill points: the process kills itself at the N-th call, or commit, that it begins or has ended.

Installed by a test in a child process of its own; the product knows nothing of it. What is armed
stands in a small shared file, so that a running process can be armed, and what is counted there
outlives it. A process can take another one along: both are dead before either does anything more.
"""

import contextlib
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

_SLOT = struct.Struct("<qqq")
"""Of each point: how often it was passed, at which passage to die (0: never), and who dies too."""


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

    def arm(self, point: Point, passage: int, along: int = 0) -> None:
        """Let the child die at that passage from now on, counted from 1.

        Args:
            point: Where.
            passage: Which time.
            along: Process id of another child that it kills first; 0: none.
        """
        passed, *_ = self._read(point)
        self._write(point, passed, passed + passage, along)

    def state(self) -> tuple[int, int]:
        """Return how many points are armed, and to how many of these the child has come."""
        armed = [(passed, dies_at) for passed, dies_at, _ in map(self._read, Point) if dies_at]
        return len(armed), sum(1 for passed, dies_at in armed if dies_at <= passed)

    def disarm(self) -> None:
        """Let the child live."""
        for point in Point:
            self._write(point, self._read(point)[0], 0, 0)

    def passed(self) -> dict[Point, int]:
        """Return how often each point was passed."""
        return {point: self._read(point)[0] for point in Point}

    def pass_by(self, point: Point) -> None:
        """Count a passage, and die if it is the one."""
        passed, dies_at, along = self._read(point)
        self._write(point, passed + 1, dies_at, along)
        if passed + 1 == dies_at:
            if along:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(along, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def _read(self, point: Point) -> tuple[int, int, int]:
        passed, dies_at, along = _SLOT.unpack_from(self._map, point * _SLOT.size)
        return passed, dies_at, along

    def _write(self, point: Point, passed: int, dies_at: int, along: int) -> None:
        _SLOT.pack_into(self._map, point * _SLOT.size, passed, dies_at, along)


def install(board: Board) -> None:
    """Put the points around each vCenter call, API-server call and commit of this process."""
    from pyVmomi.SoapAdapter import SoapStubAdapter  # noqa: PLC0415 - in the child only

    from moorage.kube.transport import Transport  # noqa: PLC0415
    from moorage.store.sqlite import SqliteConnection  # noqa: PLC0415

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
    _around(board, SqliteConnection, "commit", Point.COMMIT_BEFORE)


def hasten() -> None:
    """Let the inventory stream return as often as there is news.

    Its budget of two returns a second is what a small cluster waits for most of its life. What
    is judged here is what happens in which order, and more of it happens in the same time.
    """
    from moorage.vsphere.stream import Pace  # noqa: PLC0415 - in the child only

    def no_delay(_: Pace) -> float:
        return 0.02

    Pace.delay = no_delay  # type: ignore[method-assign]


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
