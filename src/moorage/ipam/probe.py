"""Does anything answer at an address? Without special rights, so it proves presence only."""

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from moorage.resources.spans import V4, V6, Address

PORTS = (22, 443, 6443, 10250)
PATIENCE_S = 1.0

_ECHO = {
    V4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    V6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}
"""IP version -> family, protocol, and the types of request and reply."""


async def who_answers(
    address: Address, *, ports: tuple[int, ...] = PORTS, patience_s: float = PATIENCE_S
) -> str | None:
    """Return what answered at an address, in words, or ``None`` after ``patience_s``.

    A refused connection is an answer too: somebody refused it. Silence proves nothing.
    """
    answers: list[str] = []

    async with anyio.create_task_group() as tasks:

        async def ask(question: Callable[[], Awaitable[str | None]]) -> None:
            with suppress(OSError):  # no way there, which is no answer
                if answer := await question():
                    answers.append(answer)
                    tasks.cancel_scope.cancel()

        tasks.cancel_scope.deadline = anyio.current_time() + patience_s
        tasks.start_soon(ask, lambda: _ping(address))
        for port in ports:
            tasks.start_soon(ask, lambda port=port: _connect(address, port))
    return f"a machine that {answers[0]}" if answers else None


async def _connect(address: Address, port: int) -> str | None:
    try:
        stream = await anyio.connect_tcp(str(address), port)
    except OSError as error:
        refused = isinstance(error.__cause__ or error, ConnectionRefusedError)
        return f"refuses TCP port {port}" if refused else None
    await stream.aclose()
    return f"answers at TCP port {port}"


async def _ping(address: Address) -> str | None:
    """Send one ICMP echo request from a socket that needs no right, where the system has those."""
    family, protocol, request, reply = _ECHO[address.version]
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as asking:
        asking.setblocking(False)
        asking.connect((str(address), 0))
        asking.send(struct.pack("!BBHHH", request, 0, 0, 0, 1) + os.urandom(8))
        await anyio.wait_readable(asking)
        kind = asking.recv(64)[0]
    return "answers a ping" if kind == reply else None
