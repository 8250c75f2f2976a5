"""The application: routes, errors, the link's server end and the hub's own controllers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import structlog
from fastapi import FastAPI, WebSocket

from moorage import __version__
from moorage.controllers.hub.garbage import garbage_controllers
from moorage.controllers.hub.gateways import gateway_controllers
from moorage.controllers.hub.moves import move_controllers
from moorage.controllers.tally import Tally
from moorage.engine import Controller, Manager
from moorage.hub import idempotency, problems
from moorage.hub.alerting.watching import keep_watch
from moorage.hub.chronicle import Chronicle
from moorage.hub.context import Hub
from moorage.hub.directory import Directory
from moorage.hub.middleware import Guarded
from moorage.hub.routes import (
    alerts,
    apikeys,
    audit,
    clusters,
    events,
    factors,
    gateways,
    installation,
    moves,
    overview,
    plans,
    rights,
    sessions,
)
from moorage.hub.routes.resources import ResourceRoutes
from moorage.hub.rules.alerts import AlertChannelRules, AlertSilenceRules
from moorage.hub.rules.base import RECOVERY_KEY, Rules
from moorage.hub.rules.clusters import ClusterRules, NodePoolRules, OperationRules
from moorage.hub.rules.hubwide import (
    AccountRules,
    GatewayRules,
    IPPoolRules,
    SecretRules,
    TemplateRules,
)
from moorage.hub.rules.people import (
    ProjectRules,
    RoleRules,
    ServiceAccountRules,
    TeamRules,
    UserRules,
)
from moorage.hub.rules.plans import PlanRules
from moorage.hub.ui import add_ui
from moorage.kit.clock import Clock
from moorage.kit.errors import MoorageError
from moorage.link.door import LinkSettings
from moorage.link.server import LinkServer
from moorage.resources import Assignment, IPAddress, Machine, TemplateReplica

log = structlog.get_logger(__name__)

SWEEP_EVERY = timedelta(minutes=1)
_RETRY_S = 5.0

DESCRIPTION = """\
Moorage deploys and runs Kubernetes clusters on VMware vSphere virtual machines.

A write records what is asked (`spec`) and answers at once; what was seen is in `status`, and
`status.conditions` say what something waits for. Errors are RFC 9457 problems that name every
faulty field. `dryRun=true` on a write validates and admits it without storing anything.
"""


def create_app(hub: Hub, *, background: bool = True) -> FastAPI:
    """Make the application of one hub.

    Args:
        hub: Store and settings; the caller closes the store.
        background: Run controllers and housekeeping beside the requests.
    """
    link = LinkServer(hub.store, _link_settings(hub))
    app = bare_app(hub.clock, lifespan=_lifespan(hub, link, background=background))
    app.state.hub = hub

    async def serve_link(websocket: WebSocket) -> None:
        await link.handle(websocket)

    app.add_api_websocket_route("/v1/link", serve_link)
    add_ui(app)
    app.add_middleware(Guarded, max_body_bytes=hub.settings.max_body_bytes)
    return app


def hub_controllers() -> list[Controller[Any]]:
    """Return every controller that a hub runs."""
    return [*garbage_controllers(), *gateway_controllers(), *move_controllers()]


def bare_app(
    clock: Clock, *, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None
) -> FastAPI:
    """Make the routes alone: enough for the OpenAPI document."""
    app = FastAPI(
        title="Moorage",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(app)
    for routes in _resource_routes(clock):
        app.include_router(routes.router)
    app.include_router(clusters.router)
    app.include_router(overview.router)
    app.include_router(plans.router)
    app.include_router(sessions.router)
    app.include_router(apikeys.router)
    app.include_router(factors.router)
    app.include_router(rights.router)
    app.include_router(gateways.router)
    app.include_router(moves.router)
    app.include_router(events.router)
    app.include_router(audit.router)
    app.include_router(alerts.router)
    app.include_router(installation.router)
    app.include_router(installation.health)
    app.openapi = partial(_describe, app)  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; FastAPI knows one media type for all of a route's answers."""
    document = FastAPI.openapi(app)
    for item in document["paths"].values():
        for method, operation in item.items():
            if method == "post" and operation["operationId"] not in idempotency.WITHOUT:
                _tell_of_key(operation)
            content = operation["responses"].get("4XX", {}).get("content", {})
            if "application/json" in content:  # the document is kept and comes here again
                content[problems.MEDIA_TYPE] = content.pop("application/json")
    return document


