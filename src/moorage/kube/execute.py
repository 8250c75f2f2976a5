"""Run a command in a container through the API server, and hold it to bounds."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from httpx2.websockets import HTTPXWSException
from lightkube import ApiError, AsyncClient

from moorage.kit.errors import UnavailableError
from moorage.kube.transport import segment

_MAX_OUTPUT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class _Output(io.BytesIO):
    """What a node writes is untrusted: a flood of it shall not fill our memory."""

    def write(self, part: object, /) -> int:
        if self.tell() >= _MAX_OUTPUT_BYTES:
            return 0
        return super().write(part)  # type: ignore[arg-type]

    def text(self) -> str:
        return self.getvalue().decode("utf-8", "replace")


async def execute(
    api: AsyncClient,
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
    what = f"run {command[0]} in pod {namespace}/{pod} at {api.config.cluster.server}"
    stdout, stderr = _Output(), _Output()
    try:
        with anyio.fail_after(timeout_s):
            ran = await api.exec(
                segment(pod),
                namespace=segment(namespace),
                container=container,
                command=command,
                stdout=stdout,
                stderr=stderr,
            )
    except TimeoutError as error:
        raise UnavailableError(f"{what}: it did not end within {timeout_s:g} s") from error
    except ApiError as error:
        raise UnavailableError(f"{what}: {error.status.message}") from error
    except (HTTPXWSException, ValueError, IndexError) as error:
        # Closed, or the last frame is none: how the command ended is not known.
        raise UnavailableError(f"{what}: the connection ended before the command did") from error
    return Executed(ran.exit_code, stdout.text(), stderr.text())
