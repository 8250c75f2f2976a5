"""API keys: of users, made by themselves, and of service accounts."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.auth import Principal, TokenKind, hash_secret, new_token
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.deps import HubDep, PrincipalDep, ScopeDep, source_of
from moorage.hub.directory import SERVICE_ACCOUNT, Directory
from moorage.hub.problems import Problem
from moorage.hub.rules.people import check_grants, cover
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import ConflictError, FieldFault, ForbiddenError, InvalidError
from moorage.resources import ServiceAccount, User
from moorage.resources.access import Grant
from moorage.resources.meta import Model, Name
from moorage.store import access

router = APIRouter(
    prefix="/v1", tags=["access"], route_class=StrictRoute, responses={"4XX": {"model": Problem}}
)

MAX_KEYS = 20
KeyId = Annotated[str, Path(max_length=64)]


class NewAPIKey(Model):
    """A key for a program."""

    name: Name
    expires_at: datetime | None = None
    days: Annotated[int | None, Field(ge=1, le=3650)] = None
    """Instead of a moment. With neither it holds until it is revoked."""
    grants: Annotated[list[Grant], Field(max_length=100)] | None = None
    """Narrows the key: it may do what these permit *and* its holder may. Left out: all of that."""


class APIKey(Model):
    """An API key, without its secret."""

    id: str
    name: str
    username: str
    """Its holder; `serviceaccount:NAME` for a service account."""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """Within five minutes."""
    grants: list[Grant] | None = None
    """What it is narrowed to."""


class CreatedAPIKey(APIKey):
    """A new API key. ``key`` is shown only here: send it as `Authorization: Bearer …`."""

    key: str


class APIKeyList(Model):
    """API keys of one holder."""

    kind: Literal["APIKeyList"] = "APIKeyList"
    items: list[APIKey]


@router.post(
    "/apikeys",
    operation_id="createAPIKey",
    response_model_exclude_none=True,
    status_code=201,
    summary="Make an API key of yours",
)
async def create_api_key(
    body: NewAPIKey, hub: HubDep, principal: PrincipalDep, request: Request
) -> CreatedAPIKey:
    """Make a key that acts with your rights, or some of them. It is shown once, now."""
    by_person(principal)
    return await _create(hub, principal, source_of(request), principal.username, body)


@router.get(
    "/apikeys",
    operation_id="listAPIKeys",
    response_model_exclude_none=True,
    summary="List your API keys",
)
async def list_api_keys(hub: HubDep, principal: PrincipalDep) -> APIKeyList:
    """List your own keys; their secrets cannot be read back."""
    return await _list(hub, principal.username)


@router.delete(
    "/apikeys/{key}", operation_id="revokeAPIKey", status_code=204, summary="Revoke a key of yours"
)
async def revoke_api_key(
    key: KeyId, hub: HubDep, principal: PrincipalDep, request: Request
) -> Response:
    """Revoke one of your keys at once."""
    return await _revoke(hub, principal, source_of(request), principal.username, key)


@router.get(
    "/users/{name}/apikeys",
    operation_id="listUserAPIKeys",
    response_model_exclude_none=True,
    summary="List somebody's API keys",
)
async def list_user_keys(name: Name, hub: HubDep, _scope: ScopeDep) -> APIKeyList:
    """List the keys of a user."""
    await hub.store.get(User, "", name)
    return await _list(hub, name)


@router.delete(
    "/users/{name}/apikeys/{key}",
    operation_id="revokeUserAPIKey",
    status_code=204,
    summary="Revoke a key of somebody",
)
async def revoke_user_key(name: Name, key: KeyId, hub: HubDep, scope: ScopeDep) -> Response:
    """Revoke a key of a user at once."""
    await hub.store.get(User, "", name)
    return await _revoke(hub, scope.principal, scope.actor.source, name, key)


@router.post(
    "/serviceaccounts/{name}/apikeys",
    operation_id="createServiceAccountAPIKey",
    response_model_exclude_none=True,
    status_code=201,
    summary="Make an API key of a service account",
)
async def create_account_key(
    name: Name, body: NewAPIKey, hub: HubDep, scope: ScopeDep
) -> CreatedAPIKey:
    """Make a key; you need the rights of the account, since you see the key."""
    by_person(scope.principal)
    account = await hub.store.get(ServiceAccount, "", name)
    directory = await hub.store.view(Directory)
    cover(scope.principal, [*directory.convey(account.spec.grants)], account)
    holder = f"{SERVICE_ACCOUNT}{name}"
    return await _create(hub, scope.principal, scope.actor.source, holder, body)


@router.get(
    "/serviceaccounts/{name}/apikeys",
    operation_id="listServiceAccountAPIKeys",
    response_model_exclude_none=True,
    summary="List the API keys of a service account",
)
async def list_account_keys(name: Name, hub: HubDep, _scope: ScopeDep) -> APIKeyList:
    """List its keys."""
    await hub.store.get(ServiceAccount, "", name)
    return await _list(hub, f"{SERVICE_ACCOUNT}{name}")


@router.delete(
    "/serviceaccounts/{name}/apikeys/{key}",
    operation_id="revokeServiceAccountAPIKey",
    status_code=204,
    summary="Revoke a key of a service account",
)
async def revoke_account_key(name: Name, key: KeyId, hub: HubDep, scope: ScopeDep) -> Response:
    """Revoke one of its keys at once."""
    await hub.store.get(ServiceAccount, "", name)
    holder = f"{SERVICE_ACCOUNT}{name}"
    return await _revoke(hub, scope.principal, scope.actor.source, holder, key)


def by_person(principal: Principal) -> None:
    """Raise ``ForbiddenError`` for an API key: a leaked one must not make others, nor stay in."""
    if principal.credential.startswith("apikey:"):
        raise ForbiddenError("an API key cannot do this: log in with your password")


async def _create(
    hub: Hub, principal: Principal, source: str, holder: str, body: NewAPIKey
) -> CreatedAPIKey:
    now = hub.clock.now()
    expires_at = _end(body, now)
    if body.grants is not None:
        await check_grants(hub.store, body.grants, path="grants")
    bounds = None if body.grants is None else json.dumps([g.document() for g in body.grants])
    token = new_token(TokenKind.API_KEY)
    async with hub.store.transaction():
        if len(await access.list_api_keys(hub.store, holder)) >= MAX_KEYS:
            raise ConflictError(f"{holder} has {MAX_KEYS} API keys: revoke one first")
        await access.add_api_key(
            hub.store,
            id_=token.id,
            name=body.name,
            user=holder,
            hash_=hash_secret(token.text),
            expires_at=expires_at,
            bounds=bounds,
        )
        note = AuditNote("create", "APIKey", name=f"{holder}/{body.name} ({token.id})")
        note.after = body.document()
        await record(hub, principal, source, note, "ok")
    return CreatedAPIKey(
        id=token.id,
        name=body.name,
        username=holder,
        created_at=now,
        expires_at=expires_at,
        grants=body.grants,
        key=token.text,
    )


def _end(body: NewAPIKey, now: datetime) -> datetime | None:
    expires_at = body.expires_at
    if body.days is not None:
        if expires_at is not None:
            raise InvalidError(
                "the key would have two ends", (FieldFault("days", "give days or expiresAt"),)
            )
        return now + timedelta(days=body.days)
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise InvalidError(
            "the key would be of no use",
            (FieldFault("expiresAt", "must lie in the future and name its time zone"),),
        )
    return expires_at


async def _list(hub: Hub, holder: str) -> APIKeyList:
    return APIKeyList(
        items=[
            APIKey(
                id=key.id,
                name=key.name,
                username=key.user,
                created_at=key.created_at,
                expires_at=key.expires_at,
                last_used_at=key.last_used_at,
                grants=key.grants(),
            )
            for key in await access.list_api_keys(hub.store, holder)
        ]
    )


async def _revoke(hub: Hub, principal: Principal, source: str, holder: str, id_: str) -> Response:
    await access.delete_api_key(hub.store, id_, user=holder)
    await record(
        hub, principal, source, AuditNote("delete", "APIKey", name=f"{holder}/{id_}"), "ok"
    )
    return Response(status_code=204)
