"""All pages and where they are."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from moorage.hub.ui.api import ProblemError
from moorage.hub.ui.page import Handler, Page
from moorage.hub.ui.pages import (
    access,
    accounts,
    bulk,
    changes,
    cluster,
    clusters,
    create,
    gateways,
    login,
    machines,
    me,
    moves,
    overview,
    rights,
    sites,
)
from moorage.hub.ui.pages import api as reference
from moorage.hub.ui.rendering import asset_version, assets

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"

OPEN: Mapping[str, Handler] = {
    "GET /login": login.show,
    "POST /login": login.log_in,
    "GET /api": reference.operations,
    "GET /api/operation/{name}": reference.operation,
    "GET /api/schema/{name}": reference.schema,
}
"""What those see who are not logged in."""

PAGES: Mapping[str, Handler] = {
    "GET /": login.home,
    "POST /logout": login.log_out,
    "GET /p/{project}/account": me.show,
    "POST /p/{project}/account/{act}": me.act,
    "GET /p/{project}/access": access.start,
    "GET /p/{project}/access/roles": rights.roles,
    "GET /p/{project}/access/roles/{name}": rights.role,
    "POST /p/{project}/access/roles/{name}": rights.change_role,
    "POST /p/{project}/access/roles/{name}/delete": rights.delete_role,
    "GET /p/{project}/new-role": rights.new_role,
    "POST /p/{project}/new-role": rights.add_role,
    "GET /p/{project}/access/projects": rights.projects,
    "POST /p/{project}/access/projects": rights.add_project,
    "POST /p/{project}/access/projects/{name}/delete": rights.delete_project,
    "GET /p/{project}/access/who-can": rights.who_can,
    "GET /p/{project}/access/{holders}": access.holders,
    "POST /p/{project}/access/{holders}": access.add,
    "GET /p/{project}/access/{holders}/{name}": access.holder,
    "POST /p/{project}/access/{holders}/{name}/{act}": access.act,
    "GET /p/{project}/overview": overview.show,
    "POST /p/{project}/overview/measure": overview.measure,
    "GET /p/{project}/gateways": gateways.gateways,
    "POST /p/{project}/gateways/add": gateways.add,
    "GET /p/{project}/gateways/{name}": gateways.gateway,
    "POST /p/{project}/gateways/{name}/{act}": gateways.act,
    "GET /p/{project}/ippools": sites.pools,
    "POST /p/{project}/ippools/add": sites.add_pool,
    "GET /p/{project}/ippools/{name}": sites.pool,
    "GET /p/{project}/accounts": accounts.accounts,
    "GET /p/{project}/accounts/{name}": accounts.account,
    "POST /p/{project}/accounts/{name}/{act}": accounts.act,
    "GET /p/{project}/new-account": accounts.new_account,
    "GET /p/{project}/audit": sites.audit,
    "GET /p/{project}/clusters": clusters.show_list,
    "GET /p/{project}/clusters-bulk": bulk.show,
    "POST /p/{project}/clusters-bulk": bulk.change,
    "POST /p/{project}/clusters-bulk/confirm": bulk.confirm,
    "POST /p/{project}/clusters-bulk/delete": bulk.delete,
    "GET /p/{project}/clusters/{name}": cluster.show,
    "GET /p/{project}/clusters/{name}/topology": cluster.topology,
    "GET /p/{project}/clusters/{name}/pools": cluster.pools,
    "GET /p/{project}/clusters/{name}/events": cluster.events,
    "GET /p/{project}/clusters/{name}/machines/{machine}": machines.machine,
    "GET /p/{project}/clusters/{name}/logs": machines.logs,
    "GET /p/{project}/clusters/{name}/yaml": cluster.yaml,
    "GET /p/{project}/clusters/{name}/settings": moves.settings,
    "POST /p/{project}/clusters/{name}/check": changes.check,
    "POST /p/{project}/clusters/{name}/logs": machines.collect_logs,
    "GET /p/{project}/operations/{name}": changes.operation,
    "GET /p/{project}/operations/{name}/roles": accounts.roles,
    "GET /p/{project}/clusters/{name}/edit": create.edit,
    "POST /p/{project}/clusters/{name}/edit": create.edited,
    "GET /p/{project}/new-cluster": create.start,
    "POST /p/{project}/new-cluster/estate": create.ask_estate,
    "POST /p/{project}/new-cluster/form": create.change,
    "GET /p/{project}/new-cluster/yaml": create.edit,
    "POST /p/{project}/new-cluster/yaml": create.edited,
    "GET /p/{project}/plans/{name}": create.plan,
    "POST /p/{project}/plans/{name}/apply": create.apply_plan,
    "POST /p/{project}/clusters/{name}/move/{act}": moves.move,
    "POST /p/{project}/clusters/{name}/delete": moves.delete,
    "POST /p/{project}/clusters/{name}/scale": changes.scale,
    "POST /p/{project}/clusters/{name}/add-pool": changes.add,
    "POST /p/{project}/clusters/{name}/remove-pool": changes.remove,
    "POST /p/{project}/clusters/{name}/replace-machine": changes.replace_machine,
}


def make_site(api: ASGIApp) -> Starlette:
    """Make the application of all pages, which ask ``api``."""

    def route(key: str, handler: Handler, *, signed_in: bool) -> Route:
        method, _, path = key.partition(" ")

        async def serve(request: Request) -> Response:
            page = await Page.open(api, request)
            try:
                if signed_in:
                    await page.identify()
                return await handler(page)
            except ProblemError as problem:
                return page.refused(problem)

        return Route(path, serve, methods=[method])

    async def not_found(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
        page = Page(api, request, {})
        shown = {"title": "Not found", "detail": "there is no such page", "type": ""}
        problem = ProblemError(error.status_code, shown, [])
        return page.html("problem.html", status=error.status_code, problem=problem)

    return Starlette(
        routes=[
            Route("/static/{version}/{name}", _static),
            *(route(key, handler, signed_in=False) for key, handler in OPEN.items()),
            *(route(key, handler, signed_in=True) for key, handler in PAGES.items()),
        ],
        exception_handlers={HTTPException: not_found},
    )


async def _static(request: Request) -> Response:
    name, version = request.path_params["name"], request.path_params["version"]
    content = assets().get(name)
    media_type = _TYPES.get(name.rpartition(".")[2])
    if content is None or media_type is None:
        raise HTTPException(404)
    keep = _FOR_EVER if version == asset_version() else "no-store"
    return Response(content, media_type=media_type, headers={"Cache-Control": keep})
