"""Who looks: rights, and the own password."""

from starlette.responses import Response

from moorage.hub.ui.api import ProblemError
from moorage.hub.ui.page import Page


async def show(page: Page) -> Response:
    """Show name, rights and the form for another password."""
    return page.html("me.html", done=False)


async def change_password(page: Page) -> Response:
    """Change the own password; every other session ends."""
    new = page.form.get("new", [""])[0]
    if new != page.form.get("again", [""])[0]:
        fault = {"path": "again", "message": "is not the same"}
        problem = ProblemError(
            422,
            {"title": "Invalid input", "detail": "the new password differs", "faults": [fault]},
            [],
        )
        return page.html("me.html", status=422, problem=problem, done=False)
    body = {"current": page.form.get("current", [""])[0], "new": new}
    try:
        await page.api.send("PUT", "whoami", "password", body=body)
    except ProblemError as problem:
        return page.html("me.html", status=problem.status, problem=problem, done=False)
    return page.html("me.html", done=True)
