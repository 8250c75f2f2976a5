"""Follow changes by server-sent events; a broken stream is taken up at its last bookmark."""

import json
from collections.abc import AsyncIterator
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import httpx2

from moorage.client.problems import raise_for
from moorage.kit.errors import UnavailableError
from moorage.resources import Metadata, Resource

R = TypeVar("R", bound=Resource)


class WatchEvent(NamedTuple, Generic[R]):
    """One change, or a bookmark, which only says how far the stream has come."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    metadata: Metadata | None = None
    """Of what changed; all that is left of something ``DELETED``."""
    resource: R | None = None
    """What was added or modified, as it is now."""
    position: int = 0
    """Of a ``BOOKMARK``: watch again from here (``since``) and nothing is missed."""


async def events(
    http: httpx2.AsyncClient, path: str, kind: type[R], params: dict[str, Any]
) -> AsyncIterator[WatchEvent[R]]:
    """Yield changes until the hub closes the stream or the connection breaks.

    Raises ``UnavailableError`` when it breaks: watch again from the last bookmark. When the hub
    no longer has that history it answers with an error: then watch from the beginning.
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
                    yield _event(json.loads("\n".join(data)), kind)
                    data.clear()
    except httpx2.TransportError as error:
        raise UnavailableError(f"the watch on {path} broke: {error or type(error).__name__}") from (
            error
        )


def _event(document: dict[str, Any], kind: type[R]) -> WatchEvent[R]:
    match document["type"]:
        case "BOOKMARK":
            return WatchEvent(
                "BOOKMARK", position=int(document["object"]["metadata"]["resourceVersion"])
            )
        case "DELETED":
            metadata = Metadata.model_validate(document["object"]["metadata"])
            return WatchEvent("DELETED", metadata)
        case shown:
            resource = kind.model_validate(document["object"])
            return WatchEvent(shown, resource.metadata, resource)
