"""The list of a project's clusters."""

from starlette.responses import Response

from moorage.hub.ui.api import Json
from moorage.hub.ui.page import Page

_PAGE = 50


async def show_list(page: Page) -> Response:
    """Show one page of the clusters that fulfil all filters."""
    found, filters = await found_clusters(page, _PAGE)
    after = found.get("continue")
    return page.html(
        "clusters.html",
        found=found,
        filters=filters,
        following=page.url("clusters", **filters, **{"continue": after}) if after else "",
        is_first=not page.query("continue"),
    )


async def found_clusters(page: Page, limit: int) -> tuple[Json, dict[str, str]]:
    """Return one page of the clusters that fulfil the filters of the address, and the filters."""
    filters = {name: page.query(name) for name in ("search", "state", "version", "labels", "held")}
    found = await page.api.get(
        "projects",
        page.project,
        "overview",
        "clusters",
        search=filters["search"].lower(),
        state=filters["state"],
        version=filters["version"],
        held=filters["held"] == "yes",
        labelSelector=filters["labels"],
        limit=limit,
        **{"continue": page.query("continue")},
    )
    return found, filters
