"""Where a replica can be made to stop dead, as by SIGSTOP, in the middle of its work.

Installed by a test in a child process of its own; the product knows nothing of it. The file says
where; the process renames it when it gets there, and then stops itself.
"""

import os
import signal
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

COMMIT = "commit"
"""A transaction is about to be committed: all statements have run, locks are held."""


class Stop:
    """The file of one child."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reached = path.with_suffix(".reached")

    def at(self, point: str) -> None:
        """Let the child stop the next time that it comes there.

        Args:
            point: A method of vCenter, ``POST``, ``PATCH`` or ``DELETE`` to an API server (when
                the request is about to go out), or ``COMMIT``.
        """
        self._reached.unlink(missing_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(point)
        draft.rename(self._path)

    @property
    def is_reached(self) -> bool:
        """Tell whether the child has come there."""
        return self._reached.exists()

    def pass_by(self, point: str) -> None:
        """Stop this process if it is the point."""
        try:
            if self._path.read_text() != point:
                return
            self._path.rename(self._reached)
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)


def install(stop: Stop) -> None:
    """Put the points into this process, as near to the wire as can be."""
    import httpx2  # noqa: PLC0415 - in the child only
    from pyVmomi.SoapAdapter import SoapStubAdapter  # noqa: PLC0415

    from moorage.store.aio import AsyncConnection  # noqa: PLC0415

    invoke = SoapStubAdapter.InvokeMethod

    @wraps(invoke)
    def invoked(stub: Any, mo: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
        stop.pass_by(info.wsdlName)
        return invoke(stub, mo, info, *args, **kwargs)

    SoapStubAdapter.InvokeMethod = invoked
    send: Callable[..., Awaitable[Any]] = httpx2.AsyncHTTPTransport.handle_async_request

    @wraps(send)
    async def sent(transport: Any, request: Any) -> Any:
        stop.pass_by(request.method)
        return await send(transport, request)

    httpx2.AsyncHTTPTransport.handle_async_request = sent  # type: ignore[method-assign]
    commit = AsyncConnection.commit

    @wraps(commit)
    async def committed(connection: Any) -> None:
        stop.pass_by(COMMIT)
        await commit(connection)

    AsyncConnection.commit = committed  # type: ignore[method-assign]
