"""An external load balancer for the tests: ``balance.py LISTEN PORT TARGET…``.

Forwards each connection to the first target whose port 6443 takes it, as a load balancer that
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


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: list[str]
) -> None:
    for target in targets:
        try:
            async with asyncio.timeout(0.3):
                there, to = await asyncio.open_connection(target, API_PORT)
        except OSError:
            continue
        await asyncio.gather(_copy(reader, to), _copy(there, writer))
        return
    writer.close()


async def main(listen: str, port: str, *targets: str) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(
        lambda reader, writer: _forward(reader, writer, list(targets)), listen, int(port)
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
