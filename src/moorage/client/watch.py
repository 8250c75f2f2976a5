"""Follow changes by server-sent events; a broken connection is taken up where it broke."""

import json
from collections.abc import AsyncIterator
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import httpx2

from moorage.client.problems import raise_for
from moorage.kit.errors import UnavailableError
from moorage.resources import Resource

R = TypeVar("R", bound=Resource)


class WatchEvent(NamedTuple, Generic[R]):
    """One change. ``BOOKMARK`` events carry no resource and only move the position."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: R


async def events(
    http: httpx2.AsyncClient, path: str, kind: type[R], params: dict[str, Any]
) -> AsyncIterator[WatchEvent[R]]:
    """Yield changes until the hub closes the stream or the connection breaks.

    Raises ``UnavailableError`` when it breaks: list again and watch from there.
    """
    try:
        async with http.stream(
            "GET", path, params={"watch": "true", **params}, timeout=httpx2.Timeout(10, read=90)
        ) as response:
            if not response.is_success:
                await response.aread()
                raise_for(response, f"watching {path}")
            data: list[str] = []
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    data.append(line[5:].lstrip())
                elif not line and data:
                    document = json.loads("\n".join(data))
                    data.clear()
                    if document["type"] in ("ADDED", "MODIFIED", "DELETED"):
                        yield WatchEvent(document["type"], kind.model_validate(document["object"]))
    except httpx2.TransportError as error:
        raise UnavailableError(f"the watch on {path} broke: {error or type(error).__name__}") from (
            error
        )
