"""One machine from clone to Ready, and the logs of nodes."""

from starlette.responses import Response

from moorage.hub.ui.api import Json
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.cluster import cluster_of, machines_of, tab
from moorage.hub.ui.progress import progress_of, steps_of
from moorage.hub.ui.requests import operate
from moorage.kit.clock import SystemClock

_LOGS = 20
"""Answers that are listed; the hub keeps them for 24 hours."""


async def machine(page: Page) -> Response:
    """Show what one machine waits for and why, each step with its duration, and where it is."""
    name = str(page.request.path_params["machine"])
    found = await page.api.get("projects", page.project, "machines", name)
    now = SystemClock().now()
    events = await page.api.get(
        "projects", page.project, "events", object=f"Machine/{name}", limit=100
    )
    return tab(
        page,
        "machine.html",
        await cluster_of(page),
        machine=found,
        bar=progress_of([found], now)[name],
        steps=steps_of(found, now),
        events=events["items"],
    )


async def logs(page: Page) -> Response:
    """Show the nodes whose logs can be asked for, and those that were."""
    machines = await machines_of(page)
    found = await page.api.get("projects", page.project, "operations", limit=500)
    mine = [one for one in found["items"] if _is_log_of(one, page.name)]
    mine.sort(key=lambda one: str(one["metadata"]["createdAt"]), reverse=True)
    after = machines.get("continue")
    return tab(
        page,
        "cluster-logs.html",
        await cluster_of(page),
        machines=[one["metadata"]["name"] for one in machines["items"]],
        asked=mine[:_LOGS],
        following=page.url("clusters", page.name, "logs", **{"continue": after}) if after else "",
    )


async def collect_logs(page: Page) -> Response:
    """Ask a machine's node for its logs, through its mailbox in vCenter."""
    operation = await operate(page, "logs", "Machine", page.field("machine"))
    return page.go("operations", operation["metadata"]["name"])


def _is_log_of(operation: Json, cluster: str) -> bool:
    spec = operation["spec"]
    return spec["verb"] == "logs" and str(spec["subjectName"]).startswith(f"{cluster}-")
