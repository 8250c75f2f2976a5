"""Who asks, and may they? ``allow(verb, kind)`` stands on every route that needs an answer."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from moorage.auth import Decision, Principal, TokenKind, Verb, decide, hash_secret, parse_token
from moorage.auth.rbac import KINDS, PROJECT_KINDS, WRITE
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.credentials import COOKIE, Credential, credential_of
from moorage.hub.rules.base import project_of
from moorage.hub.writes import Actor
from moorage.kit.errors import (
    FieldFault,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StorageFullError,
    UnauthenticatedError,
)
from moorage.resources import User
from moorage.resources.meta import Name
from moorage.store import access

_BEARER = HTTPBearer(
    auto_error=False,
    description="Session token from /v1/login, or an API key.",
    scheme_name="token",
)
_COOKIE = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description="Session of a browser; writes need the header `X-CSRF-Token` too.",
    scheme_name="cookie",
)
_TOUCH_EVERY = timedelta(minutes=5)
"""How exact `lastUsedAt` of an API key is: a write for each request would be too many."""
_LOOPBACK = ("127.0.0.1", "::1")


def get_hub(request: Request) -> Hub:
    """Return what the application was made with."""
    hub: Hub = request.app.state.hub
    return hub


HubDep = Annotated[Hub, Depends(get_hub)]


def source_of(request: Request) -> str:
    """Return the client's address (uvicorn has looked at trusted proxies' headers)."""
    return request.client.host if request.client else ""


async def authenticate(hub: Hub, token: str) -> Principal:
    """Find who holds a token; raises ``UnauthenticatedError``, the same for every fault."""
    refusal = UnauthenticatedError("the token is not valid or has expired: log in again")
    parsed = parse_token(token)
    if parsed is None:
        raise refusal
    username = await _holder(hub, parsed.kind, hash_secret(token))
    user = await hub.store.find(User, "", username) if username else None
    if user is None or user.spec.disabled:
        raise refusal
    kind = "session" if parsed.kind is TokenKind.SESSION else "apikey"
    return Principal(user.metadata.name, tuple(user.spec.grants), f"{kind}:{parsed.id}")


async def _holder(hub: Hub, kind: TokenKind, digest: str) -> str | None:
    if kind is TokenKind.SESSION:
        session = await access.find_session(hub.store, digest)
        return session.user if session else None
    key = await access.find_api_key(hub.store, digest)
    if key is None:
        return None
    now = hub.clock.now()
    if key.last_used_at is None or abs(now - key.last_used_at) > _TOUCH_EVERY:
        with suppress(StorageFullError):  # who only reads is let in with a full disk too
            await access.touch_api_key(hub.store, key.id)
    return key.user


async def current_credential(request: Request) -> Credential:
    """Return what the request shows; raises ``UnauthenticatedError``, ``ForbiddenError``."""
    found = credential_of(request)
    if found is None:
        raise UnauthenticatedError("log in first: send a token as `Authorization: Bearer …`")
    return found


CredentialDep = Annotated[Credential, Depends(current_credential)]


async def current_principal(
    hub: HubDep,
    credential: CredentialDep,
    _bearer: Annotated[object, Depends(_BEARER)],  # these two only tell OpenAPI
    _cookie: Annotated[object, Depends(_COOKIE)],
) -> Principal:
    """Return who asks; raises ``UnauthenticatedError``."""
    return await authenticate(hub, credential.token)


PrincipalDep = Annotated[Principal, Depends(current_principal)]


@dataclass(frozen=True, slots=True)
class Scope:
    """The answer to ``allow``: who, where, in which project, with what right."""

    actor: Actor
    verb: Verb
    kind: str

    @property
    def project(self) -> str:
        """Project of the path; empty for hub-wide kinds."""
        return self.actor.project

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.actor.principal


class _Guard:
    """A dependency that tests can recognise on a route."""

    def __init__(self, verb: Verb, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind} has no rule in auth.rbac")
        self.verb, self.kind = verb, kind

    async def _decide(
        self, hub: Hub, request: Request, principal: Principal, project: str, name: str
    ) -> Scope:
        actor = Actor(principal, source_of(request), project)
        subject = name if self.kind == "projects" else project
        decision = decide(principal, self.verb, self.kind, subject)
        if decision is Decision.ALLOWED:
            if project:
                await project_of(hub.store, project)
            return Scope(actor, self.verb, self.kind)
        if self.verb in WRITE:
            note = AuditNote(self.verb, self.kind, project, name)
            await record(hub, principal, actor.source, note, decision)
        if decision is Decision.FORBIDDEN:
            where = f" in project {project}" if project else ""
            raise ForbiddenError(f"{principal.username} may not {self.verb} {self.kind}{where}")
        if project and self.kind in PROJECT_KINDS:
            raise NotFoundError(f"there is no project {project}, or you may not see it")
        raise NotFoundError("there is nothing here, or you may not see it")


class HubGuard(_Guard):
    """For hub-wide kinds."""

    async def __call__(self, hub: HubDep, request: Request, principal: PrincipalDep) -> Scope:
        """Decide; raises what becomes 401, 403 or 404."""
        name = str(request.path_params.get("name", ""))
        return await self._decide(hub, request, principal, "", name)


class ProjectGuard(_Guard):
    """For kinds inside a project: a project that one may not see looks like none."""

    async def __call__(
        self, hub: HubDep, request: Request, principal: PrincipalDep, project: Name
    ) -> Scope:
        """Decide; raises what becomes 401, 403 or 404."""
        name = str(request.path_params.get("name", ""))
        return await self._decide(hub, request, principal, project, name)


def allow(verb: Verb, kind: str) -> HubGuard | ProjectGuard:
    """Return the guard of a route: who may do ``verb`` to ``kind`` (the plural of the path)."""
    return ProjectGuard(verb, kind) if kind in PROJECT_KINDS else HubGuard(verb, kind)


async def metrics_guard(request: Request, hub: HubDep) -> None:
    """Let the machine itself read metrics, and whoever may read them hub-wide."""
    if source_of(request) in _LOOPBACK and "x-forwarded-for" not in request.headers:
        return
    credential = credential_of(request)
    if credential is None:
        raise UnauthenticatedError("metrics need a token, except from the hub's own machine")
    principal = await authenticate(hub, credential.token)
    if decide(principal, Verb.GET, "metrics") is not Decision.ALLOWED:
        raise ForbiddenError(f"{principal.username} may not get metrics")


def if_match(
    value: Annotated[
        str | None,
        Header(alias="If-Match", description="ETag that the change is based on.", max_length=64),
    ] = None,
) -> int | None:
    """Read ``If-Match``: a version, or ``None`` for any."""
    if value is None or value.strip() == "*":
        return None
    text = value.strip().removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - 64 bits
        raise InvalidError(
            "If-Match cannot be read",
            (FieldFault("If-Match", f'{value!r} is not an ETag of this hub, such as "42"'),),
        )
    return int(text)


IfMatch = Annotated[int | None, Depends(if_match)]
DryRun = Annotated[
    bool,
    Query(
        alias="dryRun",
        description="Validate and admit only: nothing is stored, the answer is as if it were.",
    ),
]
