"""HTTPS to one API server: a bare TLS context, deadlines, and Kubernetes' errors as ours."""

import json
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import anyio
import httpx2

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
from moorage.kube.model import Credentials, Document

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON = "application/json"

_IDLE_CONNECTIONS = 2
_MAX_CONNECTIONS = 8
_IDLE_S = 60.0
_CONNECT_S = 2.0
"""A virtual address that just moved answers a new attempt sooner than the old one's repetition."""
_BY_STATUS: dict[int, type[MoorageError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
}
_INVALID = frozenset({400, 405, 406, 413, 415, 422})
_SUCCESS = range(200, 300)


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


class Transport:
    """Requests to one API server, each with a deadline, none of them repeated here."""

    def __init__(self, server: str, credentials: Credentials, *, timeout_s: float = 10.0) -> None:
        self.server = server.rstrip("/")
        self.timeout_s = timeout_s
        self.tls = tls_context(credentials)
        self._http = httpx2.AsyncClient(
            verify=self.tls,
            # Clusters are reached directly; a proxy of the environment is meant for the hub.
            trust_env=False,
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
            limits=httpx2.Limits(
                max_connections=_MAX_CONNECTIONS,
                max_keepalive_connections=_IDLE_CONNECTIONS,
                keepalive_expiry=_IDLE_S,
            ),
            headers={"User-Agent": "moorage", "Accept": JSON},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def text(self, path: str, *, timeout_s: float | None = None) -> str:
        """GET a path whose answer is plain text."""
        return (await self._send("GET", path, None, None, JSON, timeout_s)).text

    async def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
        timeout_s: float | None = None,
    ) -> Document:
        """Send a request and return the JSON object of the answer.

        Raises the error of ``kit.errors`` that fits the answer; its text names method, address
        and what the API server said.
        """
        answer = await self._send(method, path, params, body, content_type, timeout_s)
        try:
            document = answer.json()
        except ValueError as error:
            raise UnavailableError(
                f"{method} {self.server}{path}: the answer is not JSON; "
                "something else than an API server listens there"
            ) from error
        if not isinstance(document, dict):
            raise UnavailableError(f"{method} {self.server}{path}: the answer is not an object")
        return document

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: object,
        content_type: str,
        timeout_s: float | None,
    ) -> httpx2.Response:
        limit = timeout_s or self.timeout_s
        what = f"{method} {self.server}{path}"
        arguments: dict[str, Any] = {"params": dict(params)} if params else {}
        if body is not None:
            arguments |= {"json": body, "headers": {"Content-Type": content_type}}
        try:
            with anyio.fail_after(limit):
                answer = await self._http.request(method, f"{self.server}{path}", **arguments)
        except httpx2.ConnectTimeout as error:
            raise UnavailableError(f"{what}: no connection within {_CONNECT_S:g} s") from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise UnavailableError(f"{what}: no answer within {limit:g} s") from error
        except httpx2.HTTPError as error:
            raise UnavailableError(f"{what}: {_plainly(error, self.server)}") from error
        if answer.status_code not in _SUCCESS:
            raise error_of(what, answer.status_code, answer.text)
        return answer


def segment(name: str) -> str:
    """Return a name as one segment of a path, whatever it contains."""
    if name in {"", ".", ".."}:
        raise InvalidError(f"{name!r} is not a name of an object")
    return quote(name, safe="")


def error_of(what: str, code: int, body: str) -> MoorageError:
    """Make the error for an answer that is no success."""
    message, faults = _status_of(body)
    text = f"{what}: {code}: {message}"
    if code in _INVALID:
        return InvalidError(text, faults)
    if code in _BY_STATUS:
        return _BY_STATUS[code](text)
    return ApiStatusError(text, code)


def _status_of(body: str) -> tuple[str, tuple[FieldFault, ...]]:
    """Read a ``Status``: its message, causes of no field behind it, and the fields' faults."""
    try:
        status = json.loads(body)
        causes = (status.get("details") or {}).get("causes") or ()
        faults = tuple(
            FieldFault(cause["field"], cause.get("message", ""))
            for cause in causes
            if cause.get("field")
        )
        others = [c["message"] for c in causes if c.get("message") and not c.get("field")]
        return " ".join([str(status["message"]), *others]), faults
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.strip()[:300] or "(no text)", ()


def _plainly(error: httpx2.HTTPError, server: str) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        host = urlsplit(server).hostname
        return f"{text}: what answers at {host} has no certificate of this cluster's CA"
    return text
