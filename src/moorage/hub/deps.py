"""Who asks, and may they? Each route that needs an answer takes ``ScopeDep``."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import Depends, Header, Query, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from moorage.auth import (
    OPERATIONS,
    Decision,
    Need,
    Principal,
    Reach,
    TokenKind,
    decide,
    decide_object,
    hash_secret,
    needs_labels,
    parse_token,
)
from moorage.auth.catalogue import is_read
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.credentials import COOKIE, Credential, credential_of
from moorage.hub.directory import Directory
from moorage.hub.problems import TooManyRequestsError
from moorage.hub.rules.base import project_of
from moorage.hub.sight import labels_of
from moorage.hub.writes import Actor
from moorage.kit.errors import (
    FieldFault,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StorageFullError,
    UnauthenticatedError,
)
from moorage.resources.access import Grant
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
"""How exact `lastUsedAt` and `lastSeenAt` are: a write for each request would be too many."""
_NOTHING = "there is nothing here, or you may not see it"
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
    find = _session_holder if parsed.kind is TokenKind.SESSION else _key_holder
    held = await find(hub, hash_secret(token))
    directory = await hub.store.view(Directory)
    user = directory.users.get(held.user) if held else None
    if held is None or user is None or user.disabled:
        raise refusal
    kind = "session" if parsed.kind is TokenKind.SESSION else "apikey"
    bounds = None if held.bounds is None else tuple(directory.convey(held.bounds))
    return Principal(user.name, directory.rights_of(user.name), f"{kind}:{parsed.id}", bounds)


class _Held(NamedTuple):
    user: str
    bounds: list[Grant] | None = None


async def _session_holder(hub: Hub, digest: str) -> _Held | None:
    session = await access.find_session(hub.store, digest)
    if session is None:
        return None
    if _is_long_ago(hub, session.last_seen_at):
        with suppress(StorageFullError):
            await access.touch_session(hub.store, digest)
    return _Held(session.user)


async def _key_holder(hub: Hub, digest: str) -> _Held | None:
    key = await access.find_api_key(hub.store, digest)
    if key is None:
        return None
    if key.last_used_at is None or _is_long_ago(hub, key.last_used_at):
        with suppress(StorageFullError):  # who only reads is let in with a full disk too
            await access.touch_api_key(hub.store, key.id)
    return _Held(key.user, key.grants())


def _is_long_ago(hub: Hub, moment: datetime) -> bool:
    return abs(hub.clock.now() - moment) > _TOUCH_EVERY


async def current_credential(request: Request) -> Credential:
    """Return what the request shows; raises ``UnauthenticatedError``, ``ForbiddenError``."""
    found = credential_of(request)
    if found is None:
        raise UnauthenticatedError("log in first: send a token as `Authorization: Bearer …`")
    return found


CredentialDep = Annotated[Credential, Depends(current_credential)]


async def current_principal(
    request: Request,
    hub: HubDep,
    credential: CredentialDep,
    _bearer: Annotated[object, Depends(_BEARER)],  # these two only tell OpenAPI
    _cookie: Annotated[object, Depends(_COOKIE)],
) -> Principal:
    """Return who asks; raises ``UnauthenticatedError``, ``TooManyRequestsError``."""
    principal = await authenticate(hub, credential.token)
    by_key = principal.credential.startswith("apikey:")
    left = hub.quota.take(principal.credential if by_key else principal.username)
    request.state.quota = left  # ``middleware`` tells of it
    if left is not None and left.wait_s:
        raise TooManyRequestsError(
            f"{principal.username} has asked {left.limit} times within a minute", left.wait_s
        )
    return principal


PrincipalDep = Annotated[Principal, Depends(current_principal)]


@dataclass(frozen=True, slots=True)
class Scope:
    """That the caller may: who, where, in which project, how far."""

    actor: Actor
    need: Need

    @property
    def project(self) -> str:
        """Project of the path; empty for hub-wide kinds."""
        return self.actor.project

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.actor.principal

    @property
    def reach(self) -> Reach:
        """Which clusters, and parts of them, the permission reaches here."""
        return self.principal.reach(self.need.permission, self.project)

    def require(self, permission: str, labels: Mapping[str, str] | None = None) -> None:
        """Raise ``ForbiddenError`` unless another permission is there too.

        Args:
            permission: Such as ``clusters.create``.
            labels: Of the cluster that it is about; ``None``: it is not there yet.
        """
        if not self.principal.may(permission, self.project, labels):
            raise forbidden(self.principal, permission, self.project)


async def authorise(hub: HubDep, request: Request, principal: PrincipalDep) -> Scope:
    """Ask the one table (``auth.catalogue``) whether the caller may; raises 401, 403 or 404.

    An operation that is not in the table is refused to everybody.
    """
    operation = getattr(request.scope.get("route"), "operation_id", "")
    need = OPERATIONS.get(str(operation))
    if need is None:
        raise NotFoundError(_NOTHING)
    named = str(request.path_params.get("name", ""))
    project = str(request.path_params.get("project", ""))
    actor = Actor(principal, source_of(request), project)
    where = named if need.of == "projects" else project
    decision, missing = await _decide(hub, principal, need, where, named)
    if decision is Decision.ALLOWED:
        if project:
            await project_of(hub.store, project)
        return Scope(actor, need)
    resource, _, verb = need.permission.partition(".")
    if not is_read(need.permission):
        note = AuditNote(verb, resource, project, named)
        await record(hub, principal, actor.source, note, decision)
    if decision is Decision.FORBIDDEN:
        raise forbidden(principal, need.permission, project)
    if missing and principal.sees_project(project):
        raise NotFoundError(missing)
    if project:
        raise NotFoundError(f"there is no project {project}, or you may not see it")
    raise NotFoundError(_NOTHING)


ScopeDep = Annotated[Scope, Depends(authorise)]


async def in_project(project: Name) -> str:
    """Check the project's name in the path, and tell OpenAPI of it; for routers of projects."""
    return project


async def _decide(
    hub: Hub, principal: Principal, need: Need, project: str, named: str
) -> tuple[Decision, str]:
    """Return the decision, and how a missing object of that name would be told."""
    permission = need.permission
    if need.in_body:
        reach = principal.reach(permission, project)
        if not reach.is_nothing:
            return Decision.ALLOWED, ""  # the rules of the kind compare the labels
        return decide(principal, permission, project), ""
    if not need.of or need.of == "projects":
        return decide(principal, permission, project), ""
    if need.may_create and principal.may(need.may_create, project):
        return Decision.ALLOWED, ""  # the handler knows whether it is there
    if not needs_labels(principal, permission, project):
        return decide_object(principal, permission, project, None), ""
    labels, missing = await labels_of(hub.store, need.of, project, named)
    return decide_object(principal, permission, project, labels), missing


def forbidden(principal: Principal, permission: str, project: str) -> ForbiddenError:
    """Say who may not do what where."""
    resource, _, verb = permission.partition(".")
    where = f" in project {project}" if project else ""
    return ForbiddenError(
        f"{principal.username} may not {verb} {resource}{where}: the permission {permission} is "
        "missing (`moorage roles mine` shows yours)"
    )


async def metrics_guard(request: Request, hub: HubDep) -> None:
    """Let the machine itself read metrics, and whoever may read them hub-wide."""
    if source_of(request) in _LOOPBACK and "x-forwarded-for" not in request.headers:
        return
    credential = credential_of(request)
    if credential is None:
        raise UnauthenticatedError("metrics need a token, except from the hub's own machine")
    principal = await authenticate(hub, credential.token)
    if not principal.may("metrics.get"):
        raise forbidden(principal, "metrics.get", "")


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
