"""Intents go down, statuses and derived resources come up, and nothing echoes."""

from pathlib import Path

import anyio
import pytest

from moorage.resources import CloudAccount, Gateway, IPPool, Machine, Metadata
from moorage.resources.account import CloudAccountSpec
from moorage.resources.meta import GATEWAY_FINALIZER

from .world import a_machine, a_pool, a_world, until


async def test_intents_made_before_and_after_the_connection_arrive(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        early = await world.hub.store.create(a_pool("early"))
        async with world.running(world.link()):
            copy = await world.at_gateway(early)
            late = await world.hub.store.create(a_pool("late"))
            await world.at_gateway(late)

    assert copy.metadata.uid == early.metadata.uid
    assert copy.metadata.finalizers == [GATEWAY_FINALIZER]
    assert copy.spec == early.spec


async def test_what_is_routed_elsewhere_stays_at_the_hub(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, world.running(world.link()):
        await world.hub.store.create(a_pool("theirs", gateway="gw2"))
        mine = await world.hub.store.create(a_pool("mine"))
        await world.at_gateway(mine)

        assert await world.gateway_store.find(IPPool, "", "theirs") is None
        assert await world.gateway_store.list(Gateway) == []


async def test_a_changed_spec_arrives_and_leaves_the_status_alone(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, world.running(world.link()) as link:
        pool = await world.hub.store.create(a_pool())
        copy = await world.at_gateway(pool)
        copy.status.total = 11
        await world.gateway_store.put_status(copy)
        await world.in_step(link)
        pool.spec.end = a_pool(end="10.0.0.30").spec.end
        changed = await world.hub.store.put_spec(pool)

        copy = await world.at_gateway(changed)

        assert copy.metadata.generation == 2
        assert str(copy.spec.end) == "10.0.0.30"
        assert copy.status.total == 11
        stored = await world.hub.store.get(IPPool, "", "pool-1")
        assert stored.status.total == 11


async def test_derived_resources_are_mirrored_with_their_deletion(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, world.running(world.link()) as link:
        machine = await world.gateway_store.create(a_machine())
        machine.status.vm = "vm-42"
        await world.gateway_store.put_status(machine)
        await world.in_step(link)

        mirror = await world.hub.store.get(Machine, "default", "m-1")
        assert mirror.metadata.uid == machine.metadata.uid
        assert mirror.metadata.route == "gw1"
        assert mirror.status.vm == "vm-42"

        await world.gateway_store.delete(machine)
        await world.in_step(link)
        assert await world.hub.store.find(Machine, "default", "m-1") is None


async def test_deletion_goes_down_and_ends_when_the_gateway_lets_go(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, world.running(world.link()) as link:
        pool = await world.hub.store.create(a_pool())
        await world.at_gateway(pool)
        await world.hub.store.request_deletion(IPPool, "", "pool-1")

        async def deleting() -> IPPool | None:
            found = await world.gateway_store.get(IPPool, "", "pool-1")
            return found if found.is_deleting else None

        copy = await until(world.gateway_store, deleting)
        await world.in_step(link)
        assert await world.hub.store.find(IPPool, "", "pool-1") is not None, "not let go yet"

        await world.gateway_store.remove_finalizer(copy, GATEWAY_FINALIZER)

        await world.gone(world.hub.store, pool)
        await world.gone(world.gateway_store, pool)


async def test_a_name_may_be_used_again_while_the_gateway_is_away(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        first = await world.hub.store.create(an_account(finalizers=[]))
        async with world.running(world.link()):
            await world.at_gateway(first)
        await world.hub.store.delete(first)
        second = await world.hub.store.create(an_account(finalizers=[]))
        async with world.running(world.link()):
            copy = await world.at_gateway(second)

    assert copy.metadata.uid == second.metadata.uid != first.metadata.uid


async def test_deletion_by_force_at_the_hub_still_lets_the_gateway_tear_down(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world, world.running(world.link()):
        pool = await world.hub.store.create(a_pool())
        await world.at_gateway(pool)
        await world.hub.store.delete(pool)

        async def deleting() -> IPPool | None:
            found = await world.gateway_store.get(IPPool, "", "pool-1")
            return found if found.is_deleting else None

        copy = await until(world.gateway_store, deleting)
        assert copy.metadata.finalizers == [GATEWAY_FINALIZER]
        await world.gateway_store.remove_finalizer(copy, GATEWAY_FINALIZER)
        await world.gone(world.gateway_store, pool)


async def test_nothing_echoes(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, world.running(world.link()) as link:
        pool = await world.hub.store.create(a_pool())
        copy = await world.at_gateway(pool)
        copy.status.total = 5
        await world.gateway_store.put_status(copy)
        await world.gateway_store.create(a_machine())
        await world.in_step(link)
        marker = await world.hub.store.create(a_pool("marker"))
        await world.at_gateway(marker)
        await world.in_step(link)
        versions = (await world.hub.store.version(), await world.gateway_store.version())
        seen = [kind for kind in world.hub.messages if kind not in {"ack", "ping", "pong"}]

        with anyio.move_on_after(1):
            async with (
                world.hub.store.watch() as at_hub,
                world.gateway_store.watch() as at_gateway,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(anext, at_hub)
                tasks.start_soon(anext, at_gateway)

        assert (await world.hub.store.version(), await world.gateway_store.version()) == versions
        assert sorted(seen) == ["hello", "put", "status"]


async def test_a_long_backlog_streams_through(tmp_path: Path) -> None:
    backlog = 1_000
    async with a_world(tmp_path) as world:
        async with world.gateway_store.transaction() as store:
            for number in range(backlog):
                await store.create(a_machine(f"m-{number}"))
        async with world.running(world.link()) as link:
            with anyio.fail_after(90):
                await link.wait_acknowledged(await world.gateway_store.version())

        assert await world.hub.store.count(Machine) == backlog


@pytest.mark.parametrize("sizes", [200])
async def test_both_ends_with_much_to_say_do_not_block_each_other(
    tmp_path: Path, sizes: int
) -> None:
    big = {f"k{number}": "x" * 63 for number in range(100)}
    async with a_world(tmp_path) as world:
        async with world.hub.store.transaction() as store:
            for number in range(sizes):
                await store.create(an_account(f"a-{number}", labels=big))
        async with world.gateway_store.transaction() as store:
            for number in range(sizes):
                machine = a_machine(f"m-{number}")
                machine.metadata.labels = big
                await store.create(machine)
        async with world.running(world.link()) as link:
            await world.in_step(link)
            last = await world.hub.store.get(CloudAccount, "", f"a-{sizes - 1}")
            await world.at_gateway(last)

        assert len(await world.gateway_store.list(CloudAccount)) == sizes


def an_account(name: str = "vc", **meta: object) -> CloudAccount:
    return CloudAccount(
        metadata=Metadata(name=name, route="gw1", **meta),
        spec=CloudAccountSpec(gateway="gw1", server="vc.test", username="u", secret="s"),
    )
