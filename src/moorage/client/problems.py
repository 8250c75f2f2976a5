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


class ChangedError(ConflictError):
    """Somebody has written to the resource since it was read: read it again."""


class SecondFactorError(UnauthenticatedError):
    """The password is right; the code of the user's authenticator app is needed too."""


_BY_STATUS: dict[int, type[MoorageError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
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
    if type_ == "/problems/second-factor":
        raise SecondFactorError(detail)
    if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise InvalidError(detail, faults)
    raise _BY_STATUS.get(response.status_code, MoorageError)(detail)


def untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return what was wrong with the server's certificate, if that is why a call failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
