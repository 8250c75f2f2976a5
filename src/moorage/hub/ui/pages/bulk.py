"""Several clusters at a time: labels, and deletion by their typed names."""

from starlette.responses import Response

from moorage.hub.ui.api import ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.access import invalid
from moorage.hub.ui.pages.clusters import found_clusters

_MOST = 200


async def show(
    page: Page, *, problem: ProblemError | None = None, done: list[tuple[str, str]] | None = None
) -> Response:
    """Show the clusters that fulfil the list's filters, to be chosen.

    Args:
        page: The request.
        problem: Why nothing was changed.
        done: Cluster and what became of it; empty for one that was changed as asked.
    """
    found, filters = await found_clusters(page, _MOST)
    return page.html(
        "clusters-bulk.html",
        status=problem.status if problem else 200,
        found=found,
        filters=filters,
        chosen=set(page.fields("cluster")),
        asked={"key": page.field("key"), "value": page.field("value")},
        problem=problem,
        done=done,
    )


async def change(page: Page) -> Response:
    """Set a label on the chosen clusters, or take it away."""
    key, value, takes = page.field("key"), page.field("value"), page.field("act") == "unlabel"
    names = page.fields("cluster")
    if not names or not key:
        path, what = ("cluster", "choose at least one") if not names else ("key", "is required")
        return await show(page, problem=invalid(path, what, "nothing was changed"))

    async def label(name: str) -> None:
        one = ("projects", page.project, "clusters", name)
        meta = (await page.api.get(*one))["metadata"]
        before = meta.get("labels", {})
        labels = {k: v for k, v in before.items() if k != key} | ({} if takes else {key: value})
        if labels != before:
            version = meta["resourceVersion"]
            await page.api.send("PUT", *one, "labels", body=labels, version=version)

    done = []
    for name in names:
        try:
            await label(name)
        except ProblemError as problem:
            done.append((name, said(problem)))
        else:
            done.append((name, ""))
    return await show(page, done=done)


async def confirm(page: Page, problem: ProblemError | None = None) -> Response:
    """Ask for the names of the clusters that are to be deleted."""
    names = page.fields("cluster")
    if not names:
        return await show(page, problem=invalid("cluster", "choose at least one", "nothing to do"))
    status = problem.status if problem else 200
    return page.html("clusters-delete.html", status=status, names=names, problem=problem)


async def delete(page: Page) -> Response:
    """Delete the clusters whose names were all typed."""
    names = page.fields("cluster")
    typed = page.field("names").replace(",", " ").split()
    if sorted(typed) != sorted(names):
        wrong = invalid("names", "are not the names of these clusters", "nothing was deleted")
        return await confirm(page, wrong)
    done = []
    for name in names:
        try:
            await page.api.send("DELETE", "projects", page.project, "clusters", name)
        except ProblemError as problem:
            done.append((name, said(problem)))
        else:
            done.append((name, ""))
    return await show(page, done=done)


def said(problem: ProblemError) -> str:
    """Return a problem in one line."""
    faults = "; ".join(f"{one['path']} {one['message']}" for one in problem.faults)
    return f"{problem.detail} {faults}".strip()
