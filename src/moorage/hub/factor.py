"""The second factor at the login, and where else a password alone does not do."""

from moorage.auth import recovery_hash, totp_step
from moorage.hub.context import Hub
from moorage.hub.problems import SecondFactorError, TooManyRequestsError
from moorage.kit.errors import UnauthenticatedError
from moorage.store import totp


async def check_second_factor(hub: Hub, user: str, code: str | None) -> None:
    """Return when the user has no second factor, or the code is right and new.

    Only to be asked once the password was right: who does not know it cannot use up the tries,
    so nobody locks out others. They are counted for the user alone, wherever they come from.

    Raises:
        SecondFactorError: A code is needed, and none was given.
        UnauthenticatedError: It is wrong, or was used before.
        TooManyRequestsError: Too many were wrong.
    """
    found = await totp.find_totp(hub.store, user)
    if found is None or found.confirmed_at is None:
        return
    if not code:
        raise SecondFactorError("the code of your authenticator app is needed too")
    place = f"(codes of {user})"
    wait = hub.throttle.retry_after(user, place)
    if wait > 0:
        raise TooManyRequestsError("too many wrong codes: try again later", wait)
    hub.throttle.begin(user, place)
    text = code.strip().replace(" ", "")
    step = totp_step(found.secret, text, hub.clock.now(), after=found.step)
    if step is not None and await totp.use_step(hub.store, user, step):
        hub.throttle.succeeded(user, place)
        return
    if await totp.use_recovery(hub.store, found, recovery_hash(text)):
        hub.throttle.succeeded(user, place)
        return
    raise UnauthenticatedError("the code is wrong, or was used before: wait for the next one")
