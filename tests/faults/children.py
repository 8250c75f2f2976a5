"""Hub and gateway as child processes, forked from one that has loaded them: they start at once."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.points import Board, hasten, install

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "moorage.gateway.app",
        "moorage.hub.serve",
        "moorage.store.migrate",
        "tests.faults.points",
        # What a process would otherwise load when it first needs it.
        "anyio._backends._asyncio",
        "cryptography.hazmat.backends.openssl.backend",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.websockets.websockets_sansio_impl",
        "websockets.server",
    ]
)


class Child:
    """One process of the product, started again whenever it is asked for."""

    def __init__(self, name: str, data: Path, port: int = 0) -> None:
        self.name = name
        self.data = data
        self.board = Board(data.parent / f"{name}.board")
        self._port = port
        self._process: BaseProcess | None = None
        self.deaths = 0

    def start(self) -> None:
        """Start it, or start it again."""
        target = _hub if self.name == "hub" else _gateway
        log = self.data.parent / f"{self.name}.log"
        board = self.data.parent / f"{self.name}.board"
        self._process = _FORKS.Process(
            target=target, args=(self.data, self._port, log, board), daemon=True
        )
        self._process.start()

    def revive(self) -> bool:
        """Start it again if it has died; tell whether it had."""
        if self._process is None or self._process.is_alive():
            return False
        self.deaths += 1
        self.start()
        return True

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        if self._process is None or self._process.pid is None:
            raise RuntimeError(f"the {self.name} was never started")
        return self._process.pid

    def stop(self, patience_s: float) -> bool:
        """Ask it to end, as an operator does; tell whether it ended well in that time."""
        os.kill(self.pid, signal.SIGTERM)
        process, self._process = self._process, None
        if process is None:
            return False
        process.join(patience_s)
        ended = process.exitcode == 0
        if process.is_alive():
            process.kill()
            process.join()
        return ended

    def kill(self) -> None:
        """Kill it now, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _begin(log: Path, board: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = sys.stderr = os.fdopen(descriptor, "w", buffering=1)
    from moorage.kit.log import set_up_logging  # noqa: PLC0415 - in the child only

    set_up_logging(level="info", log_format="json")
    install(Board(board))
    hasten()


def _gateway(data: Path, _port: int, log: Path, board: Path) -> None:
    import anyio  # noqa: PLC0415

    from moorage.gateway.app import run_gateway  # noqa: PLC0415
    from moorage.gateway.config import load_config  # noqa: PLC0415
    from moorage.gateway.identity import DataDir  # noqa: PLC0415

    _begin(log, board)
    anyio.run(run_gateway, DataDir(data), load_config(data, flags={"health": "off"}))


def _hub(data: Path, port: int, log: Path, board: Path) -> None:
    import anyio  # noqa: PLC0415

    from moorage.hub.alerting.sending import Ways  # noqa: PLC0415
    from moorage.hub.serve import Listen, TLSChoice, serve  # noqa: PLC0415
    from moorage.kit.clock import SystemClock  # noqa: PLC0415

    _begin(log, board)

    async def run() -> None:
        await serve(
            data=data,
            listen=Listen("127.0.0.1", port),
            database=f"sqlite:///{data}/hub.db",
            tls=TLSChoice(data, ["127.0.0.1"], None, SystemClock()),
            public_url=f"https://127.0.0.1:{port}",
            proxies=[],
            audit_kept_for=None,
            ways=Ways(),
        )

    anyio.run(run)
