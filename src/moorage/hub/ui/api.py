"""How pages ask: the REST API of this very process, as the person who looks at them.

The browser's cookie goes along unchanged, so rights, admission, audit and CSRF checks are those of
the REST routes: a page can do nothing that its reader could not do with curl.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message

Json = dict[str, Any]

_HANDED_ON = (b"cookie", b"host", b"origin", b"sec-fetch-site", b"user-agent")
"""What the browser said of itself; all else is about the page, not about what it asks."""


class Answer(NamedTuple):
    """What came back, 2xx."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def json(self) -> Json:
        """Return the document; an empty one for an empty body."""
        return dict(json.loads(self.body)) if self.body else {}

    def cookies(self) -> list[str]:
        """Return the ``Set-Cookie`` headers."""
        return [value.decode() for name, value in self.headers if name == b"set-cookie"]


class ProblemError(Exception):
    """An RFC 9457 problem that the API answered with."""

    def __init__(self, status: int, problem: Json, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(problem.get("detail", ""))
        self.status = status
        self.headers = headers
        self.title: str = problem.get("title", "Error")
        self.detail: str = problem.get("detail", "")
        self.type: str = problem.get("type", "")
        self.faults: list[dict[str, str]] = problem.get("faults", [])

    def at(self, *paths: str) -> list[str]:
        """Return what is said of one of these fields, or of what is below it."""
        return [
            fault["message"]
            for fault in self.faults
            if any(
                fault["path"] == p or fault["path"].startswith((f"{p}.", f"{p}[")) for p in paths
            )
        ]


class Api:
    """The API, as whoever sent ``request``."""

    def __init__(self, app: ASGIApp, request: Request, csrf: str = "") -> None:
        self._app = app
        self._request = request
        self.csrf = csrf
        """The token that the page's form sent; the API decides whether it is the right one."""

    async def get(self, *path: str, **query: Any) -> Json:
        """Return a document or a list; raises ``ProblemError``."""
        return (await self.send("GET", *path, query=query)).json()

    async def send(
        self,
        method: str,
        *path: str,
        body: Any = None,
        version: str | int | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Ask; raises ``ProblemError`` for anything but 2xx.

        Args:
            method: HTTP method.
            path: Parts of the path after ``/v1``, each as it is: it is escaped here.
            body: What is sent as JSON.
            version: ``resourceVersion`` that the change is based on.
            query: Parameters; those that are ``None`` or empty are left out.
        """
        asked = {name: _text(value) for name, value in (query or {}).items() if value}
        content = b"" if body is None else json.dumps(body).encode()
        headers = [(n, v) for n, v in self._request.scope["headers"] if n in _HANDED_ON]
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        if method != "GET":
            headers.append((b"x-csrf-token", self.csrf.encode("latin-1", "replace")))
        if version is not None:
            headers.append((b"if-match", f'"{version}"'.encode()))
        raw = "/v1/" + "/".join(quote(part, safe="") for part in path)
        scope = {
            "type": "http",
            "asgi": self._request.scope.get("asgi", {"version": "3.0"}),
            "http_version": "1.1",
            "method": method,
            "scheme": self._request.scope.get("scheme", "https"),
            "server": self._request.scope.get("server"),
            "client": self._request.scope.get("client"),
            "root_path": "",
            "path": "/v1/" + "/".join(path),
            "raw_path": raw.encode(),
            "query_string": urlencode(asked).encode(),
            "headers": headers,
        }
        answer = await _exchange(self._app, scope, content)
        if answer.status >= 300:  # noqa: PLR2004
            raise ProblemError(answer.status, answer.json(), answer.headers)
        return answer


async def _exchange(app: ASGIApp, scope: dict[str, Any], content: bytes) -> Answer:
    status, headers, parts = 500, list[tuple[bytes, bytes]](), list[bytes]()
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return Answer(status, headers, b"".join(parts))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
