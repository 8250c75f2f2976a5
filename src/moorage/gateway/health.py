"""``/healthz`` and ``/metrics``, on loopback: nothing dials a gateway from outside."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moorage.kit.errors import InvalidError

Report = Callable[[], dict[str, Any]]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the process's own affair: it stops this server with all the rest.
        yield


def health_app(report: Report) -> Starlette:
    """Make the application. A gateway without its hub is healthy: it works on."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", **report()})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", metrics)])


def bind_health(host: str, port: int) -> socket.socket:
    """Take the address before anything else starts; raises ``InvalidError`` when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise InvalidError(
            f"the health page cannot listen on {host}:{port}: {error.strerror or error}; choose "
            "another address with --health host:port, or --health off"
        ) from error
    return listener


async def serve_health(listener: socket.socket, report: Report) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        health_app(report),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True
            server.force_exit = True
