"""How a gateway comes in: an administrator makes a one-time token, the gateway spends it."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import Field, StringConstraints

from moorage import __version__
from moorage.auth import (
    Principal,
    hash_secret,
    new_enrolment_token,
    parse_enrolment_token,
)
from moorage.hub.auditing import AuditNote, record
from moorage.hub.deps import HubDep, ScopeDep, source_of
from moorage.hub.problems import Problem, TooManyRequestsError
from moorage.hub.rules.base import RECOVERY_KEY
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    UnauthenticatedError,
)
from moorage.kit.identity import PublicIdentity, sealing_key_statement
from moorage.kit.seal import PublicSealingKey
from moorage.link.frames import read_resource
from moorage.link.held import HeldIntent, decide, load_held
from moorage.link.replicate import INTENT_CONFLICT
from moorage.resources import Gateway
from moorage.resources.meta import Document, Model, Name
from moorage.store import access

router = APIRouter(
    prefix="/v1",
    tags=["gateways"],
    route_class=StrictRoute,
    responses={"4XX": {"model": Problem}},
)

_ENROLMENT = "(enrolment)"
"""Stands for a user name in the throttle; none can be called so."""
TOKEN_LIFETIME = timedelta(hours=24)

Pem = Annotated[str, StringConstraints(max_length=4096, pattern=r"^-----BEGIN PUBLIC KEY-----")]


class TokenRequest(Model):
    """What to make an enrolment token for."""

    replace: bool = False
    """Needed for a gateway that has enrolled before: its new keys then replace the old ones."""


class EnrolmentTokenMade(Model):
    """A one-time token. It is shown only here."""

    token: str
    expires_at: datetime
    command: str
    """What to run beside vCenter."""
    hub_url: str
    hub_fingerprint: str | None = None
    """SHA-256 of the hub's own CA; ``None`` when the hub uses a given certificate."""


class Enrolment(Model):
    """What a gateway sends to enrol. It made both keys itself; the private halves stay with it."""

    token: Annotated[str, Field(max_length=256)]
    gateway: Name
    identity_key: Pem
    sealing_key: Pem
    sealing_key_signature: Annotated[str, Field(max_length=1024)]
    version: Annotated[str, Field(max_length=64)] = ""


class Enrolled(Model):
    """What a gateway has to know of its hub."""

    installation: str
    hub_version: str
    hub_ca: str | None = Field(default=None, alias="hubCA")
    """PEM of the hub's own CA."""
    recovery_key: str | None = None
    """PEM of the installation's recovery key, once there is one."""


@router.post(
    "/gateways/{name}/token",
    operation_id="createEnrolmentToken",
    response_model_exclude_none=True,
    status_code=201,
    summary="Make a one-time token for a gateway",
)
async def create_token(
    name: Name,
    hub: HubDep,
    scope: ScopeDep,
    body: TokenRequest | None = None,
) -> EnrolmentTokenMade:
    """Make a token that lets one gateway enrol once within 24 hours; older ones end."""
    gateway = await hub.store.get(Gateway, "", name)
    if gateway.status.enrolled and not (body and body.replace):
        raise ConflictError(
            f"{gateway} has enrolled already. A new enrolment replaces its keys, and every secret "
            "has to be sealed again: say `replace: true` if that is wanted"
        )
    token = new_enrolment_token(name)
    expires_at = hub.clock.now() + TOKEN_LIFETIME
    async with hub.store.transaction():
        await access.add_enrolment_token(
            hub.store, gateway=name, hash_=hash_secret(token.text), expires_at=expires_at
        )
        note = AuditNote("create", "EnrolmentToken", name=name)
        await record(hub, scope.principal, scope.actor.source, note, "ok")
    settings = hub.settings
    pin = f" --hub-fingerprint {settings.ca_fingerprint}" if settings.ca_fingerprint else ""
    return EnrolmentTokenMade(
        token=token.text,
        expires_at=expires_at,
        command=(f"moorage-gateway enroll --hub {settings.public_url} --token {token.text}{pin}"),
        hub_url=settings.public_url,
        hub_fingerprint=settings.ca_fingerprint,
    )


