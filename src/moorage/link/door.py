"""The hub's door: challenges whoever dials in, and lets enrolled gateways pass."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from moorage.engine.store import Store
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import ForbiddenError, InvalidError
from moorage.kit.identity import PublicIdentity
from moorage.kit.ids import random_word
from moorage.link.frames import (
    MAX_HELLO_BYTES,
    PROTOCOL,
    Challenge,
    Hello,
    decode,
    encode,
    hello_statement,
)
from moorage.link.session import LinkClosedError
from moorage.resources import Gateway

HELLO_TIMEOUT_S = 10.0
NONCE_LENGTH = 43

Reason = Literal["NotEnrolled", "ProtocolMismatch", "BadHello", "Replaced", "Stopping"]


async def _no_key() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What the link has to know of its hub."""

    installation: str
    incarnation: str
    """Another one after each restore from a backup, so that gateways start from the beginning."""
    hub_version: str
    recovery_key: Callable[[], Awaitable[str | None]] = _no_key
    """Reads the installation's public recovery key (PEM)."""
    heartbeat_s: float = 15.0
    seen_every: timedelta = timedelta(seconds=30)
    """How often ``lastSeenAt`` of a connected gateway is written."""
    clock: Clock = field(default_factory=SystemClock)


class RefusedError(Exception):
    """Whoever dialled in is sent away. ``reason`` is one of the protocol's words."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class HubTransport:
    """A server-side WebSocket as the link's transport."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, message: str) -> None:
        """Send one text message; raises ``LinkClosedError``."""
        try:
            await self._websocket.send_text(message)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise LinkClosedError("Disconnected", "the gateway closed the connection") from error

    async def receive(self) -> str:
        """Wait for one text message; raises ``LinkClosedError``."""
        try:
            return await self._websocket.receive_text()
        except KeyError as error:
            raise LinkClosedError("BadMessage", "the gateway sent a binary message") from error
        except (WebSocketDisconnect, RuntimeError) as error:
            raise LinkClosedError("Disconnected", "the gateway closed the connection") from error


async def authenticate(
    store: Store, settings: LinkSettings, transport: HubTransport
) -> tuple[Hello, str]:
    """Return a proven hello and the identity key (PEM) that proved it; raises ``RefusedError``."""
    challenge = Challenge(
        nonce=random_word(NONCE_LENGTH),
        installation=settings.installation,
        hub_version=settings.hub_version,
    )
    await transport.send(encode([challenge]))
    hello = await _receive_hello(transport)
    if hello.protocol != PROTOCOL:
        raise RefusedError(
            "ProtocolMismatch",
            f"the gateway ({hello.version}) speaks protocol {hello.protocol}, this hub "
            f"({settings.hub_version}) speaks {PROTOCOL}: upgrade the older of the two",
        )
    try:
        key = await identity_key(store, hello.gateway)
        statement = hello_statement(challenge, hello.gateway, hello.store)
        PublicIdentity.from_pem(key).verify(hello.signature, statement)
    except (ForbiddenError, InvalidError) as error:
        # One answer for all: who is enrolled is nobody's business who is not.
        raise RefusedError(
            "NotEnrolled",
            f"gateway {hello.gateway!r} is not enrolled at this hub, or with another key: "
            "enrol it again with a new token",
        ) from error
    return hello, key


async def _receive_hello(transport: HubTransport) -> Hello:
    try:
        with anyio.fail_after(HELLO_TIMEOUT_S):
            message = await transport.receive()
    except TimeoutError as error:
        raise RefusedError("BadHello", f"no hello came in {HELLO_TIMEOUT_S:g} s") from error
    try:
        frames = decode(message, limit=MAX_HELLO_BYTES)
    except InvalidError as error:
        raise RefusedError("BadHello", str(error)) from error
    if len(frames) != 1 or not isinstance(frames[0], Hello):
        raise RefusedError("BadHello", "the first message must be one hello")
    return frames[0]


async def identity_key(store: Store, name: str) -> str:
    """Return the key (PEM) by which a gateway is known; raises ``ForbiddenError``."""
    gateway = await store.find(Gateway, "", name)
    if gateway is None or gateway.is_deleting or gateway.status.public_key is None:
        raise ForbiddenError(f"there is no enrolled gateway {name!r}")
    return gateway.status.public_key
