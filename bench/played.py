"""A gateway that only plays one: it speaks the link to a hub and makes nothing.

What it tells is as fast as the hub takes it, so that what is measured is the hub alone.
"""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from moorage.gateway.identity import DataDir
from moorage.link.client import STORE_ID
from moorage.link.dial import Dial, GatewayTransport, open_link, receive_first
from moorage.link.frames import (
    PROTOCOL,
    Ack,
    Challenge,
    Frame,
    Hello,
    Ping,
    Pong,
    Put,
    Reject,
    Sequenced,
    StatusOf,
    Welcome,
    decode,
    encode,
    hello_statement,
)
from moorage.resources import KINDS, Cluster, Ownership
from moorage.store import open_store

VERSION = "0.1.0"
BATCH = 100
"""Frames in one message, as the product's own link sends them."""
WINDOW = 8
"""Messages that may be under way."""


@dataclass
class PlayedGateway:
    """Owns one connection; use ``playing``."""

    transport: GatewayTransport
    sequence: int
    """Last one that was sent."""
    acknowledged: int = 0
    put: int = 0
    """Intents that came."""
    rejected: list[str] = field(default_factory=list)
    _heard: anyio.Event = field(default_factory=anyio.Event)

    async def tell(self, clusters: Iterable[Cluster]) -> int:
        """Send the status of clusters; return the sequence of the last one."""
        frames = [
            StatusOf(
                sequence=next_,
                kind="Cluster",
                project=cluster.metadata.project,
                name=cluster.metadata.name,
                uid=cluster.metadata.uid,
                status=cluster.status.model_dump(mode="json", by_alias=True, exclude_none=True),
            )
            for next_, cluster in enumerate(clusters, self.sequence + 1)
        ]
        for batch in _batched(frames):
            under_way = (batch[0].sequence - 1 - self.acknowledged) / BATCH
            while under_way >= WINDOW:
                await self.hear()
                under_way = (batch[0].sequence - 1 - self.acknowledged) / BATCH
            await self.transport.send(encode(batch))
            self.sequence = batch[-1].sequence
        return self.sequence

    async def until_acknowledged(self, sequence: int) -> None:
        """Wait until the hub has stored everything up to there."""
        while self.acknowledged < sequence:
            await self.hear()

    async def hear(self) -> None:
        """Wait for the next message from the hub."""
        self._heard = anyio.Event()
        await self._heard.wait()

    async def listen(self) -> None:
        """Take what the hub sends, until cancelled."""
        while True:
            frames = decode(await self.transport.receive())
            reached = 0
            answers: list[Frame] = []
            for frame in frames:
                match frame:
                    case Ack():
                        self.acknowledged = max(self.acknowledged, frame.sequence)
                    case Ping():
                        answers.append(Pong())
                    case Reject():
                        self.rejected.append(f"{frame.subject}: {frame.reason}: {frame.message}")
                    case Put():
                        self.put += 1
                if isinstance(frame, Sequenced):
                    reached = max(reached, frame.sequence)
            if reached:
                answers.append(Ack(sequence=reached))
            if answers:
                await self.transport.send(encode(answers))
            self._heard.set()


def _batched(frames: list[StatusOf]) -> list[list[StatusOf]]:
    return [frames[at : at + BATCH] for at in range(0, len(frames), BATCH)]


@asynccontextmanager
async def playing(data: Path) -> AsyncIterator[PlayedGateway]:
    """Take the place of the enrolled gateway whose data directory that is; it must not run."""
    directory = DataDir(data)
    record, identity = directory.enrollment(), directory.identity()
    store = await open_store(directory.database_url, mirror=True)
    try:
        store_id = await store.get_value(STORE_ID)
    finally:
        await store.close()
    if not store_id:
        raise SystemExit(f"the gateway of {data} was never linked: nothing to play")
    transport = await open_link(Dial(record.hub, record.trust()), version=VERSION)
    challenge = await receive_first(transport, Challenge)
    statement = hello_statement(challenge, record.gateway, store_id)
    intents = [name for name, kind in KINDS.items() if kind.ownership is Ownership.INTENT]
    hello = Hello(
        gateway=record.gateway,
        signature=identity.sign(statement),
        version=VERSION,
        protocol=PROTOCOL,
        capabilities=[f"kind:{name}" for name in intents],
        store=store_id,
        restored=True,
    )
    await transport.send(encode([hello]))
    welcome = await receive_first(transport, Welcome)
    # Far beyond what the real gateway has counted.
    start = welcome.since + 1_000_000
    gateway = PlayedGateway(transport, start, start)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gateway.listen)
        try:
            yield gateway
        finally:
            tasks.cancel_scope.cancel()
            with suppress(OSError):
                await transport.close()


async def until_quiet(gateway: PlayedGateway, quiet_s: float = 3.0) -> float:
    """Wait until nothing has come for a while; return when the last message came."""
    last, seen = time.monotonic(), -1
    while time.monotonic() - last < quiet_s:
        if gateway.put != seen:
            last, seen = time.monotonic(), gateway.put
        await anyio.sleep(0.05)
    return last
