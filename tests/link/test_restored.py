"""A hub or a gateway comes back from an older backup, or with nothing at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import anyio

from moorage.link.server import LinkServer
from moorage.resources import IPPool, Machine

from .test_connection import gateway_status
from .world import World, a_machine, a_pool, a_world, open_stores, until


async def _restart_hub_as(world: World, incarnation: str) -> None:
    await world.stop_hub()
    world.hub.settings = replace(world.hub.settings, incarnation=incarnation)
    world.hub.server = LinkServer(world.hub.store, world.hub.settings)


async def _conflict(world: World, name: str) -> str:
    async def look() -> str | None:
        found = await world.gateway_store.find(IPPool, "", name)
        claim = found.status.condition("IntentConflict") if found else None
        return claim.message if claim else None

    return await until(world.gateway_store, look)


async def test_a_hub_restored_from_a_backup_does_not_undo_newer_intents(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        hub, gateway = world.hub.store, world.gateway_store
        link = world.link()
        async with world.running(link):
            pool = await hub.create(a_pool())
            await world.at_gateway(pool)
            older = pool.copy_deep()
            pool.spec.end = a_pool(end="10.0.0.30").spec.end
            newer = await hub.put_spec(pool)
            await world.at_gateway(newer)
            lost = await hub.create(a_pool("lost"))
            await world.at_gateway(lost)
            await world.in_step(link)

            await _restart_hub_as(world, "life-2")
            await hub.put_mirror(older)  # as it was before
            await hub.delete(lost)
            await world.start_hub()

            message = await _conflict(world, "pool-1")
            assert "generation 1, older than generation 2" in message
            kept = await gateway.get(IPPool, "", "pool-1")
            assert str(kept.spec.end) == "10.0.0.30"

            async def told() -> IPPool | None:
                found = await hub.get(IPPool, "", "pool-1")
                return found if found.status.is_true("IntentConflict") else None

            shown = await until(hub, told)

            # The administrator decides: two changes at the hub, newer than all.
            for end in ("10.0.0.40", "10.0.0.50"):
                shown.spec.end = a_pool(end=end).spec.end
                shown = await hub.put_spec(shown)
            decided = await world.at_gateway(shown)
            assert decided.metadata.generation == 3

            async def settled() -> IPPool | None:
                found = await gateway.get(IPPool, "", "pool-1")
                return found if found.status.condition("IntentConflict") is None else None

            assert str((await until(gateway, settled)).spec.end) == "10.0.0.50"


async def test_equal_generations_with_different_specs_conflict(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        hub = world.hub.store
        async with world.running(world.link()):
            pool = await hub.create(a_pool())
            await world.at_gateway(pool)
            other = (await hub.get(IPPool, "", "pool-1")).copy_deep()
            other.spec.end = a_pool(end="10.0.0.99").spec.end
            await _restart_hub_as(world, "life-2")
            await hub.put_mirror(other)
            await world.start_hub()
            assert "generation 1 differs" in await _conflict(world, "pool-1")


async def test_a_deletion_in_progress_survives_a_restored_hub(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        hub = world.hub.store
        async with world.running(world.link()):
            pool = await hub.create(a_pool())
            await world.at_gateway(pool)
            deleting = await hub.request_deletion(IPPool, "", "pool-1")
            assert deleting is not None

            async def seen() -> bool | None:
                found = await world.gateway_store.get(IPPool, "", "pool-1")
                return found.is_deleting or None

            await until(world.gateway_store, seen)
            await _restart_hub_as(world, "life-2")
            await hub.put_mirror(pool)
            await world.start_hub()
            assert "deletion" in await _conflict(world, "pool-1")
            assert (await world.gateway_store.get(IPPool, "", "pool-1")).is_deleting


async def test_a_restored_hub_is_told_again_what_it_forgot(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        hub = world.hub.store
        link = world.link()
        async with world.running(link):
            machine = await world.gateway_store.create(a_machine())
            await world.in_step(link)
            position = await hub.get_value("link.up.gw1")
            assert position is not None
            await _restart_hub_as(world, "life-2")
            mirror = await hub.find_uid(Machine, machine.metadata.uid)
            assert mirror is not None
            await hub.delete(mirror)
            await hub.set_value("link.up.gw1", position.replace('"sequence": 1', '"sequence": 0'))
            await world.start_hub()

            async def back() -> Machine | None:
                return await hub.find_uid(Machine, machine.metadata.uid)

            await until(hub, back)


async def test_a_gateway_that_lost_its_store_gets_back_what_was_mirrored(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        hub = world.hub.store
        async with world.running(world.link()) as link:
            pool = await hub.create(a_pool())
            copy = await world.at_gateway(pool)
            copy.status.total = 3
            await world.gateway_store.put_status(copy)
            machine = await world.gateway_store.create(a_machine())
            machine.status.vm = "vm-7"
            await world.gateway_store.put_status(machine)
            await world.in_step(link)
        await gateway_status(world, connected=False)

        fresh = tmp_path / "fresh"
        fresh.mkdir()
        async with open_stores(fresh) as (_, empty):
            world.gateway_store = empty
            async with world.running(world.link()) as link:
                copy = await world.at_gateway(pool)
                restored = await empty.find_uid(Machine, machine.metadata.uid)
                assert restored is not None, "restored before the first intent"
                assert restored.status.vm == "vm-7"
                assert copy.status.total == 3
                await world.in_step(link)
                await empty.delete(restored)
                await world.in_step(link)
                assert await hub.list(Machine) == []


async def test_a_gateway_restored_from_an_older_backup_starts_a_new_sequence(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        hub = world.hub.store
        old = tmp_path / "old"
        old.mkdir()
        async with world.running(world.link()) as link:
            await world.gateway_store.create(a_machine("before"))
            await world.in_step(link)
        await gateway_status(world, connected=False)
        shutil.copy(tmp_path / "gateway.db", old / "gateway.db")
        shutil.copy(tmp_path / "gateway.db-wal", old / "gateway.db-wal")
        async with world.running(world.link()) as link:
            after = await world.gateway_store.create(a_machine("after"))
            await world.in_step(link)
        await gateway_status(world, connected=False)

        async with open_stores(old) as (_, restored):
            world.gateway_store = restored
            link = world.link()
            async with world.running(link):

                async def back() -> Machine | None:
                    return await restored.find_uid(Machine, after.metadata.uid)

                await until(restored, back)
                with anyio.fail_after(20):
                    await world.in_step(link)
                new = await restored.create(a_machine("new"))
                await world.in_step(link)
                assert await hub.find_uid(Machine, new.metadata.uid) is not None
        assert {one.metadata.name for one in await hub.list(Machine)} == {"before", "after", "new"}


async def test_what_was_deleted_is_not_built_again_for_a_restored_hub(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        hub, gateway = world.hub.store, world.gateway_store
        async with world.running(world.link()) as link:
            pool = await hub.create(a_pool())
            copy = await world.at_gateway(pool)
            await hub.request_deletion(IPPool, "", "pool-1")

            async def deleting() -> IPPool | None:
                found = await gateway.get(IPPool, "", "pool-1")
                return found if found.is_deleting else None

            await gateway.remove_finalizer(
                await until(gateway, deleting), copy.metadata.finalizers[0]
            )
            await world.gone(gateway, pool)
            await world.in_step(link)

            await _restart_hub_as(world, "life-2")
            await hub.put_mirror(pool)
            await world.start_hub()

            async def shown() -> IPPool | None:
                found = await hub.get(IPPool, "", "pool-1")
                claim = found.status.condition("IntentConflict")
                return found if claim and claim.reason == "DeletedHere" else None

            await until(hub, shown)
            assert await gateway.list(IPPool) == []

            # The remedy that the message names: delete it there once more.
            await hub.request_deletion(IPPool, "", "pool-1")
            copy = await until(gateway, lambda: gateway.find(IPPool, "", "pool-1"))
            await gateway.remove_finalizer(copy, copy.metadata.finalizers[0])
            await world.gone(hub, pool)
            await world.gone(gateway, pool)
