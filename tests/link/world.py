"""A hub and a gateway that are joined by a real WebSocket, and can be stopped, killed and cut."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import uvicorn
from anyio.abc import TaskGroup, TaskStatus
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from moorage.kit.clock import Clock
from moorage.kit.errors import InvalidError
from moorage.kit.identity import PrivateIdentity
from moorage.link.client import Link
from moorage.link.dial import Dial
from moorage.link.door import LinkSettings
from moorage.link.frames import decode
from moorage.link.server import LinkServer
from moorage.resources import (
    Gateway,
    IPPool,
    Machine,
    Metadata,
    Resource,
)
from moorage.resources.cluster import FailureDomain
from moorage.resources.gateway import GatewaySpec, GatewayStatus
from moorage.resources.ippool import IPPoolSpec
from moorage.resources.kubernetes import Role
from moorage.resources.machine import MachineSpec
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.store import SqlStore, open_store

R = TypeVar("R", bound=Resource)
PATIENCE_S = 60.0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def open_stores(
    folder: Path, *, hub_url: str | None = None
) -> AsyncIterator[tuple[SqlStore, SqlStore]]:
    hub = await open_store(hub_url or f"sqlite:///{folder}/hub.db")
    gateway = await open_store(f"sqlite:///{folder}/gateway.db", mirror=True)
    try:
        yield hub, gateway
    finally:
        await gateway.close()
        await hub.close()


@dataclass
class Hub:
    """The hub's end, served by uvicorn on loopback."""

    store: SqlStore
    settings: LinkSettings
    tls: ssl.SSLContext | None = None
    port: int = 0
    server: LinkServer = field(init=False)
    messages: list[str] = field(default_factory=list)
    """Types of the frames that reached the hub."""

    ended: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.server = LinkServer(self.store, self.settings)

    async def _handle(self, websocket: WebSocket) -> None:
        receive = websocket.receive

        async def noted() -> object:
            message = await receive()
            if text := message.get("text"):
                with suppress(InvalidError):
                    self.messages.extend(frame.type for frame in decode(text))
            return message

        websocket.receive = noted  # type: ignore[method-assign,assignment]
        await self.server.handle(websocket)

    async def serve(self, *, task_status: TaskStatus[anyio.CancelScope]) -> None:
        """Serve until the scope is cancelled: then every connection breaks off."""
        app = Starlette(routes=[WebSocketRoute("/v1/link", self._handle)])
        self.ended = anyio.Event()
        async with serve_app(app, tls=self.tls, port=self.port) as served:
            self.port = served.port
            with anyio.CancelScope() as scope:
                task_status.started(scope)
                await anyio.sleep_forever()
        self.ended.set()


@dataclass(frozen=True)
class Served:
    port: int


@asynccontextmanager
async def serve_app(
    app: ASGIApp, *, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Served]:
    """Serve an application on loopback; at the end its connections break off."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    config = uvicorn.Config(
        app,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        log_config=None,
        timeout_graceful_shutdown=1,
        ws_ping_interval=None,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.01)
        yield Served(listener.getsockname()[1])
        # Nobody comes in any more, so that a gateway that dials at once does not survive this.
        for listening in server.servers:
            listening.close()
        while connections := list(server.server_state.connections):
            for connection in connections:
                if (transport := getattr(connection, "transport", None)) is not None:
                    transport.abort()
            await anyio.sleep(0.01)
        server.should_exit = True
        server.force_exit = True


@dataclass
class World:
    hub: Hub
    gateway_store: SqlStore
    identity: PrivateIdentity
    tasks: TaskGroup
    hub_scope: anyio.CancelScope | None = None
    name: str = "gw1"

    def link(
        self,
        *,
        port: int | None = None,
        identity: PrivateIdentity | None = None,
        installation: str = "inst-1",
        version: str = "0.1.0",
        dial: Dial | None = None,
        clock: Clock | None = None,
    ) -> Link:
        return Link(
            self.gateway_store,
            gateway=self.name,
            installation=installation,
            identity=identity or self.identity,
            dial=dial or Dial(f"http://127.0.0.1:{port or self.hub.port}"),
            version=version,
            clock=clock,
            first_delay_s=0.02,
            longest_delay_s=0.3,
        )

    async def start_hub(self) -> None:
        self.hub_scope = await self.tasks.start(self.hub.serve)

    async def stop_hub(self) -> None:
        assert self.hub_scope is not None
        self.hub_scope.cancel()
        await self.hub.ended.wait()
        await until(self.hub.store, lambda: _nothing(not self.hub.server.connected))

    @asynccontextmanager
    async def running(self, link: Link) -> AsyncIterator[Link]:
        """Run the gateway's end for as long as the block lasts; its end is like a kill."""
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await link.run()

        self.tasks.start_soon(run)
        try:
            yield link
        finally:
            scope.cancel()

    async def at_gateway(self, wanted: R) -> R:
        """Wait until the gateway has the resource in this generation, and return its copy."""

        async def look() -> R | None:
            found = await self.gateway_store.find(type(wanted), *wanted.key)
            if found is None or found.metadata.generation < wanted.metadata.generation:
                return None
            return found if found.metadata.uid == wanted.metadata.uid else None

        return await until(self.gateway_store, look)

    async def gone(self, store: SqlStore, resource: Resource) -> None:
        async def look() -> bool | None:
            return await store.find_uid(type(resource), resource.metadata.uid) is None or None

        await until(store, look)

    async def in_step(self, link: Link) -> None:
        """Wait until the hub has stored everything that the gateway's store has."""
        with anyio.fail_after(PATIENCE_S):
            await link.wait_acknowledged(await self.gateway_store.version())


