"""Users, teams and service accounts: who has which grants, passwords, keys and sessions."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.overview import every
from moorage.hub.ui.wizard import number

TABS = (
    ("users", "Users", "users"),
    ("teams", "Teams", "teams"),
    ("serviceaccounts", "Service accounts", "serviceaccounts"),
    ("roles", "Roles", "roles"),
    ("projects", "Projects", "projects"),
    ("who-can", "Who can", "users"),
)
"""Path below ``access``, what it is called, and what one must be able to list to be offered it."""


class Holder(NamedTuple):
    """What pages say of a kind that holds grants."""

    kind: str
    one: str
    title: str
    words: str
    """Field of its spec that describes one."""
    label: str


HOLDERS: Mapping[str, Holder] = {
    "users": Holder("User", "user", "Users", "displayName", "Full name"),
    "teams": Holder("Team", "team", "Teams", "description", "Description"),
    "serviceaccounts": Holder(
        "ServiceAccount", "service account", "Service accounts", "description", "Description"
    ),
}


async def start(page: Page) -> Response:
    """Go to the first page of these that the reader may see."""
    path = next((path for path, _, kind in TABS if page.may("list", kind)), "projects")
    return page.go("access", path)


def access_page(page: Page, template: str, **shown: Any) -> Response:
    """Show one of these pages, below the tabs that its reader may see."""
    tabs = [
        (page.url("access", path), label) for path, label, kind in TABS if page.may("list", kind)
    ]
    problem = shown.get("problem")
    return page.html(template, status=problem.status if problem else 200, tabs=tabs, **shown)


async def holders(page: Page, problem: ProblemError | None = None) -> Response:
    """List users, teams or service accounts."""
    plural, what = _what(page)
    asked = {"name": page.field("name"), "words": page.field("words")}
    items = await every(page, plural)
    if not items and not page.may("list", plural):
        await page.api.get(plural, limit=1)  # says that there is no such list for who looks
    return access_page(
        page, "holders.html", plural=plural, what=what, items=items, asked=asked, problem=problem
    )


async def add(page: Page) -> Response:
    """Make one; its own page then gives it grants, and a password or a key."""
    plural, what = _what(page)
    name = page.field("name")
    body = {
        "kind": what.kind,
        "metadata": {"name": name},
        "spec": {what.words: page.field("words")},
    }
    try:
        await page.api.send("POST", plural, body=body)
    except ProblemError as problem:
        return await holders(page, problem)
    return page.go("access", plural, name)


async def holder(
    page: Page, *, problem: ProblemError | None = None, done: str = "", made: Json | None = None
) -> Response:
    """Show one with its grants.

    Args:
        page: The request.
        problem: Why a change was refused.
        done: What was done, in words.
        made: An API key that was just made: shown only now.
    """
    plural, what = _what(page)
    found = await page.api.get(plural, page.name)
    shown: dict[str, Any] = {"keys": None, "sessions": None, "teams": [], "people": []}
    if plural != "teams" and page.may("list", "apikeys"):
        shown["keys"] = (await page.api.get(plural, page.name, "apikeys"))["items"]
    if plural == "users":
        teams = await every(page, "teams")
        shown["teams"] = [one for one in teams if page.name in one["spec"].get("members", [])]
        if page.may("list", "sessions"):
            shown["sessions"] = (await page.api.get(plural, page.name, "sessions"))["items"]
    if plural == "teams":
        members = found["spec"].get("members", [])
        people = [one["metadata"]["name"] for one in await every(page, "users")]
        shown["people"] = [one for one in people if one not in members]
    return access_page(
        page,
        "holder.html",
        plural=plural,
        what=what,
        one=found,
        roles=[one["metadata"]["name"] for one in await every(page, "roles")],
        problem=problem,
        done=done,
        made=made,
        **shown,
    )


def _describe(page: Page, spec: Json) -> Json:
    return {**spec, _what(page)[1].words: page.field("words")}


def _grant(page: Page, spec: Json) -> Json:
    return {**spec, "grants": [*spec.get("grants", []), grant_of(page)]}


def _ungrant(page: Page, spec: Json) -> Json:
    return {**spec, "grants": _without(spec.get("grants", []), page.field("index"))}


def _join(page: Page, spec: Json) -> Json:
    return {**spec, "members": [*spec.get("members", []), page.field("member")]}


def _leave(page: Page, spec: Json) -> Json:
    left = [one for one in spec.get("members", []) if one != page.field("member")]
    return {**spec, "members": left}


def _disable(page: Page, spec: Json) -> Json:
    return {**spec, "disabled": page.field("disabled") == "yes"}


CHANGES: Mapping[str, Callable[[Page, Json], Json]] = {
    "describe": _describe,
    "grant": _grant,
    "ungrant": _ungrant,
    "join": _join,
    "leave": _leave,
    "disable": _disable,
}
"""What the forms of a page change in the spec; refused when it has changed since it was shown."""


async def act(page: Page) -> Response:
    """Do what one of the forms of its page asks for."""
    plural, _ = _what(page)
    wanted = str(page.request.path_params["act"])
    try:
        if change := CHANGES.get(wanted):
            current = await page.api.get(plural, page.name)
            spec, version = change(page, current["spec"]), page.field("version") or None
            await page.api.send("PUT", plural, page.name, "spec", body=spec, version=version)
            return page.go("access", plural, page.name)
        if wanted == "new-key":
            answer = await page.api.send(
                "POST", plural, page.name, "apikeys", body=new_key_of(page)
            )
            return await holder(page, made=answer.json())
        if wanted == "delete" and page.field("name") == page.name:
            await page.api.send("DELETE", plural, page.name)
            return page.go("access", plural)
        return await holder(page, done=await _credentials(page, plural, wanted))
    except ProblemError as problem:
        return await holder(page, problem=problem)


async def _credentials(page: Page, plural: str, wanted: str) -> str:
    """Change what somebody comes in with; returns what was done."""
    one = (plural, page.name)
    if wanted == "revoke-key":
        await page.api.send("DELETE", *one, "apikeys", page.field("key"))
        return "The key is revoked."
    if wanted == "end-sessions":
        await page.api.send("DELETE", *one, "sessions")
        return "All sessions have ended."
    if wanted == "forget-factor":
        await page.api.send("DELETE", *one, "totp")
        return "The second factor is removed: the password alone is asked for."
    if wanted == "password":
        await page.api.send("PUT", *one, "password", body={"password": new_password(page)})
        return "The password is set; all sessions have ended."
    if wanted == "delete":
        raise invalid("name", "is not its name", f"{page.name} was not deleted")
    raise HTTPException(404)


def grant_of(page: Page) -> Json:
    """Return the grant that a form describes."""
    grant = {"role": page.field("role"), "project": page.field("where") or "*"}
    return {**grant, **({"selector": s} if (s := page.field("selector")) else {})}


def new_key_of(page: Page) -> Json:
    """Return the request for an API key that a form describes; with a role it is narrowed to it."""
    key: Json = {"name": page.field("name")}
    if days := page.field("days"):
        key["days"] = number(days)
    if page.field("role"):
        key["grants"] = [grant_of(page)]
    return key


def new_password(page: Page) -> str:
    """Return a password that was typed twice; raises ``ProblemError`` when it differs."""
    new = page.form.get("new", [""])[0]
    if new != page.form.get("again", [""])[0]:
        raise invalid("again", "is not the same", "the new password differs")
    return new


def invalid(path: str, message: str, detail: str) -> ProblemError:
    """Return what the API would answer to a field that only the page knows."""
    fault = {"path": path, "message": message}
    return ProblemError(422, {"title": "Invalid input", "detail": detail, "faults": [fault]}, [])


def _without(items: list[Any], index: str) -> list[Any]:
    return [one for n, one in enumerate(items) if str(n) != index]


def _what(page: Page) -> tuple[str, Holder]:
    plural = str(page.request.path_params["holders"])
    if plural not in HOLDERS:
        raise HTTPException(404)
    return plural, HOLDERS[plural]
