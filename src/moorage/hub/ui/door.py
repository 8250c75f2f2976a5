"""Where the web UI hangs in the application. Nothing of it is loaded before the first request."""

from importlib import import_module
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

ROOT = "/ui"


class _Door:
    """ASGI application that becomes the pages: a hub that nobody looks at does not carry them."""

    def __init__(self, api: Starlette) -> None:
        self._api = api
        self._site: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._site is None:
            self._site = import_module("moorage.hub.ui.site").make_site(self._api)
        await self._site(scope, receive, send)


async def _to_ui(_: Request) -> Response:
    return RedirectResponse(f"{ROOT}/", status_code=307)


def add_ui(app: Starlette) -> None:
    """Put the pages below ``/ui``; they ask ``app`` itself for everything that they show."""
    for path in ("/", ROOT):
        app.add_route(path, _to_ui, methods=["GET"], include_in_schema=False)
    app.mount(ROOT, _Door(app))
