"""What a page is made with: who looks, at which project, what the form said, and how to answer."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from moorage.hub.ui.api import Api, Json, ProblemError
from moorage.hub.ui.door import ROOT
from moorage.hub.ui.rendering import render

Handler = Callable[["Page"], Awaitable[Response]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline script or style, nothing from elsewhere: what a cluster's name says is never code."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    # With the API's own `no-referrer` browsers would say `Origin: null` with each form.
    "Referrer-Policy": "same-origin",
}


class Page:
    """One request for a page."""

    def __init__(self, app: ASGIApp, request: Request, form: dict[str, list[str]]) -> None:
        self.request = request
        self.form = form
        self.api = Api(app, request, self.field("csrf"))
        self.me: Json = {}
        self.projects: list[str] = []
        self._permissions: set[str] = set()
        """What the API lets who looks do in this project, and beside all projects."""

    @classmethod
    async def open(cls, app: ASGIApp, request: Request) -> "Page":
        """Read the form, if there is one. Nobody is known yet."""
        form: dict[str, list[str]] = {}
        if request.method == "POST":
            text = (await request.body()).decode(errors="replace")
            for name, value in parse_qsl(text, keep_blank_values=True):
                form.setdefault(name, []).append(value.replace("\r\n", "\n"))
        return cls(app, request, form)

    async def identify(self) -> None:
        """Find out who looks and which projects are theirs; raises ``ProblemError``."""
        self.me = await self.api.get("whoami")
        try:
            found = await self.api.get("projects", limit=500)
        except ProblemError as problem:
            if problem.status != 404:  # noqa: PLR2004 - that is the answer to who has no rights
                raise
            return
        self.projects = [one["metadata"]["name"] for one in found["items"]]
        if self.project in self.projects:
            rights = await self.api.get("whoami", "rights", project=self.project)
            self._permissions = {one["permission"] for one in rights["items"]}

    @property
    def project(self) -> str:
        """The project in the path; the first one where the path names none."""
        named = str(self.request.path_params.get("project", ""))
        return named or (self.projects[0] if self.projects else "")

    @property
    def name(self) -> str:
        """The name in the path."""
        return str(self.request.path_params.get("name", ""))

    def field(self, name: str, default: str = "") -> str:
        """Return what one field of the form said, without blanks around it."""
        return self.form.get(name, [default])[0].strip()

    def fields(self, name: str) -> list[str]:
        """Return what all fields of that name said."""
        return [value.strip() for value in self.form.get(name, [])]

    def query(self, name: str) -> str:
        """Return a parameter of the address."""
        return self.request.query_params.get(name, "").strip()

    def may(self, verb: str, kind: str) -> bool:
        """Tell whether the API would let who looks do this here: what is refused is not offered."""
        return f"{kind}.{verb}" in self._permissions

    def require(self, verb: str, kind: str) -> None:
        """Raise 404 for who may not: a form that would be refused is not there."""
        if not self.may(verb, kind):
            raise HTTPException(404)

    def url(self, *path: str, **query: str) -> str:
        """Return the address of a page of this project."""
        return url("p", self.project, *path, **query)

    def html(self, template: str, *, status: int = 200, **shown: Any) -> Response:
        """Render a template."""
        text = render(
            template,
            page=self,
            me=self.me,
            project=self.project,
            projects=self.projects,
            csrf=self.me.get("csrfToken", ""),
            here=self.request.url.path,
            url=self.url,
            may=self.may,
            **{"problem": None, **shown},
        )
        return HTMLResponse(text, status, headers=_HEADERS)

    def go(self, *path: str, **query: str) -> Response:
        """Send the browser to a page of this project, after a write."""
        return self.go_to(self.url(*path, **query))

    def go_to(self, address: str) -> Response:
        """Send the browser to an address of ours. A part of a page takes the whole one along."""
        if "hx-request" in self.request.headers:
            return Response(status_code=200, headers={"HX-Redirect": address})
        return RedirectResponse(address, status_code=303)

    def refused(self, problem: ProblemError) -> Response:
        """Show a problem on a page of its own; who is not logged in goes there first."""
        if problem.status == 401:  # noqa: PLR2004
            here = self.request.url.path
            query = f"?{self.request.url.query}" if self.request.url.query else ""
            back = f"{here}{query}" if self.request.method == "GET" else ""
            return self.go_to(url("login", **({"next": back} if back else {})))
        return self.html("problem.html", status=problem.status, problem=problem)


def url(*path: str, **query: str) -> str:
    """Return the address of a page."""
    parts = "/".join(quote(part, safe="") for part in path)
    asked = urlencode({name: value for name, value in query.items() if value})
    return f"{ROOT}/{parts}" + (f"?{asked}" if asked else "")