@router.post(
    "/enroll",
    operation_id="enrollGateway",
    response_model_exclude_none=True,
    summary="Enrol a gateway with its token",
)
async def enroll(body: Enrolment, hub: HubDep, request: Request) -> Enrolled:
    """Spend a one-time token: from then on the gateway is known by its identity key."""
    source = source_of(request)
    note = AuditNote("enroll", "Gateway", name=body.gateway)
    wait = hub.throttle.retry_after(_ENROLMENT, source)
    if wait > 0:
        raise TooManyRequestsError("too many wrong tokens from here: try again later", wait)
    hub.throttle.begin(_ENROLMENT, source)
    identity, sealing = _keys(body)
    try:
        async with hub.store.transaction() as store:
            token = parse_enrolment_token(body.token)
            admitted = token and await access.use_enrolment_token(
                hub.store, hash_secret(token.text), by=identity.fingerprint
            )
            gateway = await store.find(Gateway, "", body.gateway)
            if admitted != body.gateway or gateway is None or gateway.is_deleting:
                raise UnauthenticatedError(  # noqa: TRY301 - the transaction ends with it
                    f"the token is not valid for gateway {body.gateway}, was used or has expired: "
                    "make another one with `moorage gateways token`"
                )
            status = gateway.status
            status.enrolled, status.connected = True, False
            status.version = body.version
            status.public_key = identity.pem
            status.fingerprint = identity.fingerprint
            status.sealing_key = sealing.pem
            status.sealing_key_signature = body.sealing_key_signature
            status.set_condition(
                "Enrolled",
                "True",
                "Done",
                f"from {source}, identity {identity.fingerprint}",
                now=hub.clock.now(),
            )
            await store.put_status(gateway)
            note.after = {"fingerprint": identity.fingerprint, "version": body.version}
            await record(hub, Principal(f"gateway:{body.gateway}"), source, note, "ok")
            recovery = await store.get_value(RECOVERY_KEY)
    except UnauthenticatedError:
        await record(hub, None, source, note, "refused")
        raise
    hub.throttle.succeeded(_ENROLMENT, source)
    return Enrolled(
        installation=hub.installation,
        hub_version=__version__,
        hub_ca=hub.settings.ca_certificate,
        recovery_key=recovery or None,
    )


class IntentConflict(Model):
    """What a gateway holds that this hub, restored from a backup, knows otherwise or not at all."""

    uid: str
    kind: str
    project: str = ""
    name: str
    reason: str
    """`UnknownToHub` or `HubIsOlder`."""
    message: str
    deleting: bool
    """It was decided that the gateway takes it down."""
    gateway_version: Document
    """The whole resource as the gateway has it."""


class IntentConflictList(Model):
    """All that waits for a decision."""

    items: list[IntentConflict]


class Decision(Model):
    """Whose version stays. Of what the hub does not know, `hub` means: the gateway deletes it."""

    keep: Literal["gateway", "hub"]


@router.get(
    "/gateways/{name}/conflicts",
    operation_id="listIntentConflicts",
    response_model_exclude_none=True,
    summary="What a gateway holds otherwise than this hub",
)
async def list_conflicts(
    name: Name,
    hub: HubDep,
    _scope: ScopeDep,
) -> IntentConflictList:
    """List the intents that the gateway and the (restored) hub do not agree on."""
    await hub.store.get(Gateway, "", name)
    held = await load_held(hub.store, name)
    return IntentConflictList(items=[_conflict(one) for one in held.values() if not one.gone])


@router.post(
    "/gateways/{name}/conflicts/{uid}/decision",
    operation_id="decideIntentConflict",
    response_model_exclude_none=True,
    summary="Say whose version of an intent stays",
)
async def decide_conflict(
    name: Name,
    uid: Annotated[str, Path(max_length=64)],
    body: Decision,
    hub: HubDep,
    scope: ScopeDep,
) -> IntentConflictList:
    """Decide; whatever belongs to a cluster goes with it. Returns what is left to decide."""
    async with hub.store.transaction() as store:
        await store.get(Gateway, "", name)
        chosen = await decide(store, name, uid, body.keep, hub.clock.now())
        meta = chosen.metadata
        note = AuditNote("decide", chosen.kind, meta.project, meta.name)
        note.after = {"keep": body.keep, "uid": uid, "gateway": name}
        await record(hub, scope.principal, scope.actor.source, note, "ok")
        held = await load_held(store, name)
    return IntentConflictList(items=[_conflict(one) for one in held.values() if not one.gone])


def _conflict(held: HeldIntent) -> IntentConflict:
    resource = read_resource(held.resource)
    claim = resource.status.condition(INTENT_CONFLICT)
    meta = resource.metadata
    return IntentConflict(
        uid=meta.uid,
        kind=resource.kind,
        project=meta.project,
        name=meta.name,
        reason=claim.reason if claim else "",
        message=claim.message if claim else "",
        deleting=held.deleting,
        gateway_version=held.resource,
    )


def _keys(body: Enrolment) -> tuple[PublicIdentity, PublicSealingKey]:
    faults = []
    try:
        identity = PublicIdentity.from_pem(body.identity_key)
    except InvalidError as error:
        faults.append(FieldFault("identityKey", error.message))
    try:
        sealing = PublicSealingKey.from_pem(body.sealing_key)
    except InvalidError as error:
        faults.append(FieldFault("sealingKey", error.message))
    if not faults:
        statement = sealing_key_statement(body.gateway, sealing.key_id)
        try:
            identity.verify(body.sealing_key_signature, statement)
        except ForbiddenError as error:
            faults.append(FieldFault("sealingKeySignature", str(error)))
    if faults:
        raise InvalidError("the gateway's keys cannot be used", tuple(faults))
    return identity, sealing
