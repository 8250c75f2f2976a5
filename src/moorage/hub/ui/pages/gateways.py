"""Gateways: what each has, DNS mappings, one-time tokens, a declared death."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.access import invalid
from moorage.hub.ui.pages.overview import every

_MAPPING = ("searchDomain", "datacenter", "computeCluster", "network")
_MOST = 100
"""Clusters and held deletions that are listed."""


async def gateways(page: Page, problem: ProblemError | None = None) -> Response:
    """List gateways."""
    return page.html(
        "gateways.html",
        status=problem.status if problem else 200,
        gateways=await every(page, "gateways"),
        problem=problem,
        asked=page.field("name"),
    )


async def add(page: Page) -> Response:
    """Make a gateway; its page then shows the command that enrols it."""
    name = page.field("name")
    body = {"kind": "Gateway", "metadata": {"name": name}}
    body["spec"] = {"description": page.field("description")}
    try:
        await page.api.send("POST", "gateways", body=body)
    except ProblemError as problem:
        return await gateways(page, problem)
    return page.go("gateways", name)


async def gateway(
    page: Page,
    *,
    problem: ProblemError | None = None,
    token: Json | None = None,
    heir: Json | None = None,
) -> Response:
    """Show one gateway with what it has.

    Args:
        page: The request.
        problem: Why a change was refused.
        token: A one-time token that was just made: shown only now.
        heir: What would go to the successor of a gateway that is lost.
    """
    found = await page.api.get("gateways", page.name)
    mine: dict[str, Any] = {
        kind: [one for one in await every(page, kind) if one["spec"]["gateway"] == page.name]
        for kind in ("accounts", "ippools")
    }
    others = [one["metadata"]["name"] for one in await every(page, "gateways")]
    return page.html(
        "gateway.html",
        status=problem.status if problem else 200,
        gateway=found,
        token=token,
        heir=heir,
        others=[one for one in others if one != page.name],
        clusters=await _clusters(page),
        held=await _clusters(page, held=True),
        asked={name: page.field(name) for name in (*_MAPPING, "successor")},
        problem=problem,
        **mine,
    )


async def act(page: Page) -> Response:
    """Do what one of the forms asks for."""
    wanted = str(page.request.path_params["act"])
    try:
        if wanted == "token":
            body = {"replace": page.field("replace") == "yes"}
            answer = await page.api.send("POST", "gateways", page.name, "token", body=body)
            return await gateway(page, token=answer.json())
        if wanted in ("describe", "map", "unmap"):
            await _change(page, wanted)
        elif wanted == "declare-dead":
            return await _declare_dead(page)
        elif wanted == "delete":
            _check_name(page)
            await page.api.send("DELETE", "gateways", page.name)
            return page.go("gateways")
        else:
            raise HTTPException(404)
    except ProblemError as problem:
        return await gateway(page, problem=problem)
    return page.go("gateways", page.name)


async def _change(page: Page, wanted: str) -> None:
    """Replace the spec, if it is still what the page showed."""
    spec = (await page.api.get("gateways", page.name))["spec"]
    mappings = spec.get("dnsMappings", [])
    if wanted == "describe":
        spec["description"] = page.field("description")
    elif wanted == "map":
        fields = {name: page.field(name) for name in _MAPPING}
        if not fields["computeCluster"]:
            del fields["computeCluster"]
        spec["dnsMappings"] = [*mappings, fields]
    else:
        index = page.field("index")
        spec["dnsMappings"] = [one for n, one in enumerate(mappings) if str(n) != index]
    version = page.field("version") or None
    await page.api.send("PUT", "gateways", page.name, "spec", body=spec, version=version)


async def _declare_dead(page: Page) -> Response:
    """Show what would go to the successor; do it once the gateway's name was typed."""
    body = {"gateway": page.name, "successor": page.field("successor")}
    confirmed = page.field("confirmed") == "yes"
    if confirmed:
        _check_name(page)
    answer = await page.api.send(
        "POST", "moves", "declare-dead", body=body, query={"dryRun": not confirmed}
    )
    if confirmed:
        return page.go("gateways", body["successor"])
    return await gateway(page, heir=answer.json())


def _check_name(page: Page) -> None:
    if page.field("name") != page.name:
        raise invalid("name", "is not its name", "nothing was changed")


async def _clusters(page: Page, *, held: bool = False) -> Json:
    """Return what this project has there; nothing for who may not see clusters."""
    try:
        return await page.api.get(
            "projects",
            page.project,
            "overview",
            "clusters",
            gateway=page.name,
            held=held,
            limit=_MOST,
        )
    except ProblemError as problem:
        if problem.status in (403, 404):
            return {"items": [], "matching": 0}
        raise
