"""Log in and out, and what everybody may ask and change about themselves."""

import re
from datetime import datetime
from typing import Annotated, Literal

import structlog
from anyio import to_thread
from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.auth import (
    Principal,
    TokenKind,
    check_password,
    csrf_token,
    hash_password,
    hash_secret,
    new_token,
)
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.credentials import forget_cookie, refuse_foreign, set_cookie
from moorage.hub.deps import CredentialDep, HubDep, PrincipalDep, ScopeDep, source_of
from moorage.hub.directory import Directory
from moorage.hub.factor import check_second_factor
from moorage.hub.passwords import check_own_password, is_password
from moorage.hub.problems import Problem, TooManyRequestsError
from moorage.hub.routes.apikeys import by_person
from moorage.hub.routes.rights import HeldGrant, held_grants
from moorage.hub.rules.people import cover
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import (
    FieldFault,
    InvalidError,
    MoorageError,
    UnauthenticatedError,
)
from moorage.resources import User
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
_AGENT = 256
"""Characters kept of what a client calls itself."""


class Login(Model):
    """A user's name and password."""

    username: Annotated[str, Field(max_length=256)]
    password: Password
    code: Annotated[str, Field(max_length=32)] | None = None
    """Of an authenticator app, or a recovery code, for those who have a second factor.

    Without it the answer to the right password is 401 with the type `/problems/second-factor`.
    """
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
    grants: list[HeldGrant]
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


class SessionEntry(Model):
    """A session, without its token."""

    id: str
    username: str
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    """Within five minutes."""
    source: str
    """Address that it was opened from."""
    agent: str
    """What the browser or program calls itself."""
    method: str
    """How its user proved who he is: `password`, or `oidc`."""
    current: bool = False
    """It is the one that asks."""


class SessionList(Model):
    """Sessions of one user, the newest first."""

    kind: Literal["SessionList"] = "SessionList"
    items: list[SessionEntry]


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
    ok = await is_password(hub, body.username, body.password)
    if not ok or user is None or user.spec.disabled:
        await record(hub, None, source, note, "refused")
        raise UnauthenticatedError("user name or password is wrong")
    hub.throttle.succeeded(body.username, source)
    try:
        await check_second_factor(hub, body.username, body.code)
    except MoorageError as error:
        await record(hub, None, source, note, type(error).__name__)
        raise
    token = new_token(TokenKind.SESSION)
    expires_at = hub.clock.now() + hub.settings.session_lifetime
    await access.add_session(
        hub.store,
        id_hash=hash_secret(token.text),
        user=user.metadata.name,
        expires_at=expires_at,
        id_=token.id,
        source=source,
        agent=request.headers.get("user-agent", "")[:_AGENT],
        method="password",
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
    directory = await hub.store.view(Directory)
    return WhoAmI(
        username=principal.username,
        display_name=directory.users[principal.username].display_name,
        grants=held_grants(principal.rights),
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
    by_person(principal)
    source = source_of(request)
    await check_own_password(hub, principal, source, body.current)
    note = AuditNote("update", "Password", name=principal.username)
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
    scope: ScopeDep,
) -> Response:
    """Set the password of a user; all of the user's sessions end."""
    user = await hub.store.get(User, "", name)
    directory = await hub.store.view(Directory)
    # Whoever knows the password has these rights.
    cover(scope.principal, [*directory.rights_if(name, user.spec.grants)], user)
    await set_password(hub, name, body.password, path="password")
    note = AuditNote("update", "Password", name=name)
    await record(hub, scope.principal, scope.actor.source, note, "ok")
    return Response(status_code=204)


@router.get("/sessions", operation_id="listSessions", summary="List your sessions")
async def list_sessions(hub: HubDep, principal: PrincipalDep) -> SessionList:
    """List where you are logged in."""
    return await _sessions(hub, principal.username, principal)


@router.delete(
    "/sessions/{id}", operation_id="endSession", status_code=204, summary="End a session of yours"
)
async def end_session(
    id_: Annotated[str, Path(alias="id", max_length=64)],
    hub: HubDep,
    principal: PrincipalDep,
    request: Request,
) -> Response:
    """End one of your sessions at once."""
    by_person(principal)
    await access.end_session_of(hub.store, principal.username, id_)
    note = AuditNote("delete", "Session", name=f"{principal.username}/{id_}")
    await record(hub, principal, source_of(request), note, "ok")
    return Response(status_code=204)


@router.get(
    "/users/{name}/sessions", operation_id="listUserSessions", summary="List somebody's sessions"
)
async def list_user_sessions(name: Name, hub: HubDep, scope: ScopeDep) -> SessionList:
    """List where a user is logged in."""
    await hub.store.get(User, "", name)
    return await _sessions(hub, name, scope.principal)


@router.delete(
    "/users/{name}/sessions",
    operation_id="endUserSessions",
    status_code=204,
    summary="End all sessions of somebody",
)
async def end_user_sessions(name: Name, hub: HubDep, scope: ScopeDep) -> Response:
    """Log a user out everywhere; API keys stay."""
    await hub.store.get(User, "", name)
    await access.end_sessions(hub.store, name)
    note = AuditNote("delete", "Session", name=f"{name}/*")
    await record(hub, scope.principal, scope.actor.source, note, "ok")
    return Response(status_code=204)


async def _sessions(hub: Hub, user: str, asking: Principal) -> SessionList:
    return SessionList(
        items=[
            SessionEntry(
                id=one.id,
                username=one.user,
                created_at=one.created_at,
                expires_at=one.expires_at,
                last_seen_at=one.last_seen_at,
                source=one.source,
                agent=one.agent,
                method=one.method,
                current=asking.credential == f"session:{one.id}",
            )
            for one in await access.list_sessions(hub.store, user)
        ]
    )


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
