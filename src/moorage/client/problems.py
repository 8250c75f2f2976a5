"""RFC 9457 problems from the hub, back into our errors."""

import ssl
from http import HTTPStatus

import httpx2

from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    MoorageError,
    NotFoundError,
    StorageFullError,
    UnauthenticatedError,
    UnavailableError,
)


class ExpiredError(MoorageError):
    """The history that was asked for is no longer kept: list again, and watch from there."""


class Problem(Exception):  # noqa: N818 - as RFC 9457 calls it
    """What the hub answered, as the cause of the error that was raised: see ``problem_of``."""

    def __init__(
        self, status: int, type_: str, faults: tuple[FieldFault, ...], retry_after_s: float | None
    ) -> None:
        super().__init__(f"HTTP {status} {type_}".strip())
        self.status = status
        """HTTP status."""
        self.type = type_
        """Such as ``/problems/conflict``: stable, for programs. Empty: it was not the hub."""
        self.faults = faults
        """Every faulty field, with its path."""
        self.retry_after_s = retry_after_s
        """When to come back, if the hub said so."""


def problem_of(error: MoorageError) -> Problem | None:
    """Return the hub's answer behind an error; ``None``: there was no answer."""
    return error.__cause__ if isinstance(error.__cause__, Problem) else None


class ChangedError(ConflictError):
    """Somebody has written to the resource since it was read: read it again."""


class SecondFactorError(UnauthenticatedError):
    """The password is right; the code of the user's authenticator app is needed too."""


_BY_STATUS: dict[int, type[MoorageError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    412: ChangedError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
    507: StorageFullError,
}


def raise_for(response: httpx2.Response, tried: str) -> None:
    """Raise the error that a response stands for; return when it is a success.

    ``tried`` begins the message, such as ``PUT /v1/… at https://hub``, where the hub's answer
    does not explain itself.
    """
    if response.is_success:
        return
    try:
        body = response.json()
        detail, type_ = str(body["detail"]), str(body.get("type"))
        faults = tuple(
            FieldFault(str(f["path"]), str(f["message"])) for f in body.get("faults", ())
        )
    except (ValueError, KeyError, TypeError):
        detail = f"{tried} was answered with HTTP {response.status_code}, not by Moorage's hub"
        type_, faults = "", ()
    wait = response.headers.get("retry-after", "")
    problem = Problem(
        response.status_code, type_, faults, float(wait) if wait.isdecimal() else None
    )
    if type_ == "/problems/second-factor":
        raise SecondFactorError(detail) from problem
    if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise InvalidError(detail, faults) from problem
    raise _BY_STATUS.get(response.status_code, MoorageError)(detail) from problem


def untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return what was wrong with the server's certificate, if that is why a call failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