async def _nothing(value: bool) -> bool | None:
    return value or None


T = TypeVar("T")


async def until(
    store: SqlStore, look: Callable[[], Awaitable[T | None]], *, patience_s: float = PATIENCE_S
) -> T:
    """Wait until ``look`` finds something; it looks again after each change of the store."""
    with anyio.fail_after(patience_s):
        async with store.watch() as changes:
            while (found := await look()) is None:
                with anyio.move_on_after(0.2):
                    await anext(changes)
    return found


@asynccontextmanager
async def a_world(
    folder: Path,
    *,
    heartbeat_s: float = 5.0,
    seen_every_s: float = 5.0,
    tls: ssl.SSLContext | None = None,
    hub_url: str | None = None,
) -> AsyncIterator[World]:
    identity = PrivateIdentity.generate()
    settings = LinkSettings(
        installation="inst-1",
        incarnation="life-1",
        hub_version="0.1.0",
        heartbeat_s=heartbeat_s,
        seen_every=timedelta(seconds=seen_every_s),
    )
    async with open_stores(folder, hub_url=hub_url) as (hub_store, gateway_store):
        await hub_store.create(a_gateway("gw1", identity))
        async with anyio.create_task_group() as tasks:
            world = World(Hub(hub_store, settings, tls), gateway_store, identity, tasks)
            await world.start_hub()
            try:
                yield world
                await world.stop_hub()
            finally:
                tasks.cancel_scope.cancel()


def a_gateway(name: str, identity: PrivateIdentity) -> Gateway:
    status = GatewayStatus(enrolled=True, public_key=identity.public().pem)
    return Gateway(metadata=Metadata(name=name), spec=GatewaySpec(), status=status)


def a_pool(
    name: str = "pool-1", *, gateway: str = "gw1", end: str = "10.0.0.20", **meta: object
) -> IPPool:
    """An intent resource that the gateway has to let go."""
    return IPPool(
        metadata=Metadata(name=name, route=gateway, **{"finalizers": [GATEWAY_FINALIZER], **meta}),
        spec=IPPoolSpec(gateway=gateway, start="10.0.0.10", end=end, prefix=24, router="10.0.0.1"),
    )


def a_machine(name: str = "m-1", *, project: str = "default") -> Machine:
    """A derived resource."""
    return Machine(
        metadata=Metadata(name=name, project=project),
        spec=MachineSpec(
            cluster="demo",
            role=Role.WORKER,
            bootstrap="join",
            account="vc",
            kubernetes_version="v1.34.4",
            datacenter="DC0",
            folder="vms",
            template="ubuntu",
            failure_domain=FailureDomain(
                name="a", compute_cluster="CC0", datastore="DS0", network="VM Network"
            ),
            cpus=2,
            memory_mib=2048,
        ),
    )


class CuttingProxy:
    """Passes TCP through to the hub, and cuts both ways after a number of bytes."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self.budget: int | None = None
        """Bytes left on the present connection, both ways together; ``None``: no limit."""
        self.next_budgets: list[int | None] = []
        self.connections = 0
        self.passed = 0
        """Bytes in all."""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["CuttingProxy"]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        budget = [self.next_budgets.pop(0) if self.next_budgets else None]
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, up_writer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump, reader, up_writer, budget, ends)
            tasks.start_soon(self._pump, up_reader, writer, budget, ends)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        budget: list[int | None],
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        try:
            while data := await reader.read(1024):
                left = budget[0]
                if left is not None:
                    data = data[:left]
                    budget[0] = left - len(data)
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
                if budget[0] == 0:
                    break
        except OSError:
            pass
        for end in ends:
            end.transport.abort()
