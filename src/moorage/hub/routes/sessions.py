"""Log in and out, and what everybody may ask and change about themselves."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Literal

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.auth import (
    Principal,
    TokenKind,
    Verb,
    check_password,
    csrf_token,
    hash_password,
    hash_secret,
    new_token,
    verify_password,
)
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.credentials import forget_cookie, refuse_foreign, set_cookie
from moorage.hub.deps import CredentialDep, HubDep, PrincipalDep, Scope, allow, source_of
from moorage.hub.problems import Problem, TooManyRequestsError
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    UnauthenticatedError,
)
from moorage.resources import User
from moorage.resources.access import Grant
from moorage.resources.meta import NAME_PATTERN, Model, Name
from moorage.store import access

log = structlog.get_logger(__name__)

router = APIRouter(
    prefix="/v1",
    tags=["access"],
    route_class=StrictRoute,
    responses={"4XX": {"model": Problem}},
)

Password = Annotated[str, Field(max_length=1024)]
MAX_KEYS = 20


class Login(Model):
    """A user's name and password."""

    username: Annotated[str, Field(max_length=256)]
    password: Password
    cookie: bool = False
    """For a browser: the session's token goes into a cookie that scripts cannot read."""


class Session(Model):
    """Send `token` as `Authorization: Bearer …`. It is shown only here."""

    token: str | None = None
    """Left out when it is in the cookie."""
    username: str
    expires_at: datetime
    csrf_token: str | None = None
    """With a cookie: send it with each write as `X-CSRF-Token`."""


class WhoAmI(Model):
    """Who asks, with which rights."""

    username: str
    display_name: str
    grants: list[Grant]
    credential: str
    """Kind and public id of the token that was sent."""
    csrf_token: str | None = None
    """With a cookie: send it with each write as `X-CSRF-Token`."""


class OwnPassword(Model):
    """The password in use and the next one."""

    current: Password
    new: Password


class NewPassword(Model):
    """A user's next password."""

    password: Password


class NewAPIKey(Model):
    """A key for a program that acts as you."""

    name: Name
    expires_at: datetime | None = None
    days: Annotated[int | None, Field(ge=1, le=3650)] = None
    """Instead of a moment. With neither it holds until it is revoked."""


class APIKey(Model):
    """An API key, without its secret."""

    id: str
    name: str
    username: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class CreatedAPIKey(APIKey):
    """A new API key. ``key`` is shown only here: send it as `Authorization: Bearer …`."""

    key: str


class APIKeyList(Model):
    """Your API keys; an administrator may ask for all."""

    kind: Literal["APIKeyList"] = "APIKeyList"
    items: list[APIKey]


@router.post(
    "/login",
    operation_id="login",
    response_model_exclude_none=True,
    summary="Get a session token",
)
async def login(body: Login, hub: HubDep, request: Request, response: Response) -> Session:
    """Check a password and open a session. Guessing is slowed down for each user and source."""
    if body.cookie:
        refuse_foreign(request)
    source = source_of(request)
    wait = hub.throttle.retry_after(body.username, source)
    note = AuditNote("login", "User", name=body.username[:63])
    if wait > 0:
        await record(hub, None, source, note, "throttled")
        raise TooManyRequestsError("too many wrong passwords from here: try again later", wait)
    hub.throttle.begin(body.username, source)
    is_name = re.fullmatch(NAME_PATTERN, body.username) is not None
    user = await hub.store.find(User, "", body.username) if is_name else None
    ok = await _verify(hub, body.username, body.password)
    if not ok or user is None or user.spec.disabled:
        await record(hub, None, source, note, "refused")
        raise UnauthenticatedError("user name or password is wrong")
    hub.throttle.succeeded(body.username, source)
    token = new_token(TokenKind.SESSION)
    expires_at = hub.clock.now() + hub.settings.session_lifetime
    await access.add_session(
        hub.store, id_hash=hash_secret(token.text), user=user.metadata.name, expires_at=expires_at
    )
    principal = Principal(user.metadata.name, credential=f"session:{token.id}")
    await record(hub, principal, source, note, "ok")
    session = Session(username=user.metadata.name, expires_at=expires_at)
    if body.cookie:
        set_cookie(response, token.text, hub.settings.session_lifetime)
        session.csrf_token = csrf_token(token.text)
    else:
        session.token = token.text
    return session


@router.post("/logout", operation_id="logout", status_code=204, summary="End this session")
async def logout(
    request: Request, hub: HubDep, principal: PrincipalDep, credential: CredentialDep
) -> Response:
    """Forget the session whose token was sent. An API key is revoked by `DELETE /v1/apikeys`."""
    await access.end_session(hub.store, hash_secret(credential.token))
    note = AuditNote("logout", "User", name=principal.username)
    await record(hub, principal, source_of(request), note, "ok")
    response = Response(status_code=204)
    if credential.is_cookie:
        forget_cookie(response)
    return response


@router.get("/whoami", operation_id="whoAmI", response_model_exclude_none=True, summary="Who am I?")
async def whoami(hub: HubDep, principal: PrincipalDep, credential: CredentialDep) -> WhoAmI:
    """Return the user and rights behind the token that was sent."""
    user = await hub.store.get(User, "", principal.username)
    return WhoAmI(
        username=principal.username,
        display_name=user.spec.display_name,
        grants=list(principal.grants),
        credential=principal.credential,
        csrf_token=credential.csrf_token,
    )