def _tell_of_key(operation: dict[str, Any]) -> None:
    """Describe the header that ``strict`` reads for every POST."""
    parameter = {
        "name": idempotency.HEADER,
        "in": "header",
        "required": False,
        "description": idempotency.DESCRIPTION,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    parameters = operation.setdefault("parameters", [])
    if parameter not in parameters:  # the document is kept and comes here again
        parameters.append(parameter)


def _resource_routes(clock: Clock) -> list[ResourceRoutes[Any]]:
    cluster = ResourceRoutes(ClusterRules()).read_only()
    cluster.add_replace_labels()
    cluster.add_delete()
    operation = ResourceRoutes(OperationRules(clock)).read_only()
    operation.add_create()
    operation.add_delete()
    plan = ResourceRoutes(PlanRules()).read_only()
    plan.add_delete()
    return [
        ResourceRoutes(ProjectRules()).all(),
        ResourceRoutes(UserRules()).all(),
        ResourceRoutes(ServiceAccountRules()).all(),
        ResourceRoutes(TeamRules()).all(),
        ResourceRoutes(RoleRules()).all(),
        ResourceRoutes(AlertChannelRules()).all(),
        ResourceRoutes(AlertSilenceRules()).all(),
        ResourceRoutes(GatewayRules()).all(),
        ResourceRoutes(AccountRules()).all(),
        ResourceRoutes(SecretRules()).all(),
        ResourceRoutes(IPPoolRules()).all(),
        ResourceRoutes(Rules(IPAddress)).read_only(),
        ResourceRoutes(Rules(Assignment)).read_only(),
        ResourceRoutes(TemplateRules()).all(),
        ResourceRoutes(Rules(TemplateReplica)).read_only(),
        cluster,
        ResourceRoutes(NodePoolRules()).all(),
        ResourceRoutes(Rules(Machine)).read_only(),
        operation,
        plan,
    ]


def _link_settings(hub: Hub) -> LinkSettings:
    async def recovery_key() -> str | None:
        return await hub.store.get_value(RECOVERY_KEY) or None

    return LinkSettings(
        installation=hub.installation,
        incarnation=hub.incarnation,
        hub_version=__version__,
        recovery_key=recovery_key,
        clock=hub.clock,
    )


def _lifespan(
    hub: Hub, link: LinkServer, *, background: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            if background:
                manager = Manager(hub.store, hub_controllers(), clock=hub.clock)
                tasks.start_soon(manager.run)
                tasks.start_soon(_persist, Chronicle(hub).run)
                tasks.start_soon(_persist, partial(_keep_house, hub, link))
                watch = partial(keep_watch, hub.store, hub.settings.ways, hub.settings.certificate)
                tasks.start_soon(_persist, watch)
                tasks.start_soon(_end_link, hub, link)
            yield
            tasks.cancel_scope.cancel()

    return lifespan


async def _persist(task: Callable[[], Awaitable[None]]) -> None:
    """Begin a task again when the database did not answer: requests may be served meanwhile."""
    while True:
        try:
            await task()
        except MoorageError as error:
            log.warning("housekeeping failed, it is tried again", error=str(error))
            await anyio.sleep(_RETRY_S)


async def _end_link(hub: Hub, link: LinkServer) -> None:
    """Send the gateways away when the hub stops: they come back when it does."""
    await hub.stopping.wait()
    link.disconnect_all()


async def _keep_house(hub: Hub, link: LinkServer) -> None:
    """Every minute: gateways whose replica died, sessions and tokens that have expired.

    The views are brought up to date too, so that no request finds much to take in.
    """
    while True:
        await link.sweep()
        await hub.prune()
        await hub.store.view(Tally)
        await hub.store.view(Directory)
        await anyio.sleep(SWEEP_EVERY.total_seconds())
