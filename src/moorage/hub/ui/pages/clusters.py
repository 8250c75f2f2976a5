"""The list of a project's clusters."""

from starlette.responses import Response

from moorage.hub.ui.page import Page

_PAGE = 50


async def show_list(page: Page) -> Response:
    """Show one page of the clusters that fulfil all filters."""
    filters = {name: page.query(name) for name in ("search", "state", "version", "labels")}
    found = await page.api.get(
        "projects",
        page.project,
        "overview",
        "clusters",
        search=filters["search"].lower(),
        state=filters["state"],
        version=filters["version"],
        labelSelector=filters["labels"],
        limit=_PAGE,
        **{"continue": page.query("continue")},
    )
    after = found.get("continue")
    return page.html(
        "clusters.html",
        found=found,
        filters=filters,
        following=page.url("clusters", **filters, **{"continue": after}) if after else "",
        is_first=not page.query("continue"),
    )
