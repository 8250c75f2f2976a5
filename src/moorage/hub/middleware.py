"""Around every request: a size limit, headers that browsers obey, an id, a log line, metrics."""

import time
from math import ceil
from secrets import token_hex

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage.auth import WINDOW_S, Left
from moorage.hub.problems import internal, problem_response

log = structlog.get_logger(__name__)

REQUESTS = Counter(
    "moorage_hub_requests_total", "Requests by operation and status.", ["operation", "status"]
)
SECONDS = Histogram(
    "moorage_hub_request_seconds", "Time to the start of the answer.", ["operation"]
)

_QUIET = frozenset({"healthz", "readyz", "metrics"})
"""Asked every few seconds by machines: logged only when they fail."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _limits(scope: Scope) -> dict[str, str]:
    """Return the header fields of ``draft-ietf-httpapi-ratelimit-headers`` for who is known."""
    left: Left | None = scope.get("state", {}).get("quota")
    if left is None:
        return {}
    return {
        "RateLimit-Policy": f'"requests";q={left.limit};w={round(WINDOW_S)}',
        "RateLimit": f'"requests";r={left.remaining};t={ceil(left.reset_s)}',
    }


class _TooLargeError(HTTPException):
    """The body has grown past the limit while it was read. FastAPI lets this kind pass."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, _too_large(limit))


def _too_large(limit: int) -> str:
    return f"a request may have {limit} bytes at most"


class Guarded:
    """ASGI middleware; WebSockets pass through untouched."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began, status = token_hex(8), time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
                headers.update(_limits(scope))
                self._observe(scope, status, time.perf_counter() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._limited(scope, receive, send_with_headers)
            except Exception:
                # The edge of the process: the client is told that, the log is told what.
                log.exception("a request failed", method=scope["method"], path=scope["path"])
                if status:
                    raise  # the answer has begun and can only be cut off
                await internal()(scope, receive, send_with_headers)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            response = problem_response(
                "bad-request", 400, "Bad Request", "the URL has a zero character"
            )
            await response(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > self._limit:
            await self._refuse(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    raise _TooLargeError(self._limit)
            return message

        await self._app(scope, receive_limited, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response("too-large", 413, "Too large", _too_large(self._limit))
        await response(scope, receive, send)

    @staticmethod
    def _observe(scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        operation = getattr(route, "operation_id", None) or "none"
        REQUESTS.labels(operation, str(status)).inc()
        SECONDS.labels(operation).observe(seconds)
        client = scope.get("client") or ("", 0)
        quiet = status < 400 and operation in _QUIET  # noqa: PLR2004
        (log.debug if quiet else log.info)(
            "request",
            method=scope["method"],
            path=scope["path"],
            operation=operation,
            status=status,
            seconds=round(seconds, 4),
            source=client[0],
        )