@router.put(
    "/whoami/password",
    operation_id="changeOwnPassword",
    status_code=204,
    summary="Change your own password",
)
async def change_own_password(
    body: OwnPassword,
    hub: HubDep,
    principal: PrincipalDep,
    credential: CredentialDep,
    request: Request,
) -> Response:
    """Change the password; every other session of yours ends."""
    source = source_of(request)
    note = AuditNote("update", "Password", name=principal.username)
    wait = hub.throttle.retry_after(principal.username, source)
    if wait > 0:
        raise TooManyRequestsError("too many wrong passwords from here: try again later", wait)
    hub.throttle.begin(principal.username, source)
    if not await _verify(hub, principal.username, body.current):
        await record(hub, principal, source, note, "refused")
        raise InvalidError("wrong password", (FieldFault("current", "is not your password"),))
    hub.throttle.succeeded(principal.username, source)
    if body.new == body.current:
        raise InvalidError("not changed", (FieldFault("new", "is the password you have"),))
    await set_password(hub, principal.username, body.new, path="new", keep_session=credential.token)
    await record(hub, principal, source, note, "ok")
    return Response(status_code=204)


@router.put(
    "/users/{name}/password",
    operation_id="setPassword",
    status_code=204,
    summary="Set somebody's password",
)
async def set_user_password(
    name: Name,
    body: NewPassword,
    hub: HubDep,
    scope: Annotated[Scope, Depends(allow(Verb.UPDATE, "users"))],
) -> Response:
    """Set the password of a user; all of the user's sessions end."""
    await hub.store.get(User, "", name)
    await set_password(hub, name, body.password, path="password")
    note = AuditNote("update", "Password", name=name)
    await record(hub, scope.principal, scope.actor.source, note, "ok")
    return Response(status_code=204)


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
    """Make a key that acts with your rights. The token is shown once, now."""
    now = hub.clock.now()
    if principal.credential.startswith("apikey:"):
        raise ForbiddenError("an API key cannot make API keys: log in with your password")
    expires_at = body.expires_at
    if body.days is not None:
        if expires_at is not None:
            raise InvalidError(
                "the key would have two ends", (FieldFault("days", "give days or expiresAt"),)
            )
        expires_at = now + timedelta(days=body.days)
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise InvalidError(
            "the key would be of no use",
            (FieldFault("expiresAt", "must lie in the future and name its time zone"),),
        )
    token = new_token(TokenKind.API_KEY)
    async with hub.store.transaction():
        keys = await access.list_api_keys(hub.store, principal.username)
        if len(keys) >= MAX_KEYS:
            raise ConflictError(f"you have {MAX_KEYS} API keys: revoke one first")
        await access.add_api_key(
            hub.store,
            id_=token.id,
            name=body.name,
            user=principal.username,
            hash_=hash_secret(token.text),
            expires_at=expires_at,
        )
        note = AuditNote("create", "APIKey", name=f"{body.name} ({token.id})")
        await record(hub, principal, source_of(request), note, "ok")
    return CreatedAPIKey(
        id=token.id,
        name=body.name,
        username=principal.username,
        created_at=now,
        expires_at=expires_at,
        key=token.text,
    )


@router.get(
    "/apikeys",
    operation_id="listAPIKeys",
    response_model_exclude_none=True,
    summary="List your API keys",
)
async def list_api_keys(hub: HubDep, principal: PrincipalDep) -> APIKeyList:
    """List your own keys; their secrets cannot be read back."""
    keys = await access.list_api_keys(hub.store, principal.username)
    return APIKeyList(
        items=[
            APIKey(
                id=key.id,
                name=key.name,
                username=key.user,
                created_at=key.created_at,
                expires_at=key.expires_at,
                last_used_at=key.last_used_at,
            )
            for key in keys
        ]
    )


@router.delete(
    "/apikeys/{id}", operation_id="revokeAPIKey", status_code=204, summary="Revoke a key of yours"
)
async def revoke_api_key(
    id_: Annotated[str, Path(alias="id", max_length=64)],
    hub: HubDep,
    principal: PrincipalDep,
    request: Request,
) -> Response:
    """Revoke one of your keys at once."""
    await access.delete_api_key(hub.store, id_, user=principal.username)
    note = AuditNote("delete", "APIKey", name=id_)
    await record(hub, principal, source_of(request), note, "ok")
    return Response(status_code=204)


async def set_password(
    hub: Hub, username: str, password: str, *, path: str, keep_session: str | None = None
) -> None:
    """Store a password that is good enough and end the user's other sessions."""
    check_password(password, username=username, path=path)
    digest = await to_thread.run_sync(hash_password, password, limiter=hub.password_slots)
    keep = hash_secret(keep_session) if keep_session else None
    async with hub.store.transaction():
        await access.set_password_hash(hub.store, username, digest)
        await access.end_sessions(hub.store, username, but=keep)
    file = hub.settings.initial_password_file
    if username == "admin" and file is not None and file.exists():
        file.unlink()
        log.info("the set-up password was changed, its file is removed", file=str(file))


async def _verify(hub: Hub, username: str, password: str) -> bool:
    stored = await access.find_password_hash(hub.store, username)
    verdict = await to_thread.run_sync(
        verify_password, password, stored, limiter=hub.password_slots
    )
    if verdict.new_hash is not None:
        await access.set_password_hash(hub.store, username, verdict.new_hash)
    return verdict.ok
