"""Errors over HTTP: RFC 9457 problems with a stable ``type`` and every fault at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    MoorageError,
    NotFoundError,
    StorageFullError,
    TerminalError,
    UnauthenticatedError,
    UnavailableError,
)

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    """One fault of one input field."""

    path: str = Field(description="Dotted path of the field, such as `spec.controlPlane.cpus`.")
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem. `type` never changes its meaning."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Relative URI such as `/problems/invalid`.")
    title: str
    status: int
    detail: str
    faults: list[Fault] = Field(default_factory=list)


class PreconditionError(ConflictError):
    """``If-Match`` names another version than the stored one."""


class PlanOutdatedError(ConflictError):
    """The world has moved since a plan was made: plan again."""


class GoneError(MoorageError):
    """The history that was asked for is no longer kept: list again."""


class SecondFactorError(UnauthenticatedError):
    """The password is right, and a code is needed too."""


class TooManyRequestsError(MoorageError):
    """Asked too often; ``retry_after`` says when to come back."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BusyKeyError(ConflictError):
    """A request with the same idempotency key is at work; ``retry_after`` says when to ask."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


_TABLE: tuple[tuple[type[MoorageError], str, HTTPStatus, str], ...] = (
    (PreconditionError, "precondition-failed", HTTPStatus.PRECONDITION_FAILED, "Has changed"),
    (PlanOutdatedError, "plan-outdated", HTTPStatus.CONFLICT, "Plan outdated"),
    (BusyKeyError, "in-progress", HTTPStatus.CONFLICT, "Still at work"),
    (NotFoundError, "not-found", HTTPStatus.NOT_FOUND, "Not found"),
    (ConflictError, "conflict", HTTPStatus.CONFLICT, "Conflict"),
    (InvalidError, "invalid", HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid input"),
    (SecondFactorError, "second-factor", HTTPStatus.UNAUTHORIZED, "Code needed"),
    (UnauthenticatedError, "unauthenticated", HTTPStatus.UNAUTHORIZED, "Not logged in"),
    (ForbiddenError, "forbidden", HTTPStatus.FORBIDDEN, "Not allowed"),
    (TooManyRequestsError, "too-many-requests", HTTPStatus.TOO_MANY_REQUESTS, "Too many requests"),
    (GoneError, "expired", HTTPStatus.GONE, "No longer kept"),
    (StorageFullError, "storage-full", HTTPStatus.INSUFFICIENT_STORAGE, "Disk full"),
    (UnavailableError, "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "Try again later"),
    (TerminalError, "conflict", HTTPStatus.CONFLICT, "Conflict"),
)


_TITLES = {413: "Too large"}  # its phrase is another one in each version of Python


def problem_response(
    name: str,
    status: int,
    title: str,
    detail: str,
    faults: Sequence[FieldFault] = (),
    *,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Make the response of one problem."""
    body: dict[str, Any] = {
        "type": f"/problems/{name}",
        "title": title,
        "status": int(status),
        "detail": detail,
    }
    if faults:
        body["faults"] = [{"path": fault.path, "message": fault.message} for fault in faults]
    return JSONResponse(body, int(status), headers=dict(headers or {}), media_type=MEDIA_TYPE)


def respond(error: MoorageError) -> JSONResponse:
    """Turn one of our errors into its problem."""
    row = next((row for row in _TABLE if isinstance(error, row[0])), None)
    if row is None:
        log.error("an error has no problem type", error=type(error).__name__)
        return internal()
    _, name, status, title = row
    headers: dict[str, str] = {}
    faults: tuple[FieldFault, ...] = ()
    detail = str(error)
    if isinstance(error, InvalidError):
        detail, faults = error.message, error.faults
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = 'Bearer realm="moorage"'
    if isinstance(error, TooManyRequestsError | BusyKeyError):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return problem_response(name, status, title, detail, faults, headers=headers)


def faults_of(errors: Sequence[Mapping[str, Any]], *, root: str = "") -> tuple[FieldFault, ...]:
    """Turn pydantic's errors into ours, with paths such as ``spec.pools[0].cpus``."""
    return tuple(
        FieldFault("(body)", f"is not JSON: {error['ctx']['error']}")
        if error["type"] == "json_invalid"
        else FieldFault(_path(error["loc"], root), _message(error))
        for error in errors
    )


def invalid_from(error: ValidationError, what: str, *, root: str = "") -> InvalidError:
    """Turn a failed validation into an ``InvalidError`` with every fault."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return InvalidError(f"{what} is not valid", faults_of(details, root=root))


def install(app: FastAPI) -> None:
    """Make every error that is raised on purpose a problem; ``middleware`` takes the others."""

    async def on_moorage(_: Request, error: Exception) -> Response:
        assert isinstance(error, MoorageError)  # noqa: S101 - registered for it alone
        return respond(error)

    async def on_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        faults = faults_of(error.errors())
        return respond(InvalidError("the request is not valid", faults))

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        title = _TITLES.get(error.status_code) or HTTPStatus(error.status_code).phrase
        name = title.lower().replace(" ", "-")
        return problem_response(
            name, error.status_code, title, str(error.detail), headers=error.headers
        )

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        MoorageError: on_moorage,
        RequestValidationError: on_validation,
        HTTPException: on_http,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def internal() -> JSONResponse:
    """Say that something went wrong, but not what."""
    return problem_response(
        "internal",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Internal error",
        "the hub failed at this request; its log says why",
    )


def _path(loc: Sequence[str | int], root: str) -> str:
    parts = list(loc)
    if parts and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:]
    text = root
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "[" in part or "(" in part:  # a validator's or union's name, not a field
            continue
        else:
            text += f".{part}" if text else part
    return text or "(body)"


def _message(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"] == "missing":
        return "is required"
    return message[:1].lower() + message[1:]
