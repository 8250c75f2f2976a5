"""``/healthz`` and ``/metrics``, on loopback: nothing dials a gateway from outside.

Python's own server is enough for two pages; a second one beside httpx2 and websockets would cost
3 MiB and a tenth of the start.
"""

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import anyio.to_thread
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from moorage.kit.errors import InvalidError

Report = Callable[[], dict[str, Any]]

_POLL_S = 0.2
"""How soon the server notices that it shall stop."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # who is slow to ask does not keep the process

    def __init__(self, listener: socket.socket, report: Report) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.report = report

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever asked has hung up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5.0

    def do_GET(self) -> None:
        """Answer. A gateway without its hub is healthy: it works on."""
        path = self.path.partition("?")[0]
        if path == "/healthz":
            body = json.dumps(self.server.report()).encode()
            self._answer(200, "application/json", body)
        elif path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
        else:
            self._answer(404, "text/plain", b"there are /healthz and /metrics\n")

    def version_string(self) -> str:
        """Name the server."""
        return "moorage-gateway"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Log nothing: a probe asks every few seconds."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


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
    """Serve until cancelled.

    Args:
        listener: From ``bind_health``.
        report: What ``/healthz`` says; called in a thread.
    """
    server = _Server(listener, report)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, server.serve_forever, _POLL_S)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(server.shutdown)
            listener.close()
