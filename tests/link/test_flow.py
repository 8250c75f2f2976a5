"""Limits on what is under way, peers that do not listen, and peers of other releases."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect

from moorage.kit.clock import SystemClock
from moorage.kit.identity import PrivateIdentity
from moorage.link.frames import (
    Ack,
    Challenge,
    Frame,
    Hello,
    Mark,
    Put,
    Restored,
    Welcome,
    decode,
    encode,
    hello_statement,
)
from moorage.link.session import WINDOW
from moorage.resources import CloudAccount, IPPool, Machine

from .test_connection import gateway_status
from .test_replication import an_account
from .world import World, a_gateway, a_machine, a_pool, a_world, until

BIG = {f"k{number}": "x" * 63 for number in range(100)}


class RawGateway:
    """Speaks the protocol by hand, as badly as a test wants."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.frames: list[Frame] = []

    async def next_message(self) -> list[Frame]:
        found = decode(await self._connection.recv(decode=True))
        self.frames.extend(found)
        return found

    async def send(self, *frames: Frame) -> None:
        await self._connection.send(encode(frames))


@asynccontextmanager
async def raw_gateway(
    world: World,
    name: str,
    identity: PrivateIdentity,
    *,
    kinds: Sequence[str] = ("IPPool", "CloudAccount"),
    since: int = 0,
) -> AsyncIterator[RawGateway]:
    url = f"ws://127.0.0.1:{world.hub.port}/v1/link"
    async with connect(
        url, proxy=None, max_queue=1, compression=None, close_timeout=0.2
    ) as connection:
        raw = RawGateway(connection)
        (challenge,) = await raw.next_message()
        assert isinstance(challenge, Challenge)
        signature = identity.sign(hello_statement(challenge, name, "raw"))
        hello = Hello(
            gateway=name,
            signature=signature,
            version="0",
            store="raw",
            capabilities=[f"kind:{kind}" for kind in kinds],
            since=since,
            incarnation="life-1",
            restored=since > 0,
        )
        await raw.send(hello)
        (welcome,) = await raw.next_message()
        assert isinstance(welcome, Welcome)
        if since == 0:
            (restored,) = await raw.next_message()
            assert isinstance(restored, Restored)
        yield raw


async def _fill(world: World, gateway: str, number: int) -> None:
    async with world.hub.store.transaction() as store:
        for index in range(number):
            account = an_account(f"{gateway}-{index}", labels=BIG)
            account.metadata.route = gateway
            await store.create(account)


