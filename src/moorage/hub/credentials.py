"""How a request says who asks: a bearer token, or a browser's cookie together with a CSRF token.

A browser sends its cookie whoever made it ask, so a cookie alone changes nothing: a write needs
the CSRF token as well, which only pages of this hub can read, and must not come from elsewhere.
A request with an ``Authorization`` header is judged by that header alone.
"""

from datetime import timedelta
from typing import NamedTuple

from starlette.requests import HTTPConnection
from starlette.responses import Response

from moorage.auth import csrf_token, is_csrf_token
from moorage.kit.errors import ForbiddenError

COOKIE = "__Host-moorage"
"""``__Host-``: browsers take it over HTTPS only, for this host only, for all of its paths."""
CSRF_HEADER = "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Credential(NamedTuple):
    """What a request shows."""

    token: str
    is_cookie: bool

    @property
    def csrf_token(self) -> str | None:
        """What a page has to send with each write; ``None`` for a bearer token."""
        return csrf_token(self.token) if self.is_cookie else None


def credential_of(request: HTTPConnection) -> Credential | None:
    """Return what the request shows; raises ``ForbiddenError`` for a forged one."""
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return Credential(token.strip(), False) if scheme.lower() == "bearer" else None
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    if request.scope.get("method", "GET") not in _SAFE:
        refuse_foreign(request)
        if not is_csrf_token(request.headers.get(CSRF_HEADER, ""), token):
            raise ForbiddenError(
                f"with a cookie a write needs the header {CSRF_HEADER}: take its value from "
                "`csrfToken` of GET /v1/whoami"
            )
    return Credential(token, True)


def refuse_foreign(request: HTTPConnection) -> None:
    """Raise ``ForbiddenError`` for what a page of another origin has its browser send."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if site not in ("same-origin", "none") or (origin is not None and origin != own):
        raise ForbiddenError("the request comes from a page of another site")


def set_cookie(response: Response, token: str, lifetime: timedelta) -> None:
    """Give a session's token to the browser, out of reach of its scripts.

    How long it holds is told, not until when: the browser's clock may be another one.
    """
    seconds = int(lifetime.total_seconds())
    response.set_cookie(
        COOKIE, token, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax"
    )


def forget_cookie(response: Response) -> None:
    """Have the browser forget the session."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
