"""A project on one page: how its clusters are, what is left, and what waits for a person."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.rendering import condition, phase
from moorage.hub.ui.requests import operate
from moorage.resources.phase import READY, tone_of

_NEARLY_EMPTY = 0.1


async def show(page: Page) -> Response:
    """Show counts, gateways, addresses and what waits."""
    clusters = await page.api.get("projects", page.project, "overview", "clusters", limit=1)
    gateways = await every(page, "gateways")
    accounts = await every(page, "accounts")
    pools = await every(page, "ippools")
    return page.html(
        "overview.html",
        clusters=clusters,
        gateways=gateways,
        pools=pools,
        capacity=_capacity(accounts),
        can_measure=bool(accounts) and page.may("create", "operations"),
        waits=[
            *_of_clusters(page, clusters["states"]),
            *_of_deletions(page, clusters["held"]),
            *_of_gateways(page, gateways),
            *_of_accounts(page, accounts),
            *_of_pools(page, pools),
        ],
        is_empty=not gateways and not clusters["total"],
    )


async def measure(page: Page) -> Response:
    """Ask the gateway of each account how much its vCenter holds; one per vCenter is enough."""
    asked: set[str] = set()
    for account in await every(page, "accounts"):
        vcenter = account["status"].get("instanceUuid") or account["spec"]["server"]
        if phase(account) == READY and vcenter not in asked:
            asked.add(vcenter)
            name = account["metadata"]["name"]
            await operate(page, "estate", "CloudAccount", name, {"measure": True})
    return page.go("overview")


def _capacity(accounts: list[Json]) -> list[Json]:
    """Return the newest figures of each vCenter, with the name of the account that sees them."""
    newest: dict[str, Json] = {}
    for account in accounts:
        found = account["status"].get("capacity")
        if found is None:
            continue
        vcenter = account["status"].get("instanceUuid") or account["spec"]["server"]
        shown = {
            **found,
            "account": account["metadata"]["name"],
            "server": account["spec"]["server"],
        }
        known = newest.get(vcenter)
        if known is None or known["measuredAt"] < found["measuredAt"]:
            newest[vcenter] = shown
    return sorted(newest.values(), key=lambda one: str(one["server"]))


async def every(page: Page, kind: str) -> list[Json]:
    """Return all resources of a hub-wide kind; none for who may not see them."""
    found: list[Json] = []
    after = ""
    while True:
        try:
            answer = await page.api.get(kind, limit=500, **{"continue": after})
        except ProblemError as problem:
            if problem.status in (403, 404):
                return found
            raise
        found += answer["items"]
        after = answer.get("continue", "")
        if not after:
            return found


Wait = dict[str, str]


def _of_clusters(page: Page, states: Mapping[str, int]) -> list[Wait]:
    return [
        {
            "what": f"{number} cluster{'s' if number > 1 else ''}: {state}",
            "why": "Waiting does not mend this: what is asked has to be changed.",
            "where": page.url("clusters", state=state),
        }
        for state, number in states.items()
        if tone_of(state) == "bad"
    ]


def _of_deletions(page: Page, held: int) -> list[Wait]:
    if not held:
        return []
    why = (
        "More than usual would be deleted within an hour: approve it beside vCenter with "
        "`moorage-gateway deletions approve`."
    )
    what = f"{held} deletion{'s' if held > 1 else ''} held"
    return [{"what": what, "why": why, "where": page.url("clusters", held="yes")}]


def _of_gateways(page: Page, gateways: list[Json]) -> list[Wait]:
    found = []
    for gateway in gateways:
        name, status = gateway["metadata"]["name"], gateway["status"]
        where = page.url("gateways", name)
        if not status.get("enrolled"):
            why = "It has not enrolled yet: run its command beside vCenter."
            found.append({"what": f"Gateway {name}", "why": why, "where": where})
        elif not status.get("connected"):
            why = "It is not connected: nothing is made or changed behind it until it is back."
            found.append({"what": f"Gateway {name}", "why": why, "where": where})
    return found


def _of_accounts(page: Page, accounts: list[Json]) -> list[Wait]:
    return [
        {
            "what": f"Account {one['metadata']['name']}: {phase(one)}",
            "why": _message(one),
            "where": page.url("accounts", one["metadata"]["name"]),
        }
        for one in accounts
        if tone_of(phase(one)) == "bad"
    ]


def _of_pools(page: Page, pools: list[Json]) -> list[Wait]:
    found = []
    for pool in pools:
        status: Json = pool["status"]
        total = status.get("total", 0)
        left = status.get("free", 0) - status.get("reserved", 0)
        if total and left <= total * _NEARLY_EMPTY:
            name = pool["metadata"]["name"]
            why = f"{max(0, left)} of {total} addresses are left for new machines."
            where = page.url("ippools", name)
            found.append({"what": f"IP pool {name}", "why": why, "where": where})
    return found


def _message(resource: Mapping[str, Any]) -> str:
    ready = condition(resource, "Ready")
    return str(ready["message"]) if ready else ""
