"""In and out."""

from starlette.responses import RedirectResponse, Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.door import ROOT
from moorage.hub.ui.page import Page, url


async def show(page: Page) -> Response:
    """Ask for name and password."""
    return page.html("login.html", next=_ours(page.query("next")), username="")


async def log_in(page: Page) -> Response:
    """Open a session: its cookie comes from the API."""
    wanted, username = _ours(page.field("next")), page.field("username")
    body: Json = {
        "username": username,
        "password": page.form.get("password", [""])[0],
        "cookie": True,
    }
    if code := page.field("code"):
        body["code"] = code
    try:
        answer = await page.api.send("POST", "login", body=body)
    except ProblemError as problem:
        return page.html(
            "login.html", status=problem.status, problem=problem, next=wanted, username=username
        )
    response = RedirectResponse(wanted or url(), status_code=303)
    for cookie in answer.cookies():
        response.headers.append("set-cookie", cookie)
    return response


async def log_out(page: Page) -> Response:
    """End the session."""
    answer = await page.api.send("POST", "logout")
    response = RedirectResponse(url("login"), status_code=303)
    for cookie in answer.cookies():
        response.headers.append("set-cookie", cookie)
    return response


async def home(page: Page) -> Response:
    """Go to the first project; who has none is told so."""
    if not page.projects:
        return page.html("nothing.html")
    return page.go("overview")


def _ours(address: str) -> str:
    """Return an address to go back to, if it is one of our pages."""
    is_ours = address.startswith(f"{ROOT}/") and "\\" not in address
    return address if is_ours else ""
