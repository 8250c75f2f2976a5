"""The connection breaks after any number of bytes; both stores still end up in step."""

from pathlib import Path

import anyio
import pytest

from moorage.resources import IPPool, Machine
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.store import open_store

from .world import CuttingProxy, World, a_machine, a_pool, a_world, until


async def _life(world: World, port: int) -> None:
    """A pool is made, changed, reported on and deleted, beside machines that come and go."""
    hub, gateway = world.hub.store, world.gateway_store
    link = world.link(port=port)
    async with world.running(link):
        pool = await hub.create(a_pool())
        copy = await world.at_gateway(pool)
        copy.status.total = 11
        await gateway.put_status(copy)
        kept = await gateway.create(a_machine("kept"))
        lost = await gateway.create(a_machine("lost"))
        await world.in_step(link)
        pool.spec.end = a_pool(end="10.0.0.30").spec.end
        await world.at_gateway(await hub.put_spec(pool))
        await gateway.delete(lost)
        await hub.request_deletion(IPPool, "", "pool-1")

        async def deleting() -> IPPool | None:
            found = await gateway.get(IPPool, "", "pool-1")
            return found if found.is_deleting else None

        copy = await until(gateway, deleting)
        assert copy.status.total == 11
        await gateway.remove_finalizer(copy, GATEWAY_FINALIZER)
        await world.gone(hub, pool)
        await world.gone(gateway, pool)
        await world.in_step(link)

    machines = await hub.list(Machine)
    assert [(one.metadata.uid, one.metadata.route) for one in machines] == [
        (kept.metadata.uid, "gw1")
    ]


async def test_a_life_through_a_proxy_that_does_not_cut(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, CuttingProxy(world.hub.port).serve() as proxy:
        await _life(world, proxy.port)

    assert proxy.connections == 1
    assert 1500 < proxy.passed < 40_000, "the cuts of the next test lie inside"


@pytest.mark.parametrize("first", range(150, 5000, 240))
async def test_a_life_with_connections_cut_anywhere(tmp_path: Path, first: int) -> None:
    # The handshakes alone take some 900 bytes, so that early cuts fall into them, later ones into
    # frames and acks; from the fourth connection on nothing is cut.
    async with a_world(tmp_path) as world, CuttingProxy(world.hub.port).serve() as proxy:
        proxy.next_budgets = [first, first + 37, 2 * first]
        with anyio.fail_after(60):
            await _life(world, proxy.port)

    assert proxy.connections >= 2 or proxy.passed <= first


@pytest.mark.postgres
async def test_a_life_with_the_hub_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    async with (
        a_world(tmp_path, hub_url=postgres_url) as world,
        CuttingProxy(world.hub.port).serve() as proxy,
    ):
        proxy.next_budgets = [2500]
        with anyio.fail_after(60):
            await _life(world, proxy.port)


@pytest.mark.postgres
async def test_two_hub_replicas_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """What is asked at one replica reaches the gateway that is connected to the other."""
    async with a_world(tmp_path, hub_url=postgres_url) as world:
        other = await open_store(postgres_url)
        try:
            async with world.running(world.link()) as link:
                pool = await other.create(a_pool())
                copy = await world.at_gateway(pool)
                copy.status.total = 11
                await world.gateway_store.put_status(copy)
                await world.in_step(link)
                assert (await other.get(IPPool, "", "pool-1")).status.total == 11
        finally:
            await other.close()
