"""HTTP over Unix sockets, for the hypervisor and for each guest's channel."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

from moorage_lab.errors import LabError
from moorage_lab.places import MAX_SOCKET_PATH


class UnixServer(uvicorn.Server):
    """One of many servers in a process: it takes no signals and ticks for nobody."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        if len(bytes(path)) > MAX_SOCKET_PATH:
            raise LabError(
                f"the path of Unix socket {path} has {len(bytes(path))} bytes, "
                f"{MAX_SOCKET_PATH} are possible: choose a shorter MOORAGE_LAB_DIR"
            )
        super().__init__(
            uvicorn.Config(
                app,
                uds=str(path),
                lifespan="off",
                log_config=None,
                access_log=False,
                ws="none",
                date_header=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._stopped = anyio.Event()
        self._task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        self._task_status.started()
        await self._stopped.wait()

    async def run_here(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`; `started` is called once the socket takes connections."""
        self._task_status = task_status
        await self.serve()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()
