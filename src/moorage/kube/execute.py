"""Run a command in a container through the API server (``pods/exec`` over a WebSocket)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import anyio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from moorage.kit.errors import UnavailableError
from moorage.kube.transport import Transport, error_of, segment

_PROTOCOLS = (Subprotocol("v5.channel.k8s.io"), Subprotocol("v4.channel.k8s.io"))
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_MAX_OUTPUT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


async def execute(
    transport: Transport,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    *,
    timeout_s: float = 15.0,
) -> Executed:
    """Run a command and return its output and exit code, whatever the code is.

    Raises ``UnavailableError`` when it could not be run or did not end in time.
    """
    query = urlencode(
        [("command", word) for word in command]
        + [("container", container), ("stdout", "true"), ("stderr", "true")]
    )
    path = f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/exec"
    address = transport.server.replace("https://", "wss://", 1)
    what = f"run {command[0]} in pod {namespace}/{pod} at {transport.server}"
    streams = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    try:
        with anyio.fail_after(timeout_s):
            async with connect(
                f"{address}{path}?{query}",
                ssl=transport.tls,
                subprotocols=_PROTOCOLS,
                compression=None,
                proxy=None,
                open_timeout=None,
                max_size=_MAX_OUTPUT_BYTES,
                user_agent_header="moorage",
            ) as socket:
                async for frame in socket:
                    _take(frame, streams)
    except TimeoutError as error:
        raise UnavailableError(f"{what}: it did not end within {timeout_s:g} s") from error
    except InvalidStatus as error:
        body = (error.response.body or b"").decode("utf-8", "replace")
        raise error_of(what, error.response.status_code, body) from error
    except (InvalidHandshake, WebSocketException, OSError) as error:
        raise UnavailableError(f"{what}: {error}") from error
    return Executed(
        code=_exit_code(what, bytes(streams[_STATUS])),
        stdout=streams[_STDOUT].decode("utf-8", "replace"),
        stderr=streams[_STDERR].decode("utf-8", "replace"),
    )


def _take(frame: str | bytes, streams: dict[int, bytearray]) -> None:
    """Add a frame to its stream: its first byte is the number of the channel."""
    if isinstance(frame, bytes) and frame:
        stream = streams.get(frame[0])
        if stream is not None and len(stream) < _MAX_OUTPUT_BYTES:
            stream += frame[1:]


def _exit_code(what: str, status: bytes) -> int:
    try:
        document = json.loads(status)
        if document["status"] == "Success":
            return 0
        for cause in (document.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        message = document.get("message", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnavailableError(f"{what}: the connection ended before the command did") from error
    raise UnavailableError(f"{what}: {message}")
