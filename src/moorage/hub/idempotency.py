"""``Idempotency-Key``: a POST that is repeated gives its first answer, and does nothing twice.

A key belongs to the user and to one request (method, address and body) for 24 hours. What was
refused changed nothing, so it may be tried again with the same key.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable

import anyio
from starlette.requests import Request
from starlette.responses import Response

from moorage.hub.auditing import CLAIM
from moorage.hub.credentials import credential_of
from moorage.hub.deps import authenticate, get_hub
from moorage.hub.problems import BusyKeyError
from moorage.kit.errors import ConflictError, FieldFault, InvalidError
from moorage.store import idempotency
from moorage.store.idempotency import Claim, Kept

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
DESCRIPTION = (
    "1 to 255 visible characters of your own, such as a UUID. For 24 hours the same request with "
    "the same key gives the first answer again and does nothing twice; another request with it "
    "is refused (422), and so is one while the first is still at work (409)."
)
WITHOUT = frozenset(
    {
        *("login", "logout", "enrollGateway", "createEnrolmentToken", "beginSecondFactor"),
        *("createAPIKey", "createServiceAccountAPIKey", "confirmSecondFactor"),
    }
)
"""Operations that answer with a secret, which is not kept, or whose caller is not known yet."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def once(request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
    """Carry a request out by ``handler``, unless it was before; raises for what is refused."""
    hub = get_hub(request)
    key = request.headers[HEADER]
    if not _KEY.fullmatch(key):
        raise _invalid("must have 1 to 255 visible characters of ASCII")
    if getattr(request.scope.get("route"), "operation_id", "") in WITHOUT:
        raise _invalid("is not known to this operation, whose answer is not kept: leave it out")
    credential = credential_of(request)
    if credential is None:
        return await handler(request)  # which tells that nobody asks
    caller = await authenticate(hub, credential.token)
    claim = Claim(caller.username, hashlib.sha256(key.encode()).hexdigest())
    digest = await _digest(request)
    kept = await idempotency.begin(hub.store, claim, digest)
    if kept is not None:
        return _again(kept, digest)
    token = CLAIM.set(claim)
    try:
        response = await handler(request)
        if not 200 <= response.status_code < 300:  # noqa: PLR2004
            await idempotency.forget(hub.store, claim)
            return response
    except BaseException:
        with anyio.CancelScope(shield=True):
            await idempotency.forget(hub.store, claim)
        raise
    finally:
        CLAIM.reset(token)
    answer = bytes(response.body).decode()
    etag = response.headers.get("ETag")
    await idempotency.keep(hub.store, claim, response.status_code, etag, answer)
    return response


def _again(kept: Kept, digest: str) -> Response:
    if kept.digest != digest:
        raise _invalid("was used for another request: take a new one for each")
    if kept.status is not None:
        headers = {REPLAYED: "true"} | ({"ETag": kept.etag} if kept.etag else {})
        return Response(kept.answer, kept.status, headers=headers, media_type="application/json")
    if kept.is_lost:
        raise ConflictError(
            "the request with this Idempotency-Key was carried out, but its answer was lost: read "
            "what is there"
        )
    raise BusyKeyError("the request with this Idempotency-Key is still at work: ask again", 1.0)


async def _digest(request: Request) -> str:
    digest = hashlib.sha256()
    for part in (request.method, request.url.path, request.url.query):
        digest.update(f"{part}\0".encode())
    digest.update(await request.body())
    return digest.hexdigest()


def _invalid(why: str) -> InvalidError:
    return InvalidError(f"{HEADER} cannot be used", (FieldFault(HEADER, why),))
