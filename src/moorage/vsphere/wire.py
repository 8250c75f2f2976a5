"""HTTPS to vCenter: verified, pinned, with a deadline on every socket, and counted.

pyVmomi's own pinning is not used: it compares fingerprints only when the chain does not verify,
and after the first time it has turned verification off for the whole context. Here a pin is
compared on every connection, after the handshake and before anything is sent.
"""

import hashlib
import http.client
import re
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import prometheus_client
from pyVmomi import SoapAdapter

from moorage.engine import lease
from moorage.engine.store import LeaseLostError
from moorage.kit.errors import InvalidError
from moorage.resources.account import Trust
from moorage.vsphere.endpoint import Endpoint
from moorage.vsphere.faults import DeadlineError, PinMismatchError

WIRE_VERSION = "vim.version.version15"
"""``vim25/6.7.3``, the oldest API that we support: newer vCenters speak it too."""

CALLS = prometheus_client.Counter(
    "moorage_vcenter_calls",
    "Calls to vCenter by SOAP method, or verb and path of REST.",
    ["server", "method"],
)

_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 15,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
}
"""A peer that vanished without a word is noticed in half a minute, also by the waiting stream."""

_MAX_VERSIONS = 64 * 1024
_SOAP_STATUS = (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR)
_IDLE_S = 240
"""Pooled connections idle for longer are closed by us, before a firewall forgets them."""


def tls_context(trust: Trust) -> ssl.SSLContext:
    """Return the TLS context for a trust; raises ``InvalidError`` for an unreadable CA bundle."""
    if trust.insecure or trust.sha256:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        try:
            context = ssl.create_default_context(cadata=trust.ca_bundle)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidError(
                f"trust.caBundle is not a list of PEM certificates: {error}"
            ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fingerprint(der: bytes) -> str:
    """Return ``AB:CD:…``, the SHA-256 of a certificate."""
    return hashlib.sha256(der).digest().hex(":").upper()


def server_fingerprint(endpoint: Endpoint, timeout_s: float) -> str | None:
    """Return the fingerprint of whatever certificate the server shows; sends nothing else."""
    context = tls_context(Trust(insecure=True))
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.host) as wrapped,
        ):
            der = wrapped.getpeercert(binary_form=True)
    except OSError:
        return None
    return fingerprint(der) if der else None


def newest_api(stub: "Stub") -> str | None:
    """Return the newest version of its API that the server says it has; it tells that to all."""
    stub.count("GET /sdk/vimServiceVersions.xml")
    connection = stub.GetConnection()
    try:
        connection.request("GET", "/sdk/vimServiceVersions.xml")
        text = connection.get_answer().read(_MAX_VERSIONS).decode(errors="replace")
    finally:
        connection.close()
    # The newest of each namespace comes first; that of inventories is urn:vim25.
    found = re.search(r"<name>urn:vim25</name>\s*<version>([0-9.]+)</version>", text)
    return found[1] if found else None


class Deadline(threading.local):
    """When the call that this thread makes must be over."""

    at: float | None = None
    under_lease = False
    """Whether nothing may be sent once the running pass's lease has ended: so it is for effects.
    Reads and logins are harmless, and a login that is cut short would leave a session behind."""

    @contextmanager
    def with_lease(self) -> Iterator[None]:
        """Send what this thread sends inside only while the running pass's lease is held."""
        before, self.under_lease = self.under_lease, True
        try:
            yield
        finally:
            self.under_lease = before

    @contextmanager
    def until(self, at: float) -> Iterator[None]:
        """Set the moment (``time.monotonic``) for everything that this thread does inside."""
        before, self.at = self.at, at
        try:
            yield
        finally:
            self.at = before

    def left(self) -> float:
        """Return the seconds left; raises ``DeadlineError`` when none are."""
        if self.at is None:
            raise DeadlineError("a call to vCenter was made without a deadline")
        left = self.at - time.monotonic()
        if left <= 0:
            raise DeadlineError("its deadline passed while it waited its turn")
        return left


class _Socket(ssl.SSLSocket):
    """Each read gets what is left of the deadline, so that no answer in drops outlasts it."""

    deadline: Deadline | None = None

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if self.deadline is not None and self.deadline.at is not None:
            left = self.deadline.at - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline passed in the middle of an answer")
            self.settimeout(left)
        return super().recv_into(buffer, nbytes, flags)


