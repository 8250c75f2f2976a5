"""An account whose vCenter may be looked at, and nothing else."""

from typing import Any

from moorage.resources import CloudAccount, Cluster, Machine
from tests.builders import a_cluster, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on, reason

EFFECTS = ("CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "ReconfigVM_Task")


def effects(world: World) -> dict[str, int]:
    calls = world.vcenter.control.counters()["calls"]
    return {name: count for name, count in calls.items() if name in EFFECTS}


def all_wait(machines: list[Machine]) -> bool:
    return bool(machines) and {reason(one) for one in machines} == {"AccountReadOnly"}


async def set_read_only(world: World, account: CloudAccount, **more: Any) -> None:
    found = await world.store.get(CloudAccount, *account.key)
    found.spec.read_only = more["read_only"]
    await world.ask(found)


async def test_nothing_is_changed_while_an_account_is_read_only(world: World) -> None:
    account = await world.ask_account(read_only=True)
    await world.ask(an_ip_pool())
    cluster: Cluster = await world.ask_cluster(a_cluster(control_plane={"replicas": 3}))

    await world.until(Machine, all_wait, "creations wait")
    found = await world.store.get(CloudAccount, *account.key)
    assert found.status.is_true("InventorySynced"), "what is only looked at goes on"
    assert effects(world) == {}

    await set_read_only(world, account, read_only=False)
    await world.until(Machine, powered_on(3), "it is made as soon as it may be")

    await set_read_only(world, account, read_only=True)
    await world.until(
        CloudAccount,
        lambda found: found[0].status.observed_generation == found[0].metadata.generation,
        "the gateway has heard of it",
    )
    before = effects(world)
    await world.delete(cluster)
    await world.until(Machine, all_wait, "deletions wait too")
    assert effects(world) == before
    assert len(world.vms()) == 3

    await set_read_only(world, account, read_only=False)
    await world.until(Machine, lambda found: found == [], "then they are deleted")
    assert world.vms() == []