async def test_no_more_is_under_way_than_the_window_allows(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await _fill(world, "gw1", 700)  # some 7 KB each: the window holds half of that
        async with raw_gateway(world, "gw1", world.identity) as raw:
            messages: list[list[Frame]] = []

            async def take_puts() -> None:
                found = [one for one in await raw.next_message() if isinstance(one, Put)]
                if found:
                    messages.append([*found])

            with anyio.fail_after(60):
                while len(messages) < WINDOW:
                    await take_puts()
            with anyio.move_on_after(1):
                while True:
                    await take_puts()
            assert len(messages) == WINDOW
            first = messages[0][-1]
            assert isinstance(first, Put)
            await raw.send(Ack(sequence=first.sequence))
            with anyio.fail_after(10):
                while not any(isinstance(one, Put) for one in await raw.next_message()):
                    pass


async def test_a_gateway_that_does_not_read_holds_up_no_other(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        deaf = PrivateIdentity.generate()
        await world.hub.store.create(a_gateway("gw2", deaf))
        await _fill(world, "gw2", 700)
        async with raw_gateway(world, "gw2", deaf):
            async with world.running(world.link()) as link:
                pool = await world.hub.store.create(a_pool())
                await world.at_gateway(pool)
                await world.gateway_store.create(a_machine())
                await world.in_step(link)
            assert "gw2" in world.hub.server.connected


async def test_a_hub_takes_what_it_refused_once_it_is_newer(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with world.running(world.link()) as link:
            machine = await world.gateway_store.create(a_machine())
            await world.in_step(link)
        await gateway_status(world, connected=False)
        mirror = await world.hub.store.get(Machine, "default", "m-1")
        await world.hub.store.delete(mirror)
        key = "link.up.gw1"
        position = json.loads(await world.hub.store.get_value(key) or "{}")
        position["rejected_by"] = "0.0.9"
        await world.hub.store.set_value(key, json.dumps(position))

        async with world.running(world.link()):

            async def back() -> Machine | None:
                return await world.hub.store.find_uid(Machine, machine.metadata.uid)

            await until(world.hub.store, back)
        position = json.loads(await world.hub.store.get_value(key) or "{}")
        assert position["rejected_by"] == ""


async def test_a_gateway_takes_what_it_refused_once_it_is_newer(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        pool = await world.hub.store.create(a_pool())
        async with world.running(world.link()):
            await world.at_gateway(pool)
        await gateway_status(world, connected=False)
        shown = await world.hub.store.get(IPPool, "", "pool-1")
        shown.status.set_condition("IntentConflict", "True", "Invalid", "", now=SystemClock().now())
        await world.hub.store.put_status(shown)
        await world.gateway_store.delete(await world.gateway_store.get(IPPool, "", "pool-1"))
        position = json.loads(await world.gateway_store.get_value("link.down") or "{}")
        position["rejected_by"] = "0.1.0"
        await world.gateway_store.set_value("link.down", json.dumps(position))

        async with world.running(world.link(version="0.2.0")) as link:
            await world.at_gateway(pool)
            await world.in_step(link)
        shown = await world.hub.store.get(IPPool, "", "pool-1")
        assert shown.status.condition("IntentConflict") is None


@pytest.mark.parametrize("kind", ["Dragon", "IPPool"])
async def test_what_cannot_be_read_is_rejected_and_the_rest_goes_on(
    tmp_path: Path, kind: str
) -> None:
    async with a_world(tmp_path) as world:
        async with raw_gateway(world, "gw1", world.identity) as raw:
            bad = Put(sequence=5, resource={"kind": kind, "metadata": {"name": "n", "uid": "u"}})
            machine = a_machine()
            machine.metadata.uid = "u-1"
            good = Put(sequence=6, resource=machine.document())
            await raw.send(bad, good, Mark(sequence=9))
            with anyio.fail_after(10):
                while not any(isinstance(one, Ack) for one in raw.frames):
                    await raw.next_message()
        acks = [one.sequence for one in raw.frames if isinstance(one, Ack)]
        rejects = [one for one in raw.frames if one.type == "reject"]
        assert acks == [9]
        assert len(rejects) == 1
        assert await world.hub.store.find_uid(Machine, "u-1") is not None


async def test_nobody_elses_resources_reach_a_gateway(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.hub.store.create(a_pool("theirs", gateway="gw2"))
        machine = a_machine()
        machine.metadata.uid, machine.metadata.route = "u-2", "gw2"
        await world.hub.store.put_mirror(machine)
        async with raw_gateway(world, "gw1", world.identity) as raw:
            mine = await world.hub.store.create(a_pool("mine"))
            with anyio.fail_after(10):
                while not any(isinstance(one, Put) for one in raw.frames):
                    await raw.next_message()
        (put,) = [one for one in raw.frames if isinstance(one, Put)]
        assert put.resource["metadata"]["uid"] == mine.metadata.uid
        assert not any(one.type == "restore" for one in raw.frames)


async def test_a_message_beyond_all_limits_ends_the_connection(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with raw_gateway(world, "gw1", world.identity) as raw:
            await gateway_status(world, connected=True)
            await raw.send(Put(sequence=1, resource={"kind": "Machine", "x": "y" * 7_000_000}))
            await gateway_status(world, connected=False)
        assert await world.hub.store.list(CloudAccount) == []


async def test_kinds_that_an_older_gateway_does_not_know_come_after_its_upgrade(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        account = await world.hub.store.create(an_account())
        pool = await world.hub.store.create(a_pool())
        numbers = count()

        async def kinds_sent(kinds: Sequence[str], since: int) -> list[str]:
            async with raw_gateway(world, "gw1", world.identity, kinds=kinds, since=since) as raw:
                marker = await world.hub.store.create(a_pool(f"marker-{next(numbers)}"))
                uids: list[str] = []
                with anyio.fail_after(10):
                    while marker.metadata.uid not in uids:
                        puts = [one for one in await raw.next_message() if isinstance(one, Put)]
                        uids += [one.resource["metadata"]["uid"] for one in puts]
            return uids

        older = await kinds_sent(["IPPool"], 0)
        assert pool.metadata.uid in older
        assert account.metadata.uid not in older
        position = await world.hub.store.version()
        assert account.metadata.uid not in await kinds_sent(["IPPool"], position)
        upgraded = await kinds_sent(["IPPool", "CloudAccount"], position)
        assert account.metadata.uid in upgraded
        assert account.metadata.uid not in await kinds_sent(["IPPool", "CloudAccount"], position)
