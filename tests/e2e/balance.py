"""An external load balancer for the tests: ``balance.py LISTEN PORT TARGET…``.

Forwards each connection to the target whose port 6443 takes it first, as a load balancer that
watches its targets does. Run inside the lab's network.
"""

import asyncio
import contextlib
import sys

API_PORT = 6443


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _connect(
    targets: list[str],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Ask all at once: one by one, addresses that nobody has would use the caller's time up."""

    async def one(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            async with asyncio.timeout(1):
                return await asyncio.open_connection(target, API_PORT)
        except OSError:
            return None

    first = None
    tries = [asyncio.create_task(one(target)) for target in targets]
    for answer in asyncio.as_completed(tries):
        first = await answer
        if first is not None:
            break
    for task in tries:
        if not task.cancel() and (other := task.result()) is not None and other is not first:
            other[1].close()
    return first


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: list[str]
) -> None:
    found = await _connect(targets)
    if found is None:
        writer.close()
        return
    there, to = found
    await asyncio.gather(_copy(reader, to), _copy(there, writer))


async def main(listen: str, port: str, *targets: str) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(
        lambda reader, writer: _forward(reader, writer, list(targets)), listen, int(port)
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
