"""A scripted API server: real TLS with client certificates, real HTTP and WebSocket."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from moorage.bootstrap import ClusterPKI
from moorage.kube import KubeClient

from .certificates import a_pki, credentials_of, write_server_certificate

Document = dict[str, Any]
Exec = Callable[[Sequence[str]], list[tuple[int, str]]]

SUCCESS = (3, '{"metadata":{},"status":"Success"}')


def failure(code: int) -> tuple[int, str]:
    """Return the last frame of a command that ended with a code."""
    cause = {"reason": "ExitCode", "message": str(code)}
    status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    return (3, json.dumps(status))


def status(code: int, message: str, **details: Any) -> tuple[int, Document]:
    """Return an answer that is no success, as Kubernetes words it."""
    return code, {"kind": "Status", "code": code, "message": message, "details": details}


def a_list(*items: Document, **metadata: str) -> tuple[int, Document]:
    return 200, {"metadata": metadata, "items": list(items)}


@dataclass(frozen=True)
class Seen:
    """One request that came."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: Any


@dataclass
class Server:
    """Answers from ``answers``: by method and path, several in turn, the last one for ever."""

    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    run: dict[str, Exec] = field(default_factory=dict)
    """What a command in a pod prints: by the pod's name."""
    requests: list[Seen] = field(default_factory=list)
    commands: list[tuple[str, list[str]]] = field(default_factory=list)
    delay_s: float = 0.0
    stalls: bool = False
    """Stop in the middle of each answer."""
    url: str = ""
    pki: ClusterPKI = field(default_factory=a_pki)

    def says(self, request: str, *answers: tuple[int, Any]) -> None:
        self.answers[request] = list(answers)

    def asked(self) -> list[str]:
        return [f"{seen.method} {seen.path}" for seen in self.requests]

    def client(self, **given: Any) -> KubeClient:
        return KubeClient(self.url, credentials_of(self.pki), **given)

    async def answer(self, request: Request) -> Response:
        text = await request.body()
        self.requests.append(
            Seen(
                request.method,
                request.url.path,
                dict(request.query_params),
                request.headers.get("content-type", ""),
                json.loads(text) if text else None,
            )
        )
        await anyio.sleep(self.delay_s)
        known = self.answers.get(f"{request.method} {request.url.path}")
        if known is None:
            code, body = status(404, f"{request.url.path} not found")
        else:
            code, body = known.pop(0) if len(known) > 1 else known[0]
        content = body if isinstance(body, str) else json.dumps(body)
        if self.stalls:
            return StreamingResponse(self._half(content), code, media_type="application/json")
        return Response(content, code, media_type="application/json")

    async def _half(self, content: str) -> AsyncIterator[str]:
        yield content[: len(content) // 2]
        await anyio.sleep(5)

    async def execute(self, socket: WebSocket) -> None:
        pod = socket.path_params["pod"]
        command = socket.query_params.getlist("command")
        self.commands.append((pod, command))
        if pod not in self.run:
            await socket.send_denial_response(Response(json.dumps(status(404, "no pod")[1]), 404))
            return
        offered = socket.scope["subprotocols"]
        assert offered[0] == "v5.channel.k8s.io"
        assert socket.query_params["stdout"] == socket.query_params["stderr"] == "true"
        await socket.accept(subprotocol=offered[0])
        for channel, text in self.run[pod](command):
            await socket.send_bytes(bytes([channel]) + text.encode())
        await anyio.sleep(self.delay_s)
        await socket.close()

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        path = "/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        return Starlette(
            routes=[
                WebSocketRoute(path, self.execute),
                Route("/{path:path}", self.answer, methods=methods),
            ]
        )


@asynccontextmanager
async def a_server(directory: Path, pki: ClusterPKI | None = None) -> AsyncIterator[Server]:
    """Run a server on the loopback as long as the block lasts."""
    server = Server(pki=pki or a_pki())
    certificate, key = write_server_certificate(server.pki, directory)
    clients = directory / "clients.crt"
    clients.write_text(server.pki.ca.certificate)
    uvicorn_server = uvicorn.Server(
        uvicorn.Config(
            server.app(),
            port=0,
            lifespan="off",
            log_config=None,
            ssl_certfile=certificate,
            ssl_keyfile=str(key),
            ssl_ca_certs=str(clients),
            ssl_cert_reqs=ssl.CERT_REQUIRED,
            timeout_graceful_shutdown=1,
        )
    )
    async with anyio.create_task_group() as group:
        group.start_soon(uvicorn_server._serve)
        with anyio.fail_after(10):
            while not uvicorn_server.started:  # noqa: ASYNC110 - it has no event for it
                await anyio.sleep(0.01)
        (socket,) = uvicorn_server.servers[0].sockets
        server.url = f"https://127.0.0.1:{socket.getsockname()[1]}"
        yield server
        uvicorn_server.should_exit = True
