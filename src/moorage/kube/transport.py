"""The wire under lightkube: TLS of one cluster, deadlines, and Kubernetes' errors as ours."""

import os
import ssl
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
from lightkube.core.decoders import decode_status

from moorage.engine import lease
from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    MoorageError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from moorage.kube.model import Credentials

_LIMITS = httpx2.Limits(max_connections=8, max_keepalive_connections=2, keepalive_expiry=60.0)
_CONNECT_S = 2.0
"""A virtual address that just moved answers a new attempt sooner than the old one's repetition."""
_SHORT_S = 5.0
_JSON, TEXT = "application/json", "text/plain"
_SUCCESS = range(200, 300)
_SWITCHING = 101
_UNKNOWN_USER = 401
_BY_STATUS: dict[int, type[MoorageError]] = {
    _UNKNOWN_USER: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
}
_INVALID = frozenset({400, 405, 406, 413, 415, 422})


class ApiStatusError(UnavailableError):
    """The API server answered, but not now; ``code`` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Return a context that trusts this one CA.

    Not ``create_default_context``: the system's trust store would cost 0.8 MiB for each cluster,
    and would be wrong here.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=credentials.ca)
    _load_chain(context, f"{credentials.certificate.rstrip()}\n{credentials.key}".encode())
    return context


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Load certificate and key, which Python takes from a file only, without touching a disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "client.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)


class Transport(httpx2.AsyncHTTPTransport):
    """Carries requests to one API server, each with a deadline, none of them repeated.

    lightkube above it sees successes only: what fails is raised here as an error of
    ``kit.errors``, whose text names method, address and what the API server said.
    """

    def __init__(self, server: str, credentials: Credentials, *, timeout_s: float) -> None:
        super().__init__(verify=tls_context(credentials), limits=_LIMITS)
        self.server = server.rstrip("/")
        self.is_closed = False
        self.timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        self._short = httpx2.Timeout(min(timeout_s, _SHORT_S), connect=self.timeout.connect)

    async def aclose(self) -> None:
        """Close all connections; none is opened again."""
        self.is_closed = True
        await super().aclose()

    async def get(self, path: str, accept: str = _JSON) -> httpx2.Response:
        """GET what is no object, such as ``/version``: it is small, and answered soon or never."""
        return await self.handle_async_request(
            httpx2.Request(
                "GET",
                f"{self.server}{path}",
                headers={"Accept": accept},
                extensions={"timeout": self._short.as_dict()},
            )
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read its answer whole, unless a WebSocket begins."""
        what = f"{request.method} {request.url.copy_with(query=None)}"
        if self.is_closed:
            raise UnavailableError(f"{what}: this client is closed; take a new one from the pool")
        limit: float = request.extensions["timeout"]["read"]
        request.headers["User-Agent"] = "moorage"
        if request.method != "GET":
            await lease.hold(timedelta(seconds=limit))
            request.extensions = {**request.extensions, "trace": _ask_once_more}
        try:
            with anyio.fail_after(limit):
                answer = await super().handle_async_request(request)
                if answer.status_code == _SWITCHING:
                    return answer
                await answer.aread()
        except httpx2.ConnectTimeout as error:
            raise UnavailableError(
                f"{what}: no connection within {_CONNECT_S:g} s; "
                "see whether this host reaches that address and port"
            ) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise UnavailableError(f"{what}: no answer within {limit:g} s") from error
        except httpx2.HTTPError as error:
            raise UnavailableError(f"{what}: {_plainly(error, request.url.host)}") from error
        if answer.status_code not in _SUCCESS:
            raise error_of(what, answer.status_code, answer.text)
        if request.headers.get("Accept") != TEXT and not answer.content.startswith(b"{"):
            raise UnavailableError(
                f"{what}: the answer is not a JSON object; something else than an API server "
                "listens there"
            )
        return answer


async def _ask_once_more(event: str, _info: dict[str, Any]) -> None:
    """Before a part of a request goes out: the process may have been stopped since ``hold``."""
    if event.endswith((".send_request_headers.started", ".send_request_body.started")):
        lease.ensure_held()


def segment(name: str) -> str:
    """Return a name as one segment of a path, whatever it contains; lightkube takes it as it is."""
    if name in {"", ".", ".."}:
        raise InvalidError(f"{name!r} is not a name of an object")
    return quote(name, safe="")


def error_of(what: str, code: int, body: str) -> MoorageError:
    """Make the error for an answer that is no success."""
    message, faults = _status_of(body)
    text = f"{what}: {code}: {message}"
    if code in _INVALID:
        return InvalidError(text, faults)
    if code == _UNKNOWN_USER:
        text += "; compare this host's clock with the cluster's, and the cluster's CA with ours"
    if code in _BY_STATUS:
        return _BY_STATUS[code](text)
    return ApiStatusError(text, code)


def _status_of(body: str) -> tuple[str, tuple[FieldFault, ...]]:
    """Read a ``Status``: its message, causes of no field behind it, and the fields' faults."""
    try:
        status = decode_status(body.encode())
    except ValueError:
        return body.strip()[:300] or "(no text)", ()
    causes = (status.details and status.details.causes) or []
    faults = tuple(FieldFault(c.field, c.message or "") for c in causes if c.field)
    others = [c.message for c in causes if c.message and not c.field]
    return " ".join([status.message or "(no text)", *others]), faults


def _plainly(error: httpx2.HTTPError, host: str) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}: what answers at {host} has no certificate of this cluster's CA"
    return f"{text}; see whether an API server listens there"
