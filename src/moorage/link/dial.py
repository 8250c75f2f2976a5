"""How a gateway reaches its hub: address, trust, proxy, and a clear word when it does not."""

import ssl
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)

from moorage.kit.errors import InvalidError
from moorage.kit.net import ProxySettings, ServerTrust
from moorage.link.frames import MAX_MESSAGE_BYTES, Challenge, Refuse, Welcome, decode
from moorage.link.session import LinkClosedError

OPEN_TIMEOUT_S = 15.0
GOODBYE_S = 2.0
PROXY_AUTH = 407


@dataclass(frozen=True, slots=True)
class Dial:
    """How to reach the hub."""

    url: str
    """``https://host[:port]``, or ``http://`` for tests on loopback."""
    trust: ServerTrust = field(default_factory=ServerTrust)
    proxy: ProxySettings = field(default_factory=ProxySettings)

    def check(self) -> None:
        """Raise ``InvalidError`` for what no waiting mends: a wrong URL, bad certificates."""
        _ = self.link_url
        try:
            self.trust.context()
            self.proxy.tls_context()
        except ssl.SSLError as error:
            raise InvalidError(f"the certificates to trust cannot be used: {error}") from error

    def open_way(self) -> str | None:
        """Return the proxy that leads to the hub; ``None`` when it is reached directly."""
        return self.proxy.proxy_for(self.url)

    @property
    def link_url(self) -> str:
        """The WebSocket's URL."""
        parts = urlsplit(self.url)
        scheme = {"https": "wss", "http": "ws"}.get(parts.scheme)
        if scheme is None or not parts.hostname:
            raise InvalidError(f"hub {self.url!r}: give https://host or https://host:port")
        path = parts.path.rstrip("/") + "/v1/link"
        return urlunsplit((scheme, parts.netloc, path, "", ""))


class GatewayTransport:
    """A client-side WebSocket as the link's transport."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def close(self) -> None:
        """Say goodbye, if somebody is still there to hear it; takes two seconds at most."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE_S):
            await self._connection.close()

    async def send(self, message: str) -> None:
        """Send one text message; raises ``LinkClosedError``."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise LinkClosedError("Disconnected", _why_closed(error)) from error

    async def receive(self) -> str:
        """Wait for one text message; raises ``LinkClosedError``."""
        try:
            message = await self._connection.recv(decode=True)
        except ConnectionClosed as error:
            raise LinkClosedError("Disconnected", _why_closed(error)) from error
        return message


async def open_link(dial: Dial, *, version: str) -> GatewayTransport:
    """Connect to the hub's link; raises ``LinkClosedError`` that says why it did not work."""
    try:
        return GatewayTransport(await _connect(dial, version))
    except (OSError, WebSocketException) as error:
        raise LinkClosedError(*_why_not(error, dial)) from error


async def _connect(dial: Dial, version: str) -> ClientConnection:
    url = dial.link_url
    options: dict[str, Any] = {}
    if url.startswith("wss:"):
        options["ssl"] = dial.trust.context()
    proxy = dial.open_way()
    if proxy is not None and (context := dial.proxy.tls_context()) is not None:
        options["proxy_ssl"] = context
    return await connect(
        url,
        proxy=proxy,
        open_timeout=OPEN_TIMEOUT_S,
        close_timeout=GOODBYE_S,
        ping_interval=None,  # the link has a heartbeat of its own, answered by its reader
        max_size=MAX_MESSAGE_BYTES,
        user_agent_header=f"moorage-gateway/{version}",
        **options,
    )


F = TypeVar("F", Challenge, Welcome)


async def receive_first(transport: GatewayTransport, wanted: type[F]) -> F:
    """Wait for the one frame that must come now; raises ``LinkClosedError``."""
    try:
        with anyio.fail_after(OPEN_TIMEOUT_S):
            frames = decode(await transport.receive())
    except (InvalidError, TimeoutError) as error:
        raise LinkClosedError("NotAHub", f"no hub answers there: {error}") from error
    frame = frames[0] if frames else None
    if isinstance(frame, Refuse):
        raise LinkClosedError(frame.reason, frame.message)
    if not isinstance(frame, wanted):
        raise LinkClosedError("NotAHub", f"{wanted.__name__.lower()} was awaited")
    return frame


def _why_closed(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "the connection to the hub broke"
    return f"the hub closed the connection ({error.rcvd.code} {error.rcvd.reason})".rstrip()


def _why_not(error: Exception, dial: Dial) -> tuple[str, str]:
    way = f" through proxy {dial.proxy.shown}" if dial.open_way() else ""
    reason, why = _explain(error)
    return reason, f"{dial.link_url}{way}: {why}"


def _explain(error: Exception) -> tuple[str, str]:
    match error:
        case InvalidProxyStatus():
            code = error.response.status_code
            hint = ": give user and password in the proxy's URL" if code == PROXY_AUTH else ""
            found = ("ProxyRefused", f"the proxy answered {code}{hint}")
        case ProxyError():
            found = ("ProxyFailed", str(error))
        case InvalidStatus():
            code = error.response.status_code
            found = ("NotAHub", f"HTTP {code} came instead of a WebSocket")
        case ssl.SSLCertVerificationError():
            why = error.verify_message or error
            hint = "if the hub's certificate was replaced, enrol again with its CA or fingerprint"
            found = ("CertificateNotTrusted", f"{why}: {hint}")
        case TimeoutError():
            found = ("Unreachable", f"no answer in {OPEN_TIMEOUT_S:g} s")
        case OSError():
            found = ("Unreachable", str(error))
        case _:
            found = ("Unreachable", f"{type(error).__name__}: {error}")
    return found
