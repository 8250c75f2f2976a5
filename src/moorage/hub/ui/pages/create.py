"""A new cluster, by form or YAML, and the plan of what would be made."""

from typing import Any

from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.documents import (
    Line,
    UnreadableError,
    compact,
    difference,
    from_yaml,
    planned,
    to_yaml,
)
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.cluster import compact_of, pools_of
from moorage.hub.ui.pages.overview import every
from moorage.hub.ui.requests import operate
from moorage.hub.ui.wizard import Wish, command
from moorage.resources.kubernetes import SUPPORTED_MINORS


async def start(page: Page) -> Response:
    """Choose the account first: what can be chosen then comes from its gateway."""
    page.require("create", "clusters")
    operation = page.query("estate")
    if not operation:
        return page.html("new-cluster-account.html", accounts=await every(page, "accounts"))
    estate = await page.api.get("projects", page.project, "operations", operation)
    if "completedAt" not in estate["status"]:
        account = estate["spec"]["subjectName"]
        return page.html("new-cluster-wait.html", operation=estate, account=account)
    account = estate["spec"]["subjectName"]
    return await _form(page, Wish({"account": [account]}), operation, estate)


async def ask_estate(page: Page) -> Response:
    """Ask the account's gateway what there is to choose from."""
    made = await operate(page, "estate", "CloudAccount", page.field("account"))
    return page.go("new-cluster", estate=made["metadata"]["name"])


async def change(page: Page) -> Response:
    """Take the form's next step: another row, a check, a plan, or the cluster itself."""
    operation, act = page.field("estate"), page.field("act") or "refresh"
    estate = await page.api.get("projects", page.project, "operations", operation)
    wish = Wish(page.form)
    if act not in ("check", "plan", "create"):
        wish.change(act)
        return await _form(page, wish, operation, estate)
    try:
        done = await _carry_out(page, act, wish.document())
    except ProblemError as problem:
        return await _form(page, wish, operation, estate, problem=problem)
    return done or await _form(page, wish, operation, estate, checked=True)


async def _carry_out(page: Page, act: str, document: Json) -> Response | None:
    """Do what was asked with a document; ``None`` when it was only checked."""
    name = str(document.get("metadata", {}).get("name", ""))
    clusters = ("projects", page.project, "clusters")
    if act == "plan" and name:
        answer = await page.api.send("POST", *clusters, name, "plans", body=document)
        return page.go("plans", answer.json()["metadata"]["name"])
    dry = act != "create"
    await page.api.send("POST", *clusters, body=document, query={"dryRun": dry})
    return None if dry else page.go("clusters", name)


async def _form(
    page: Page,
    wish: Wish,
    operation: str,
    estate: Json,
    *,
    problem: ProblemError | None = None,
    checked: bool = False,
) -> Response:
    """Show the form with the choices that the estate leaves."""
    datacenters = estate["status"].get("result", {}).get("datacenters", [])
    if not wish.once["datacenter"] and len(datacenters) == 1:
        wish.once["datacenter"] = datacenters[0]["path"]
    chosen: Json = next((one for one in datacenters if one["path"] == wish.once["datacenter"]), {})
    gateway = estate["metadata"].get("route", "")
    pools = [one for one in await every(page, "ippools") if one["spec"]["gateway"] == gateway]
    text = to_yaml(wish.document())
    return page.html(
        "new-cluster.html",
        status=problem.status if problem else 200,
        wish=wish,
        operation=operation,
        estate=estate,
        datacenters=[one["path"] for one in datacenters],
        folders=chosen.get("folders", []),
        templates=chosen.get("templates", []),
        compute={one["path"]: one for one in chosen.get("compute", [])},
        pools=pools,
        minors=SUPPORTED_MINORS,
        text=text,
        command=command(text),
        problem=problem,
        checked=checked,
    )


async def edit(page: Page) -> Response:
    """Show a cluster's document, or an empty page for a new one, to be changed as YAML."""
    text = to_yaml(await compact_of(page)) if page.name else ""
    return _editor(page, text)


async def edited(page: Page) -> Response:
    """Check, plan or apply the YAML that was sent."""
    text, act = page.field("text"), page.field("act")
    try:
        document = from_yaml(text)
    except UnreadableError as error:
        shown = {"title": "Not readable", "detail": str(error)}
        return _editor(page, text, problem=ProblemError(422, shown, []))
    try:
        done = await _carry_out(page, act, document)
    except ProblemError as problem:
        return _editor(page, text, problem=problem)
    return done or _editor(page, text, checked=True)


def _editor(
    page: Page, text: str, *, problem: ProblemError | None = None, checked: bool = False
) -> Response:
    shown: dict[str, Any] = {"text": text, "problem": problem, "checked": checked}
    return page.html("edit.html", status=problem.status if problem else 200, **shown)


async def plan(page: Page) -> Response:
    """Show a plan: what becomes of each machine."""
    found = await page.api.get("projects", page.project, "plans", page.name)
    state = found["status"].get("state", "WaitingForGateway")
    is_change = "owner" in found["metadata"]
    return page.html(
        "plan.html",
        plan=found,
        state=state,
        changes=await _changes(page, found) if is_change and state != "Applied" else None,
        is_open=state in ("WaitingForGateway", "Pending", "Applying"),
    )


async def _changes(page: Page, plan: Json) -> list[Line] | None:
    """Return how the cluster's document would change; ``None`` when it cannot be compared now."""
    name = plan["spec"]["cluster"]
    try:
        cluster = await page.api.get("projects", page.project, "clusters", name)
        before = compact(cluster, await pools_of(page, name))
    except ProblemError as problem:
        if problem.status in (403, 404):
            return None
        raise
    return difference(before, planned(plan))


async def apply_plan(page: Page) -> Response:
    """Apply a plan: cluster and node pools become what it proposes."""
    cluster = page.field("cluster")
    await page.api.send(
        "PUT",
        "projects",
        page.project,
        "clusters",
        cluster,
        "spec",
        query={"plan": page.name},
    )
    return page.go("clusters", cluster)
