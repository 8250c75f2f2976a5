"""Second factors: codes of an authenticator app."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from moorage.auth import (
    Principal,
    new_recovery_codes,
    new_totp_secret,
    recovery_hash,
    totp_step,
    totp_uri,
)
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.deps import HubDep, PrincipalDep, ScopeDep, source_of
from moorage.hub.directory import Directory
from moorage.hub.factor import check_second_factor
from moorage.hub.passwords import check_own_password
from moorage.hub.problems import Problem
from moorage.hub.routes.apikeys import by_person
from moorage.hub.rules.people import cover
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import ConflictError, FieldFault, InvalidError
from moorage.resources import User
from moorage.resources.meta import Model, Name
from moorage.store import totp

router = APIRouter(
    prefix="/v1", tags=["access"], route_class=StrictRoute, responses={"4XX": {"model": Problem}}
)

Code = Annotated[str, Field(max_length=32)]


class OwnPasswordAgain(Model):
    """The password in use: who finds a browser open does not get further."""

    current: Annotated[str, Field(max_length=1024)]
    code: Code | None = None
    """To remove a second factor: a code of it."""


class NewSecondFactor(Model):
    """Shown only here; it counts once a code of it has come back."""

    secret: str
    uri: str
    """What a QR code for the app holds."""


class SecondFactorCode(Model):
    """A code that the app shows."""

    code: Code


class SecondFactor(Model):
    """Whether a code is asked for at login."""

    confirmed: bool


class RecoveryCodes(Model):
    """Each stands in for the app once. Shown only here."""

    recovery_codes: list[str]


@router.get("/whoami/totp", operation_id="getSecondFactor", summary="Do you use an app?")
async def get_second_factor(hub: HubDep, principal: PrincipalDep) -> SecondFactor:
    """Tell whether you are asked for a code of an authenticator app at login."""
    found = await totp.find_totp(hub.store, principal.username)
    return SecondFactor(confirmed=found is not None and found.confirmed_at is not None)


@router.post(
    "/whoami/totp", operation_id="beginSecondFactor", summary="Begin to use an authenticator app"
)
async def begin_second_factor(
    body: OwnPasswordAgain, hub: HubDep, principal: PrincipalDep, request: Request
) -> NewSecondFactor:
    """Make the secret that the app shares with the hub. Nothing changes until it is confirmed."""
    by_person(principal)
    await check_own_password(hub, principal, source_of(request), body.current)
    found = await totp.find_totp(hub.store, principal.username)
    if found is not None and found.confirmed_at is not None:
        raise ConflictError("you have a second factor: remove it first")
    secret = new_totp_secret()
    await totp.begin_totp(hub.store, principal.username, secret)
    host = hub.settings.public_url.partition("//")[2]
    return NewSecondFactor(secret=secret, uri=totp_uri(secret, principal.username, host))


@router.put(
    "/whoami/totp", operation_id="confirmSecondFactor", summary="Confirm the authenticator app"
)
async def confirm_second_factor(
    body: SecondFactorCode, hub: HubDep, principal: PrincipalDep, request: Request
) -> RecoveryCodes:
    """Ask for codes at each login from now on; returns the codes for when the app is lost."""
    by_person(principal)
    user = principal.username
    found = await totp.find_totp(hub.store, user)
    if found is None or found.confirmed_at is not None:
        raise ConflictError("there is nothing to confirm: begin with POST /v1/whoami/totp")
    step = totp_step(found.secret, body.code.strip(), hub.clock.now(), after=0)
    if step is None:
        fault = FieldFault("code", "is not what the app shows now: is its clock right?")
        raise InvalidError("not confirmed", (fault,))
    codes = new_recovery_codes()
    hashes = [recovery_hash(code) for code in codes]
    async with hub.store.transaction():
        if not await totp.confirm_totp(hub.store, user, step=step, recovery=hashes):
            raise ConflictError("it was confirmed meanwhile")
        await _tell(hub, principal, source_of(request), "create", user)
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/whoami/totp/remove",
    operation_id="removeSecondFactor",
    status_code=204,
    summary="Use no authenticator app any more",
)
async def remove_second_factor(
    body: OwnPasswordAgain, hub: HubDep, principal: PrincipalDep, request: Request
) -> Response:
    """Remove your second factor; needs your password and a code."""
    by_person(principal)
    source = source_of(request)
    await check_own_password(hub, principal, source, body.current)
    await check_second_factor(hub, principal.username, body.code)
    async with hub.store.transaction():
        await totp.forget_totp(hub.store, principal.username)
        await _tell(hub, principal, source, "delete", principal.username)
    return Response(status_code=204)


@router.delete(
    "/users/{name}/totp",
    operation_id="removeUserSecondFactor",
    status_code=204,
    summary="Remove somebody's second factor",
)
async def remove_user_second_factor(name: Name, hub: HubDep, scope: ScopeDep) -> Response:
    """For one who has lost app and recovery codes; you need all the rights of that user."""
    user = await hub.store.get(User, "", name)
    directory = await hub.store.view(Directory)
    cover(scope.principal, [*directory.rights_if(name, user.spec.grants)], user)
    async with hub.store.transaction():
        await totp.forget_totp(hub.store, name)
        await _tell(hub, scope.principal, scope.actor.source, "delete", name)
    return Response(status_code=204)


async def _tell(hub: Hub, principal: Principal, source: str, verb: str, user: str) -> None:
    await record(hub, principal, source, AuditNote(verb, "SecondFactor", name=user), "ok")