class _Connection(http.client.HTTPSConnection):
    """One connection. Each step gets what is left of the calling thread's deadline."""

    def __init__(self, stub: "Stub", context: ssl.SSLContext) -> None:
        super().__init__(stub.endpoint.host, stub.endpoint.port, context=context)
        self._stub = stub

    def connect(self) -> None:
        self.timeout = self._stub.deadline.left()
        self._stub.connections_opened += 1
        super().connect()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            self.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        pin = self._stub.endpoint.trust.sha256
        # A TLS server always shows a certificate: the suites without are off by default.
        actual = fingerprint(self.sock.getpeercert(binary_form=True) or b"")
        if pin is not None and actual != pin:
            self.close()
            raise PinMismatchError(pin, actual)
        self._stub.certificate = actual
        if isinstance(self.sock, _Socket):
            self.sock.deadline = self._stub.deadline

    def send(self, data: Any) -> None:
        self._arm()
        try:
            if self._stub.deadline.under_lease:
                # Whoever held it may have been stopped since: nothing more goes out then.
                lease.ensure_held()
        except LeaseLostError:
            self.close()
            raise
        super().send(data)

    def getresponse(self) -> http.client.HTTPResponse:
        """Return an answer over SOAP: what else is said with a status of SOAP's is an error."""
        answer = self.get_answer()
        kind = answer.getheader("Content-Type") or "text/xml"
        if answer.status in _SOAP_STATUS and "xml" not in kind:
            raise http.client.HTTPException(
                f"{answer.status} {answer.reason} with {kind}, which is not SOAP"
            )
        return answer

    def get_answer(self) -> http.client.HTTPResponse:
        """Return any answer; heed what it says of when to come again."""
        self._arm()
        answer = super().getresponse()
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            # A date may be given instead, which needs clocks that agree: it is not heeded.
            asked = answer.getheader("Retry-After") or ""
            if asked.isdecimal():
                self._stub.leave_alone(float(asked))
        return answer

    def is_stale(self) -> bool:
        """Tell whether the peer has closed, or said something that nobody asked for."""
        if self.sock is None:
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    def _arm(self) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._stub.deadline.left())


class _Reader(SoapAdapter.SoapResponseDeserializer):
    """pyVmomi's reader of one answer, gone with it.

    Its own is in a loop with the XML parser's handlers, which keeps the whole answer until the
    garbage collector comes by: 7 MiB of the pages of a large inventory.
    """

    def Deserialize(self, *args: Any, **settings: Any) -> Any:  # noqa: N802 - pyVmomi's name
        try:
            return super().Deserialize(*args, **settings)  # type: ignore[no-untyped-call]
        finally:
            vars(self).clear()


SoapAdapter.SoapResponseDeserializer = _Reader  # type: ignore[misc]


class Stub(SoapAdapter.SoapStubAdapter):
    """pyVmomi's SOAP adapter on our connections. Its session cookie changes only at login."""

    def __init__(
        self,
        endpoint: Endpoint,
        pool_size: int,
        leave_alone: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Connect to nothing yet.

        ``leave_alone`` is called with the seconds for which a server that does not serve asks not
        to be asked again.
        """
        self.certificate = endpoint.certificate
        """Fingerprint of what the server showed when a connection to it was last accepted."""
        self.leave_alone = leave_alone
        self._owner_of_cookie: int | None = None
        self._cookie = ""
        self.endpoint = endpoint
        self.deadline = Deadline()
        self.calls: Counter[str] = Counter()
        self.connections_opened = 0
        self.context = tls_context(endpoint.trust)
        """Of all connections."""
        self.context.sslsocket_class = _Socket
        self._busy: set[_Connection] = set()
        super().__init__(  # type: ignore[no-untyped-call]
            host=endpoint.host,
            port=endpoint.port,
            path="/sdk",
            version=WIRE_VERSION,
            poolSize=pool_size,
            connectionPoolTimeout=_IDLE_S,
            sslContext=self.context,
        )

    @property
    def cookie(self) -> str:
        """Session cookie sent with each call."""
        return self._cookie

    @cookie.setter
    def cookie(self, value: str) -> None:
        # A late answer to a call of the session before must not replace the new session's cookie.
        if self._owner_of_cookie == threading.get_ident():
            self._cookie = value

    @contextmanager
    def logging_in(self) -> Iterator[None]:
        """Forget the session, and let this thread (only) bring home another cookie."""
        self._cookie = ""
        self._owner_of_cookie = threading.get_ident()
        try:
            yield
        finally:
            self._owner_of_cookie = None

    @contextmanager
    def as_session(self, cookie: str) -> Iterator[None]:
        """Speak for another session inside; only while logging in."""
        self._cookie = cookie
        try:
            yield
        finally:
            self._cookie = ""

    def count(self, method: str) -> None:
        """Count a call: by its SOAP method, or by verb and path of REST."""
        self.calls[method] += 1
        CALLS.labels(self.endpoint.server, method).inc()

    def InvokeMethod(  # noqa: N802 - pyVmomi's name
        self,
        mo: Any,
        info: Any,
        args: Any,
        outerStub: Any = None,  # noqa: N803
    ) -> Any:
        self.count(info.wsdlName)
        return super().InvokeMethod(mo, info, args, outerStub)  # type: ignore[no-untyped-call]

    def GetConnection(self) -> _Connection:  # noqa: N802
        while True:
            with self.lock:
                self._CloseIdleConnections()  # type: ignore[no-untyped-call]
                pooled = self.pool.pop(0)[0] if self.pool else None
            if pooled is None:
                break
            if not pooled.is_stale():
                return self._lend(pooled)
            pooled.close()
        fresh = _Connection(self, self.context)
        fresh.connect()
        return self._lend(fresh)

    def ReturnConnection(self, conn: _Connection) -> None:  # noqa: N802
        with self.lock:
            self._busy.discard(conn)
        super().ReturnConnection(conn)  # type: ignore[no-untyped-call]

    def _lend(self, connection: _Connection) -> _Connection:
        with self.lock:
            self._busy = {busy for busy in self._busy if busy.sock is not None}
            self._busy.add(connection)
        return connection

    def hang_up(self) -> None:
        """Cut every connection, those with a call on them too."""
        with self.lock:
            busy = tuple(self._busy)
        for connection in busy:
            sock = connection.sock
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        self.DropConnections()  # type: ignore[no-untyped-call]
