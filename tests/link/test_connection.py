"""Who is let in, who is sent away, and what happens when one side goes and comes back."""

from pathlib import Path

import anyio
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import connect

from moorage.kit.identity import PrivateIdentity
from moorage.link.client import Link
from moorage.link.frames import (
    MAX_HELLO_BYTES,
    Challenge,
    Hello,
    Refuse,
    decode,
    encode,
    hello_statement,
)
from moorage.resources import Gateway, IPPool, Machine

from .world import Hub, World, a_machine, a_pool, a_world, until


async def reason(link: Link, wanted: str) -> str:
    """Wait until the link is down for that reason, and return its message."""
    with anyio.fail_after(20):
        while link.state.reason != wanted:  # noqa: ASYNC110 - the state has no event
            await anyio.sleep(0.01)
    return link.state.message


async def gateway_status(world: World, *, connected: bool) -> Gateway:
    async def look() -> Gateway | None:
        found = await world.hub.store.get(Gateway, "", "gw1")
        return found if found.status.connected is connected else None

    return await until(world.hub.store, look)


async def test_status_says_who_is_connected(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with world.running(world.link(version="0.9.9")):
            gateway = await gateway_status(world, connected=True)
            assert gateway.status.version == "0.9.9"
            assert gateway.status.last_seen_at is not None
            assert gateway.status.enrolled
        gateway = await gateway_status(world, connected=False)
        assert gateway.status.public_key is not None


async def test_another_key_is_refused(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link(identity=PrivateIdentity.generate())
        await world.hub.store.create(a_pool())
        async with world.running(link):
            message = await reason(link, "NotEnrolled")
        assert "enrol it again" in message
        assert await world.gateway_store.list(IPPool) == []
        gateway = await world.hub.store.get(Gateway, "", "gw1")
        assert not gateway.status.connected


async def test_unknown_gateway_gets_the_same_answer_as_a_wrong_key(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.name = "nobody"
        unknown = world.link()
        async with world.running(unknown):
            first = await reason(unknown, "NotEnrolled")
        world.name = "gw1"
        wrong = world.link(identity=PrivateIdentity.generate())
        async with world.running(wrong):
            second = await reason(wrong, "NotEnrolled")
    assert first.replace("nobody", "gw1") == second


async def test_deleting_a_gateway_ends_its_connection_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link()
        async with world.running(link):
            gateway = await gateway_status(world, connected=True)
            await world.hub.store.delete(gateway)
            with anyio.fail_after(3):
                await reason(link, "NotEnrolled")


async def test_enrolling_anew_with_another_key_ends_the_old_connection(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link()
        async with world.running(link):
            gateway = await gateway_status(world, connected=True)
            gateway.status.public_key = PrivateIdentity.generate().public().pem
            await world.hub.store.put_status(gateway)
            with anyio.fail_after(3):
                await reason(link, "NotEnrolled")


async def test_a_hub_of_another_installation_is_not_spoken_to(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link(installation="inst-2")
        async with world.running(link):
            await reason(link, "WrongInstallation")
        assert "hello" not in world.hub.messages


async def test_a_signature_is_good_for_one_connection_only(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        url = f"ws://127.0.0.1:{world.hub.port}/v1/link"
        async with connect(url, proxy=None) as first, connect(url, proxy=None) as second:
            challenge = decode(await first.recv(decode=True))[0]
            assert isinstance(challenge, Challenge)
            signature = world.identity.sign(hello_statement(challenge, "gw1", "store-1"))
            hello = Hello(gateway="gw1", signature=signature, version="0", store="store-1")
            await second.recv()
            await second.send(encode([hello]))
            answer = decode(await second.recv(decode=True))[0]
    assert isinstance(answer, Refuse)
    assert answer.reason == "NotEnrolled"


@pytest.mark.parametrize(
    "message",
    [
        "[]",
        "{}",
        "no json",
        '[{"type": "ping"}]',
        '[{"type": "put", "sequence": 1, "resource": {}}]',
        '[{"type": "hello"}]',
        " " * (MAX_HELLO_BYTES + 1),
    ],
)
async def test_whoever_does_not_say_hello_is_sent_away(tmp_path: Path, message: str) -> None:
    async with a_world(tmp_path) as world:
        url = f"ws://127.0.0.1:{world.hub.port}/v1/link"
        async with connect(url, proxy=None) as stranger:
            await stranger.recv()
            await stranger.send(message)
            answer = decode(await stranger.recv(decode=True))[0]
        assert isinstance(answer, Refuse)
        assert answer.reason == "BadHello"
        assert world.hub.server.connected == frozenset()
        async with world.running(world.link()):
            await gateway_status(world, connected=True)


async def test_another_protocol_is_refused_with_the_remedy(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        url = f"ws://127.0.0.1:{world.hub.port}/v1/link"
        async with connect(url, proxy=None) as newer:
            await newer.recv()
            hello = Hello(gateway="gw1", signature="", version="9.9", store="s", protocol=2)
            await newer.send(encode([hello]))
            answer = decode(await newer.recv(decode=True))[0]
    assert isinstance(answer, Refuse)
    assert answer.reason == "ProtocolMismatch"
    assert "upgrade the older" in answer.message


async def test_a_newer_connection_replaces_the_older(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        older, newer = world.link(), world.link()
        async with world.running(older):
            await gateway_status(world, connected=True)
            async with world.running(newer):
                await reason(older, "Replaced")
                await world.gateway_store.create(a_machine())
                await world.in_step(newer)
                gateway = await world.hub.store.get(Gateway, "", "gw1")
                assert gateway.status.connected
                assert world.hub.server.connected == {"gw1"}


async def test_of_two_hub_replicas_only_the_newer_connection_may_write(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        replica = Hub(world.hub.store, world.hub.settings)
        await world.tasks.start(replica.serve)
        older, newer = world.link(), world.link(port=replica.port)
        async with world.running(older):
            await gateway_status(world, connected=True)
            async with world.running(newer):
                with anyio.fail_after(20):
                    while not replica.server.connected:  # noqa: ASYNC110 - it has no event
                        await anyio.sleep(0.01)
                await world.gateway_store.create(a_machine())
                await reason(older, "Replaced")
                await world.in_step(newer)
            assert [one.metadata.name for one in await world.hub.store.list(Machine)] == ["m-1"]


async def test_work_goes_on_while_the_hub_is_away(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link()
        async with world.running(link):
            pool = await world.hub.store.create(a_pool())
            copy = await world.at_gateway(pool)
            await world.stop_hub()
            copy.status.total = 7
            await world.gateway_store.put_status(copy)
            kept = await world.gateway_store.create(a_machine("kept"))
            lost = await world.gateway_store.create(a_machine("lost"))
            await world.gateway_store.delete(lost)
            later = await world.hub.store.create(a_pool("later"))

            await world.start_hub()
            await world.in_step(link)
            await world.at_gateway(later)

        assert (await world.hub.store.get(IPPool, "", "pool-1")).status.total == 7
        machines = await world.hub.store.list(Machine)
        assert [machine.metadata.uid for machine in machines] == [kept.metadata.uid]


async def test_a_restarted_gateway_goes_on_where_it_was(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        for number in range(3):
            await world.hub.store.create(a_pool(f"p-{number}"))
        async with world.running(world.link()) as link:
            await world.at_gateway(await world.hub.store.get(IPPool, "", "p-2"))
            await world.in_step(link)
        await gateway_status(world, connected=False)
        version = await world.gateway_store.version()
        world.hub.messages.clear()
        late = await world.hub.store.create(a_pool("late"))
        async with world.running(world.link()) as link:
            await world.at_gateway(late)
            await world.in_step(link)

        assert await world.gateway_store.version() == version + 1, "only the late one was written"


async def test_what_needs_no_frame_still_moves_the_position(tmp_path: Path) -> None:
    async with a_world(tmp_path, heartbeat_s=0.2) as world:
        pool = await world.hub.store.create(a_pool())
        async with world.running(world.link()):
            await world.at_gateway(pool)

            async def told() -> bool | None:
                position = await world.hub.store.get_value("link.up.gw1")
                return (position is not None and '"sequence": 1' in position) or None

            await until(world.hub.store, told)
        world.hub.messages.clear()
        async with world.running(world.link()) as link:
            await world.in_step(link)

        assert "status" not in world.hub.messages


async def test_waiting_for_the_hub_ends_when_it_has_stored(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link()
        machine = await world.gateway_store.create(a_machine())
        version = machine.metadata.resource_version
        assert not link.acked(version)
        with anyio.move_on_after(0.05) as too_soon:
            await link.wait_acknowledged(version)
        assert too_soon.cancelled_caught
        async with world.running(link):
            with anyio.fail_after(20):
                await link.wait_acknowledged(version)
            assert await world.hub.store.find_uid(Machine, machine.metadata.uid) is not None


async def test_a_silent_peer_is_given_up(tmp_path: Path) -> None:
    async with a_world(tmp_path, heartbeat_s=0.1) as world:
        url = f"ws://127.0.0.1:{world.hub.port}/v1/link"
        async with connect(url, proxy=None) as mute:
            challenge = decode(await mute.recv(decode=True))[0]
            assert isinstance(challenge, Challenge)
            signature = world.identity.sign(hello_statement(challenge, "gw1", "s"))
            hello = Hello(gateway="gw1", signature=signature, version="0", store="s")
            await mute.send(encode([hello]))
            await gateway_status(world, connected=True)
            await gateway_status(world, connected=False)


async def test_a_stale_gateway_is_swept(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        gateway = await world.hub.store.get(Gateway, "", "gw1")
        gateway.status.connected = True
        await world.hub.store.put_status(gateway)

        await world.hub.server.sweep()
        shown = REGISTRY.get_sample_value("moorage_gateway_connected", {"gateway": "gw1"})
        assert shown == 0

        gateway = await world.hub.store.get(Gateway, "", "gw1")
        assert not gateway.status.connected


async def test_a_stopping_hub_says_so(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        link = world.link()
        async with world.running(link):
            await gateway_status(world, connected=True)
            seen: list[str] = []

            async def note() -> None:
                seen.append(await reason(link, "Stopping"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(note)
                world.hub.server.disconnect_all()
            assert seen == ["the hub is stopping"]
            await gateway_status(world, connected=True)
