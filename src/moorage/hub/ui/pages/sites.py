"""IP pools with their addresses, and the audit log."""

from ipaddress import ip_address
from typing import Any, NamedTuple

from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.overview import every
from moorage.hub.ui.wizard import number
from moorage.resources import IPPool

_POOL_FIELDS = ("gateway", "start", "end", "prefix", "router")
_MOST_SHOWN = 1024
"""Addresses of a pool that are drawn one by one."""


async def pools(page: Page, problem: ProblemError | None = None) -> Response:
    """List IP pools, with the form for another one."""
    return page.html(
        "ippools.html",
        status=problem.status if problem else 200,
        pools=await every(page, "ippools"),
        gateways=[one["metadata"]["name"] for one in await every(page, "gateways")],
        asked={name: page.field(name) for name in ("name", *_POOL_FIELDS, "nameServers")},
        problem=problem,
    )


async def add_pool(page: Page) -> Response:
    """Make an IP pool of one range."""
    name = page.field("name")
    spec: Json = {field: page.field(field) for field in _POOL_FIELDS}
    spec |= {
        "prefix": number(page.field("prefix")),
        "nameServers": page.field("nameServers").replace(",", " ").split(),
    }
    try:
        body = {"kind": "IPPool", "metadata": {"name": name}, "spec": spec}
        await page.api.send("POST", "ippools", body=body)
    except ProblemError as problem:
        return await pools(page, problem)
    return page.go("ippools", name)


class Square(NamedTuple):
    """One address of a pool's map."""

    state: str
    """``free``, ``claimed``, ``held`` or ``conflict``."""
    text: str


async def pool(page: Page) -> Response:
    """Show one IP pool with a map of its addresses."""
    found = await page.api.get("ippools", page.name)
    claims = [one for one in await every(page, "ipaddresses") if one["spec"]["pool"] == page.name]
    return page.html("ippool.html", pool=found, claims=claims, squares=_squares(found, claims))


def _squares(document: Json, claims: list[Json]) -> list[Square]:
    """Return the state of each address that may be given, in order; the first ones of many."""
    pool = IPPool.model_validate(document)
    taken: dict[int, Square] = {}
    for conflict in document["status"].get("conflicts", []):
        number = int(ip_address(conflict["address"]))
        text = f"{conflict['address']}: used by {conflict['usedBy']}"
        taken[number] = Square("conflict", text)
    for claim in claims:
        spec = claim["spec"]
        held = "releasedAt" in spec
        text = f"{spec['address']}: {'released by' if held else 'of'} {spec['claimedBy']['name']}"
        taken[int(ip_address(spec["address"]))] = Square("held" if held else "claimed", text)
    squares: list[Square] = []
    for number in pool.spec.numbers():
        if len(squares) >= _MOST_SHOWN:
            break
        address = ip_address(number) if pool.spec.version == 4 else _v6(number)  # noqa: PLR2004
        squares.append(taken.get(number, Square("free", f"{address}: free")))
    return squares


def _v6(number: int) -> Any:
    return ip_address(number.to_bytes(16, "big"))


async def audit(page: Page) -> Response:
    """Show who did what, the newest first."""
    filters = {name: page.query(name) for name in ("actor", "kind", "name")}
    found = await page.api.get(
        "audit", limit=100, **filters, **{"continue": page.query("continue")}
    )
    after = found.get("continue")
    return page.html(
        "audit.html",
        entries=found["items"],
        filters=filters,
        following=page.url("audit", **filters, **{"continue": after}) if after else "",
    )
