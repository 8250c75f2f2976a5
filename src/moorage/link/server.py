"""The hub's end of the link: serves ``/v1/link``."""

from datetime import timedelta

import anyio
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from moorage.engine.store import Store
from moorage.kit.errors import UnavailableError
from moorage.kit.ids import new_uid
from moorage.link import metrics
from moorage.link.door import HubTransport, LinkSettings, RefusedError, authenticate
from moorage.link.frames import Hello, Refuse, encode
from moorage.link.served import ServedGateway
from moorage.link.session import LinkClosedError
from moorage.resources import Gateway

log = structlog.get_logger(__name__)

GOODBYE_S = 2.0


class LinkServer:
    """Lets gateways in. Any number of hub replicas on one store may each have one."""

    def __init__(self, store: Store, settings: LinkSettings) -> None:
        self._store = store
        self._settings = settings
        self._live: dict[str, tuple[str, anyio.CancelScope]] = {}

    @property
    def connected(self) -> frozenset[str]:
        """Names of the gateways connected to this replica."""
        return frozenset(self._live)

    async def handle(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends."""
        await websocket.accept()
        transport = HubTransport(websocket)
        refusal: RefusedError | None = None
        try:
            hello, key = await authenticate(self._store, self._settings, transport)
            await self._serve(transport, hello, key)
        except RefusedError as error:
            refusal = error
            log.warning("gateway sent away", reason=error.reason, message=str(error))
        except LinkClosedError as error:
            log.info("gateway disconnected", reason=error.reason, message=str(error))
        except UnavailableError as error:
            log.warning("a gateway cannot be served now", error=str(error))
        if websocket.application_state is WebSocketState.CONNECTED:
            with anyio.move_on_after(GOODBYE_S):
                await self._say_goodbye(websocket, transport, refusal)

    def disconnect_all(self) -> None:
        """End every connection, for a stopping hub: the gateways come back when it does."""
        for _, scope in self._live.values():
            scope.cancel()

    async def sweep(self, older_than: timedelta = timedelta(minutes=2)) -> None:
        """Mark gateways as gone whose hub replica died before it could. Call it now and then."""
        now = self._settings.clock.now()
        connected: dict[str, bool] = {}
        async with self._store.transaction() as store:
            for gateway in await store.list(Gateway):
                status = gateway.status
                seen = status.last_seen_at
                stale = seen is None or abs(now - seen) > older_than  # the clock may be set back
                if status.connected and stale and gateway.metadata.name not in self._live:
                    status.connected = False
                    await store.put_status(gateway)
                connected[gateway.metadata.name] = status.connected
        metrics.GATEWAYS.clear()
        for name, is_connected in connected.items():
            metrics.GATEWAYS.labels(name).set(is_connected)

    async def _serve(self, transport: HubTransport, hello: Hello, key: str) -> None:
        name, session_id = hello.gateway, new_uid()
        served = ServedGateway(self._store, self._settings, hello, key, session_id)
        with anyio.CancelScope() as scope:
            older = self._live.get(name)
            self._live[name] = (session_id, scope)
            if older is not None:
                older[1].cancel()
            metrics.CONNECTED.set(len(self._live))
            try:
                await served.run(transport)
            except LinkClosedError as error:
                match error.reason:
                    case "Replaced" | "NotEnrolled" as reason:
                        raise RefusedError(reason, str(error)) from error
                raise
            finally:
                if self._live.get(name, ("",))[0] == session_id:
                    del self._live[name]
                metrics.CONNECTED.set(len(self._live))
                with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE_S):
                    await served.leave()
        if scope.cancelled_caught and name in self._live:
            raise RefusedError("Replaced", "a newer connection of this gateway took over")
        raise RefusedError("Stopping", "the hub is stopping")

    async def _say_goodbye(
        self, websocket: WebSocket, transport: HubTransport, refusal: RefusedError | None
    ) -> None:
        try:
            if refusal is not None:
                frame = Refuse(reason=refusal.reason, message=str(refusal))
                await transport.send(encode([frame]))
            await websocket.close(1008 if refusal else 1000)
        except (LinkClosedError, WebSocketDisconnect, RuntimeError, OSError) as error:
            log.debug("goodbye not delivered", error=str(error))
