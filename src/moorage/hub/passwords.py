"""Passwords as the hub asks for them: in a thread, a few at a time, and slowed down."""

from anyio import to_thread

from moorage.auth import Principal, verify_password
from moorage.hub.auditing import AuditNote, record
from moorage.hub.context import Hub
from moorage.hub.problems import TooManyRequestsError
from moorage.kit.errors import FieldFault, InvalidError
from moorage.store import access


async def is_password(hub: Hub, username: str, password: str) -> bool:
    """Tell whether it is the user's password; takes as long for users that there are none of."""
    stored = await access.find_password_hash(hub.store, username)
    verdict = await to_thread.run_sync(
        verify_password, password, stored, limiter=hub.password_slots
    )
    if verdict.new_hash is not None:
        await access.set_password_hash(hub.store, username, verdict.new_hash)
    return verdict.ok


async def check_own_password(hub: Hub, principal: Principal, source: str, password: str) -> None:
    """Raise ``InvalidError`` unless it is the caller's; guessing counts like at the login."""
    name = principal.username
    wait = hub.throttle.retry_after(name, source)
    if wait > 0:
        raise TooManyRequestsError("too many wrong passwords from here: try again later", wait)
    hub.throttle.begin(name, source)
    if not await is_password(hub, name, password):
        await record(hub, principal, source, AuditNote("update", "Password", name=name), "refused")
        raise InvalidError("wrong password", (FieldFault("current", "is not your password"),))
    hub.throttle.succeeded(name, source)
