"""Roles, projects, and who can do what."""

from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page, url
from moorage.hub.ui.pages.access import access_page, invalid
from moorage.hub.ui.pages.overview import every


async def roles(page: Page) -> Response:
    """List roles: built-in ones first, as the API does not order them."""
    found = await page.api.get("roles", limit=500)
    items = sorted(found["items"], key=lambda one: (not _is_built_in(one), one["metadata"]["name"]))
    return access_page(page, "roles.html", items=items)


async def role(page: Page, problem: ProblemError | None = None) -> Response:
    """Show what one role permits, and who has it."""
    found = await page.api.get("roles", page.name)
    kinds = ("users", "teams", "serviceaccounts")
    held = {
        kind: [
            one["metadata"]["name"]
            for one in await every(page, kind)
            if any(grant["role"] == page.name for grant in one["spec"].get("grants", []))
        ]
        for kind in kinds
    }
    asked = page.fields("permission") if problem else found["spec"].get("permissions", [])
    return access_page(
        page,
        "role.html",
        role=found,
        held=held,
        writes=page.may("update", "roles") and not _is_built_in(found),
        has=set(asked),
        resources=await _resources(page),
        problem=problem,
    )


async def new_role(page: Page, problem: ProblemError | None = None) -> Response:
    """Show the form for a custom role, begun with what another one permits."""
    page.require("create", "roles")
    has = page.fields("permission")
    if like := page.query("like"):
        has = (await page.api.get("roles", like))["spec"].get("permissions", [])
    return access_page(
        page,
        "role-new.html",
        has=set(has),
        resources=await _resources(page),
        asked={"name": page.field("name"), "description": page.field("description")},
        problem=problem,
    )


async def add_role(page: Page) -> Response:
    """Make a custom role."""
    name = page.field("name")
    body = {"kind": "Role", "metadata": {"name": name}, "spec": _spec(page)}
    try:
        await page.api.send("POST", "roles", body=body)
    except ProblemError as problem:
        return await new_role(page, problem)
    return page.go("access", "roles", name)


async def change_role(page: Page) -> Response:
    """Replace what a custom role permits, if it is still what the page showed."""
    version = page.field("version") or None
    try:
        await page.api.send("PUT", "roles", page.name, "spec", body=_spec(page), version=version)
    except ProblemError as problem:
        return await role(page, problem)
    return page.go("access", "roles", page.name)


async def delete_role(page: Page) -> Response:
    """Delete a custom role that nobody has."""
    try:
        await _delete(page, "roles")
    except ProblemError as problem:
        return await role(page, problem)
    return page.go("access", "roles")


async def projects(page: Page, problem: ProblemError | None = None) -> Response:
    """List the projects that the reader sees."""
    asked = {"name": page.field("name"), "description": page.field("description")}
    return access_page(
        page, "projects.html", items=await every(page, "projects"), asked=asked, problem=problem
    )


async def add_project(page: Page) -> Response:
    """Make a project."""
    body = {
        "kind": "Project",
        "metadata": {"name": page.field("name")},
        "spec": {"description": page.field("description")},
    }
    try:
        await page.api.send("POST", "projects", body=body)
    except ProblemError as problem:
        return await projects(page, problem)
    return page.go("access", "projects")


async def delete_project(page: Page) -> Response:
    """Delete an empty project."""
    try:
        await _delete(page, "projects")
    except ProblemError as problem:
        return await projects(page, problem)
    return page.go_to(url()) if page.name == page.project else page.go("access", "projects")


async def who_can(page: Page) -> Response:
    """Show who may do something, and by which grants."""
    asked = {name: page.query(name) for name in ("permission", "where", "cluster")}
    found, problem = None, None
    if asked["permission"]:
        try:
            found = await page.api.get(
                "who-can",
                permission=asked["permission"],
                project=asked["where"],
                cluster=asked["cluster"],
            )
        except ProblemError as refused:
            problem = refused
    known = await page.api.get("permissions")
    permissions = [one["permission"] for one in known["items"]]
    return access_page(
        page,
        "who-can.html",
        asked=asked,
        found=found,
        permissions=permissions,
        problem=problem,
    )


async def _delete(page: Page, plural: str) -> None:
    if page.field("name") != page.name:
        raise invalid("name", "is not its name", f"{page.name} was not deleted")
    await page.api.send("DELETE", plural, page.name)


async def _resources(page: Page) -> dict[str, list[Json]]:
    """Return all permissions by what they are about."""
    found: dict[str, list[Json]] = {}
    for one in (await page.api.get("permissions"))["items"]:
        resource, _, operation = one["permission"].partition(".")
        found.setdefault(resource, []).append({**one, "operation": operation})
    return found


def _spec(page: Page) -> Json:
    return {"description": page.field("description"), "permissions": page.fields("permission")}


def _is_built_in(role: Json) -> bool:
    return bool(role["status"].get("builtIn"))
