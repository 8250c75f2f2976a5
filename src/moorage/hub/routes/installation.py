"""What this hub is: identity, version, recovery key, health."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from starlette.responses import JSONResponse, Response

from moorage import __version__
from moorage.hub.admission import sealing_key_id
from moorage.hub.auditing import AuditNote, record
from moorage.hub.deps import HubDep, PrincipalDep, ScopeDep, metrics_guard
from moorage.hub.problems import Problem
from moorage.hub.rules.base import RECOVERY_KEY
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import ConflictError
from moorage.resources.meta import Model

router = APIRouter(
    prefix="/v1",
    tags=["installation"],
    route_class=StrictRoute,
    responses={"4XX": {"model": Problem}},
)
health = APIRouter(tags=["health"])


class Installation(Model):
    """Which installation this is."""

    installation: str
    """Chosen at the first start; it is in every sealed secret and owner mark."""
    incarnation: str
    """Another one after each restore from a backup."""
    version: str
    recovery_key: str | None = None
    """PEM of the public half; set once, by the CLI at the first login."""
    hub_ca: str | None = Field(default=None, alias="hubCA")
    hub_fingerprint: str | None = None


class RecoveryKey(Model):
    """The public half of the offline recovery key."""

    public_key: Annotated[str, Field(max_length=4096)]


@router.get(
    "/installation",
    operation_id="getInstallation",
    response_model_exclude_none=True,
    summary="Which hub is this?",
)
async def get_installation(hub: HubDep, _principal: PrincipalDep) -> Installation:
    """Return identity, version and recovery key."""
    return await _installation(hub)


@router.put(
    "/installation/recovery-key",
    operation_id="setRecoveryKey",
    response_model_exclude_none=True,
    summary="Set the recovery key, once",
)
async def set_recovery_key(
    body: RecoveryKey,
    hub: HubDep,
    scope: ScopeDep,
) -> Installation:
    """Store the public recovery key. Gateways pin it, so it cannot be changed afterwards."""
    key_id = sealing_key_id(body.public_key)
    async with hub.store.transaction() as store:
        known = await store.get_value(RECOVERY_KEY)
        if known and sealing_key_id(known) != key_id:
            raise ConflictError(
                "this installation has another recovery key already: all secrets are sealed to it"
            )
        if not known:
            await store.set_value(RECOVERY_KEY, body.public_key)
            note = AuditNote("update", "RecoveryKey", name=key_id[:16])
            await record(hub, scope.principal, scope.actor.source, note, "ok")
    return await _installation(hub)


@health.get("/healthz", operation_id="healthz", summary="Does the process live?")
async def healthz(hub: HubDep) -> dict[str, str]:
    """Answer as long as requests are served at all; `degraded` while the disk is full.

    A full disk is not answered with an error: to start the process again would not help.
    """
    full = await hub.full_disk()
    if full is not None:
        return {"status": "degraded", "storage": full}
    return {"status": "ok"}


@health.get("/readyz", operation_id="readyz", summary="Can requests be served?")
async def readyz(hub: HubDep) -> dict[str, str]:
    """Answer when the database does and the hub is not about to stop; else 503."""
    await hub.check_ready()
    return {"status": "ok"}


@health.get(
    "/metrics",
    operation_id="metrics",
    dependencies=[Depends(metrics_guard)],
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics() -> Response:
    """Without a token from the hub's own machine only; else with one that may read metrics."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/openapi.json",
    operation_id="getOpenAPI",
    summary="This document",
    response_model=dict[str, Any],
)
async def openapi(request: Request) -> Response:
    """Return the OpenAPI description of this API."""
    return JSONResponse(request.app.openapi())


async def _installation(hub: HubDep) -> Installation:
    return Installation(
        installation=hub.installation,
        incarnation=hub.incarnation,
        version=__version__,
        recovery_key=await hub.store.get_value(RECOVERY_KEY) or None,
        hub_ca=hub.settings.ca_certificate,
        hub_fingerprint=hub.settings.ca_fingerprint,
    )
