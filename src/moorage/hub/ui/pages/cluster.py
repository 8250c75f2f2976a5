"""One cluster: its tabs."""

from typing import Any

from starlette.responses import Response

from moorage.hub.paging import page_token
from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.documents import compact, to_yaml
from moorage.hub.ui.page import Page
from moorage.hub.ui.progress import STAGES, progress_of
from moorage.kit.clock import SystemClock

LABEL_CLUSTER = "moorage.dev/cluster"
"""The gateway puts it on every machine."""
TABS = (
    ("", "Overview"),
    ("topology", "Topology"),
    ("pools", "Node pools"),
    ("events", "Events"),
    ("logs", "Logs"),
    ("yaml", "YAML"),
    ("settings", "Settings"),
)
_PAGE = 100


async def show(page: Page) -> Response:
    """Show facts, conditions and the way of each machine."""
    cluster, machines = await cluster_of(page), await machines_of(page)
    items = sorted(machines["items"], key=_ready_last)
    bars = progress_of(items, SystemClock().now())
    after = machines.get("continue")
    return tab(
        page,
        "cluster.html",
        cluster,
        pools=await pools_of(page),
        machines=items,
        bars=bars,
        stages=[label for _, label in STAGES],
        following=page.url("clusters", page.name, **{"continue": after}) if after else "",
    )


async def topology(page: Page) -> Response:
    """Show failure domain, host and machine as a tree."""
    cluster, machines = await cluster_of(page), await machines_of(page)
    domains: dict[str, dict[str, list[Json]]] = {
        one["name"]: {} for one in cluster["spec"]["placement"]["failureDomains"]
    }
    for machine in machines["items"]:
        spec = machine["spec"]
        hosts = domains.setdefault(spec["failureDomain"]["name"], {})
        hosts.setdefault(spec.get("host", ""), []).append(machine)
    places = {one["name"]: one for one in cluster["spec"]["placement"]["failureDomains"]}
    after = machines.get("continue")
    return tab(
        page,
        "cluster-topology.html",
        cluster,
        domains=domains,
        places=places,
        zones={one["failureDomain"]: one for one in cluster["status"].get("topology", [])},
        following=page.url("clusters", page.name, "topology", **{"continue": after})
        if after
        else "",
    )


async def pools(page: Page) -> Response:
    """Show node pools, and the forms that change them."""
    return await pools_page(page)


async def pools_page(
    page: Page,
    *,
    problem: ProblemError | None = None,
    asked: Json | None = None,
    mistyped: str = "",
) -> Response:
    """Show node pools again after a refused change, with what was asked.

    Args:
        page: The request.
        problem: Why it was refused.
        asked: What the form for a new pool said.
        mistyped: Name of the pool to be removed that was not typed.
    """
    return tab(
        page,
        "cluster-pools.html",
        await cluster_of(page),
        status=problem.status if problem else 422 if mistyped else 200,
        pools=await pools_of(page),
        asked=asked or {},
        mistyped=mistyped,
        problem=problem,
    )


async def events(page: Page) -> Response:
    """Show what happened, the newest first."""
    found = await page.api.get("projects", page.project, "events", cluster=page.name, limit=200)
    return tab(page, "cluster-events.html", await cluster_of(page), events=found["items"])


async def yaml(page: Page) -> Response:
    """Show the cluster with its pools as people write it."""
    cluster = await cluster_of(page)
    text = to_yaml(compact(cluster, await pools_of(page)))
    return tab(page, "cluster-yaml.html", cluster, text=text, whole=to_yaml(cluster))


async def compact_of(page: Page) -> Json:
    """Return the cluster with its pools as one document."""
    return compact(await cluster_of(page), await pools_of(page))


async def machines_of(page: Page) -> Json:
    """Return one page of the cluster's machines."""
    return await page.api.get(
        "projects",
        page.project,
        "machines",
        labelSelector=f"{LABEL_CLUSTER}={page.name}",
        limit=_PAGE,
        **{"continue": page.query("continue")},
    )


async def pools_of(page: Page, cluster: str = "") -> list[Json]:
    """Return the node pools of a cluster, by default that of the path, by name.

    A pool's name begins with its cluster's, so a list that is continued there has them first.
    """
    cluster = cluster or page.name
    stem, found = f"{cluster}-", list[Json]()
    after = page_token(page.project, stem)
    while after:
        answer = await page.api.get(
            "projects", page.project, "nodepools", limit=_PAGE, **{"continue": after}
        )
        found += [one for one in answer["items"] if one["spec"]["cluster"] == cluster]
        over = any(not one["metadata"]["name"].startswith(stem) for one in answer["items"])
        after = "" if over else answer.get("continue", "")
    return found


async def cluster_of(page: Page) -> Json:
    """Return the cluster that the path names."""
    return await page.api.get("projects", page.project, "clusters", page.name)


def tab(page: Page, template: str, cluster: Json, *, status: int = 200, **shown: Any) -> Response:
    """Show one of the cluster's tabs."""
    tabs = [
        (page.url("clusters", page.name, *([path] if path else [])), label) for path, label in TABS
    ]
    shown = {"mistyped": False, **shown}
    return page.html(template, status=status, cluster=cluster, tabs=tabs, **shown)


def _ready_last(machine: Json) -> tuple[bool, str]:
    conditions = machine["status"].get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready, machine["metadata"]["name"]
