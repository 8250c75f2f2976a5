"""Who looks: rights, and what one comes in with (password, second factor, keys, sessions)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.access import new_key_of, new_password
from moorage.hub.ui.pages.overview import every


async def show(
    page: Page, *, problem: ProblemError | None = None, done: str = "", **made: Any
) -> Response:
    """Show all of it.

    Args:
        page: The request.
        problem: Why a change was refused.
        done: What was done, in words.
        made: What is shown only once: ``key``, ``factor`` (an app's secret) or ``codes``.
    """
    rights = await page.api.get("whoami", "rights", project=page.project)
    known = [one["metadata"]["name"] for one in await every(page, "roles")]
    by_resource: dict[str, list[Json]] = {}
    for one in rights["items"]:
        resource, _, operation = one["permission"].partition(".")
        by_resource.setdefault(resource, []).append({**one, "operation": operation})
    return page.html(
        "me.html",
        status=problem.status if problem else 200,
        rights=by_resource,
        factor=await page.api.get("whoami", "totp"),
        keys=(await page.api.get("apikeys"))["items"],
        sessions=(await page.api.get("sessions"))["items"],
        roles=known or sorted({grant["role"] for grant in page.me.get("grants", [])}),
        problem=problem,
        done=done,
        made=made,
    )


async def act(page: Page) -> Response:
    """Do what one of the forms asks for."""
    wanted = ACTS.get(str(page.request.path_params["act"]))
    if wanted is None:
        raise HTTPException(404)
    try:
        return await wanted(page)
    except ProblemError as problem:
        return await show(page, problem=problem)


async def _password(page: Page) -> Response:
    body = {"current": page.form.get("current", [""])[0], "new": new_password(page)}
    await page.api.send("PUT", "whoami", "password", body=body)
    return await show(
        page, done="Your password is changed; every other session of yours has ended."
    )


async def _begin(page: Page) -> Response:
    body = {"current": page.form.get("current", [""])[0]}
    answer = await page.api.send("POST", "whoami", "totp", body=body)
    return await show(page, begun=answer.json())


async def _confirm(page: Page) -> Response:
    try:
        answer = await page.api.send("PUT", "whoami", "totp", body={"code": page.field("code")})
    except ProblemError as problem:
        # The secret is shown once: a code that was mistyped must not cost it.
        secret = {"secret": page.field("secret"), "uri": page.field("uri")}
        return await show(page, problem=problem, begun=secret)
    return await show(page, codes=answer.json()["recoveryCodes"])


async def _remove(page: Page) -> Response:
    body = {"current": page.form.get("current", [""])[0], "code": page.field("code")}
    await page.api.send("POST", "whoami", "totp", "remove", body=body)
    return await show(page, done="Your password alone is asked for from now on.")


async def _new_key(page: Page) -> Response:
    answer = await page.api.send("POST", "apikeys", body=new_key_of(page))
    return await show(page, key=answer.json())


async def _revoke_key(page: Page) -> Response:
    await page.api.send("DELETE", "apikeys", page.field("key"))
    return await show(page, done="The key is revoked.")


async def _end_session(page: Page) -> Response:
    await page.api.send("DELETE", "sessions", page.field("session"))
    return await show(page, done="The session has ended.")


ACTS: Mapping[str, Callable[[Page], Awaitable[Response]]] = {
    "password": _password,
    "begin-factor": _begin,
    "confirm-factor": _confirm,
    "remove-factor": _remove,
    "new-key": _new_key,
    "revoke-key": _revoke_key,
    "end-session": _end_session,
}
"""Forms of the page, by the end of their address."""
