"""Changes of a cluster's node pools and machines: forms to requests."""

from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.cluster import compact_of, pools_page
from moorage.hub.ui.requests import operate
from moorage.hub.ui.wizard import number
from moorage.resources import Cluster
from moorage.resources.nodepool import pool_resource_name
from moorage.resources.permission import CheckTarget

_SIZES = ("cpus", "memoryMib", "diskGib")


async def scale(page: Page) -> Response:
    """Set how many machines a pool has, if it is still what the page showed; or plan it first."""
    pool = page.field("pool")
    if page.field("act") == "plan":
        return await _plan_scale(page, pool)
    path = ("projects", page.project, "nodepools", pool_resource_name(page.name, pool))
    current = await page.api.get(*path)
    spec = {**current["spec"], "replicas": number(page.field("replicas"))}
    try:
        await page.api.send("PUT", *path, "spec", body=spec, version=page.field("version") or None)
    except ProblemError as problem:
        return await pools_page(page, problem=problem)
    return page.go("clusters", page.name, "pools")


async def _plan_scale(page: Page, pool: str) -> Response:
    document = await compact_of(page)
    for one in document["nodePools"]:
        if one["name"] == pool:
            one["replicas"] = number(page.field("replicas"))
    try:
        path = ("projects", page.project, "clusters", page.name, "plans")
        answer = await page.api.send("POST", *path, body=document)
    except ProblemError as problem:
        return await pools_page(page, problem=problem)
    return page.go("plans", answer.json()["metadata"]["name"])


async def add(page: Page) -> Response:
    """Make another pool."""
    asked = {name: page.field(name) for name in ("pool", "replicas", *_SIZES)}
    spec: Json = {
        "cluster": page.name,
        "pool": asked["pool"],
        "replicas": number(asked["replicas"]),
        "failureDomains": page.fields("failureDomains"),
    }
    spec |= {name: number(asked[name]) for name in _SIZES if asked[name]}
    name = pool_resource_name(page.name, asked["pool"])
    body = {"kind": "NodePool", "metadata": {"name": name}, "spec": spec}
    try:
        await page.api.send("POST", "projects", page.project, "nodepools", body=body)
    except ProblemError as problem:
        shown = {**asked, "failureDomains": page.fields("failureDomains")}
        return await pools_page(page, problem=problem, asked=shown)
    return page.go("clusters", page.name, "pools")


async def remove(page: Page) -> Response:
    """Delete a pool with its machines, when its name was typed."""
    pool = page.field("pool")
    if page.field("name") != pool:
        return await pools_page(page, mistyped=pool)
    await page.api.send(
        "DELETE", "projects", page.project, "nodepools", pool_resource_name(page.name, pool)
    )
    return page.go("clusters", page.name, "pools")


async def replace_machine(page: Page) -> Response:
    """Ask the gateway to delete one worker: its pool makes another one in its place."""
    await operate(page, "delete", "Machine", page.field("machine"))
    return page.go("clusters", page.name)


async def check(page: Page) -> Response:
    """Ask whether the account may do all that this cluster's places need."""
    found = await page.api.get("projects", page.project, "clusters", page.name)
    cluster = Cluster.model_validate(found)
    targets = [one.document() for one in CheckTarget.of_cluster(cluster)]
    operation = await operate(
        page, "check", "CloudAccount", cluster.spec.account, {"targets": targets}
    )
    return page.go("operations", operation["metadata"]["name"])


async def operation(page: Page) -> Response:
    """Show what became of a request to a gateway."""
    found = await page.api.get("projects", page.project, "operations", page.name)
    return page.html("operation.html", operation=found)
