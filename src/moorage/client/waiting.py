"""Stay until something is so."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from moorage.kit.errors import NotFoundError, TerminalError, UnavailableError
from moorage.resources import Resource
from moorage.resources.phase import HOPELESS, READY, phase

if TYPE_CHECKING:
    from moorage.client.api import Api

R = TypeVar("R", bound=Resource)

_LOOK_S = 1.0


class WaitedTooLongError(UnavailableError):
    """It was not so in time. It may become so later."""


def is_ready(resource: Resource) -> bool:
    """Tell whether a resource is what its newest spec asks for.

    Raises ``TerminalError`` when waiting cannot get it there; ``reason`` says why.
    """
    ready = resource.status.condition("Ready")
    if ready is None or ready.observed_generation < resource.metadata.generation:
        return False
    if ready.status != "True" and ready.reason in HOPELESS:
        raise TerminalError(ready.reason, f"{resource}: {ready.message}")
    return phase(resource) == READY


async def wait_until(
    api: "Api",
    kind: type[R],
    name: str,
    is_so: Callable[[R], bool],
    *,
    project: str,
    timeout_s: float,
) -> R:
    """Return the resource once ``is_so`` of it; raises ``WaitedTooLongError``."""
    end = time.monotonic() + timeout_s
    while True:
        found = await api.get(kind, name, project=project)
        if is_so(found):
            return found
        if time.monotonic() >= end:
            raise WaitedTooLongError(
                f"{found} is {phase(found)} after {timeout_s:g} s{_what_it_says(found)}"
            )
        await anyio.sleep(_LOOK_S)


async def wait_gone(
    api: "Api", kind: type[Resource], name: str, *, project: str, timeout_s: float
) -> None:
    """Return once there is no such resource; raises ``WaitedTooLongError``."""

    def never(_: Resource) -> bool:
        return False

    try:
        await wait_until(api, kind, name, never, project=project, timeout_s=timeout_s)
    except NotFoundError:
        return


def _what_it_says(resource: Resource) -> str:
    ready = resource.status.condition("Ready")
    return f": {ready.message}" if ready is not None and ready.message else ""
