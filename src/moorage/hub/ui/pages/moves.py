"""A cluster that goes to another gateway: what goes along, the move, and its end."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.cluster import cluster_of, tab
from moorage.hub.ui.pages.overview import every


async def settings(
    page: Page,
    *,
    problem: ProblemError | None = None,
    moving: Json | None = None,
    mistyped: bool = False,
) -> Response:
    """Show checks, the way to another gateway, and the danger zone.

    Args:
        page: The request.
        problem: Why something was refused.
        moving: What would go along.
        mistyped: The cluster is not deleted, for its name was not typed.
    """
    cluster = await cluster_of(page)
    here = cluster["metadata"].get("route", "")
    gateways = [one["metadata"]["name"] for one in await every(page, "gateways")]
    return tab(
        page,
        "cluster-settings.html",
        cluster,
        status=problem.status if problem else 422 if mistyped else 200,
        others=[one for one in gateways if one != here],
        assignment=await _assignment(page, cluster),
        moving=moving,
        asked={"gateway": page.field("gateway"), "withUsers": page.field("withUsers")},
        problem=problem,
        mistyped=mistyped,
    )


async def delete(page: Page) -> Response:
    """Ask for deletion, when its name was typed."""
    if page.field("name") != page.name:
        return await settings(page, mistyped=True)
    await page.api.send("DELETE", "projects", page.project, "clusters", page.name)
    return page.go("clusters", page.name)


async def move(page: Page) -> Response:
    """Show what would go along (``preview``), move it (``start``), or let it stay (``cancel``)."""
    wanted = str(page.request.path_params["act"])
    body: Json = {"project": page.project, "cluster": page.name}
    try:
        if wanted == "cancel":
            await page.api.send("POST", "moves", "cancel", body=body)
        elif wanted in ("preview", "start"):
            body |= {"gateway": page.field("gateway"), "withUsers": bool(page.field("withUsers"))}
            dry = wanted == "preview"
            answer = await page.api.send("POST", "moves", body=body, query={"dryRun": dry})
            if dry:
                return await settings(page, moving=answer.json())
        else:
            raise HTTPException(404)
    except ProblemError as problem:
        return await settings(page, problem=problem)
    return page.go("clusters", page.name, "settings")


async def _assignment(page: Page, cluster: Json) -> Json | None:
    """Return whose the cluster is, and whose it becomes; ``None`` for who may not see it."""
    if not page.may("get", "assignments"):
        return None
    try:
        return await page.api.get("assignments", f"cluster-{cluster['metadata']['uid']}")
    except ProblemError as problem:
        if problem.status == 404:  # noqa: PLR2004
            return None
        raise
