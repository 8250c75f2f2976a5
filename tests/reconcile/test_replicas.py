"""Machines beside their template's datastore: linked clones of one replica, made once."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from moorage.resources import CloudAccount, Cluster, Machine, NodePool, TemplateReplica
from moorage.resources.replica import LABEL_REPLICA
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import delete_all, powered_on, reason

TEMPLATE = "/dc1/vm/templates/ubuntu-2404-kube-v1.34.4"


async def ask_on_ds2(world: World, *, workers: int = 2, **changes: Any) -> Cluster:
    """Ask for a cluster whose one failure domain is not where the template lies."""
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.99"))
    placement = a_cluster().spec.placement.model_copy(
        update={"failure_domains": [a_failure_domain("a", datastore="ds2")]}
    )
    cluster: Cluster = await world.ask_cluster(
        a_cluster(placement=placement.model_dump(), **changes)
    )
    await ask_pool(world, cluster, workers)
    return cluster


async def ask_pool(world: World, cluster: Cluster, workers: int, pool: str = "workers") -> NodePool:
    wanted = a_node_pool(pool=pool, replicas=workers)
    wanted.metadata.owner = cluster.owner()
    return await world.ask(wanted)


def ready(count: int) -> Any:
    return lambda found: len(found) == count and all(r.status.is_true("Ready") for r in found)


def gone(found: list[Any]) -> bool:
    return not found


def replicas_in_vcenter(world: World) -> list[dict[str, Any]]:
    """Return the templates in the clusters' folder."""
    every = world.vcenter.control.inventory()["vms"]
    return [vm for vm in every if vm["template"] and "/clusters/" in vm["path"]]


def parents(world: World) -> Counter[str]:
    """Return on how many machines each VM's disks have something hanging; ``""``: on none."""
    return Counter(
        (disk.get("parent") or "").rpartition("/")[0].rpartition(" ")[2]
        for vm in world.vms()
        for disk in vm["disks"]
    )


async def test_machines_on_another_datastore_hang_on_one_replica(world: World) -> None:
    await ask_on_ds2(world)

    machines = await world.until(Machine, powered_on(3), "three machines are powered on")

    (replica,) = await world.until(TemplateReplica, ready(1), "the replica is ready")
    (vm,) = replicas_in_vcenter(world)
    assert vm["name"] == replica.metadata.name
    assert vm["instanceUuid"] == replica.metadata.uid
    assert vm["disks"][0]["file"].startswith("[ds2] ")
    assert {m.metadata.labels[LABEL_REPLICA] for m in machines} == {replica.metadata.name}
    assert parents(world) == {vm["name"]: 3}
    assert replica.status.size_bytes
    (account,) = await world.store.list(CloudAccount)
    assert account.status.templates == ["templates/ubuntu-2404-kube-v1.34.4"]


async def test_fifty_machines_wait_for_one_replica(world: World) -> None:
    control = world.vcenter.control
    before = len(control.ledger().of_kind("VirtualMachine"))
    control.fault("CloneVM_Task", "fail", fault="ResourceInUse", count=-1)
    await ask_on_ds2(world, workers=50)

    def all_wait(machines: list[Machine]) -> bool:
        return len(machines) == 51 and all(
            reason(one) == "WaitingForTemplateReplica" for one in machines
        )

    waiting = await world.until(Machine, all_wait, "51 machines wait for the replica")
    control.clear_faults()
    await world.until(Machine, powered_on(51), "51 machines are powered on")

    (replica,) = await world.store.list(TemplateReplica)
    assert len(control.ledger().of_kind("VirtualMachine")) - before == 51 + 1
    assert parents(world) == {replica.metadata.name: 51}
    said = waiting[0].status.condition("Ready").message
    assert replica.metadata.name in said
    assert "ds2" in said


@pytest.mark.parametrize("action", ["dropAnswer", "dieBefore", "fail"])
@pytest.mark.parametrize("method", ["CloneVM_Task", "CreateSnapshot_Task", "MarkAsTemplate"])
async def test_whatever_is_lost_one_replica_is_made(method: str, action: str, world: World) -> None:
    fault = "TaskInProgress" if action == "fail" else ""
    world.vcenter.control.fault(method, action, fault=fault)
    await ask_on_ds2(world)

    await world.until(Machine, powered_on(3), "three machines are powered on")

    assert len(replicas_in_vcenter(world)) == 1
    assert len(await world.store.list(TemplateReplica)) == 1
    assert set(parents(world)) == {replicas_in_vcenter(world)[0]["name"]}


@pytest.mark.parametrize("milestone", ["CloneStarted", "Cloned", "SnapshotTaken", "Ready"])
async def test_a_gateway_that_ends_goes_on_with_the_same_replica(
    milestone: str, world: World
) -> None:
    tasks = ("CloneVM_Task", "CreateSnapshot_Task")
    world.vcenter.control.set_limits(taskSeconds=dict.fromkeys(tasks, 0.5))
    await ask_on_ds2(world)
    await world.until(
        TemplateReplica, lambda r: any(milestone in one.status.timeline for one in r), milestone
    )

    await world.stop()
    await world.start()

    await world.until(Machine, powered_on(3), "three machines are powered on")
    (replica,) = await world.store.list(TemplateReplica)
    assert [vm["name"] for vm in replicas_in_vcenter(world)] == [replica.metadata.name]
    assert parents(world) == {replica.metadata.name: 3}


async def test_a_replica_is_known_again_after_the_store_was_lost(world: World) -> None:
    cluster = await ask_on_ds2(world, workers=1)
    (replica,) = await world.until(TemplateReplica, ready(1), "the replica is ready")
    await delete_all(world, cluster)
    await world.stop()
    world.database.unlink()
    await world.start()

    await ask_on_ds2(world, workers=1)

    await world.until(Machine, powered_on(2), "two machines are powered on")
    (again,) = await world.store.list(TemplateReplica)
    assert again.key == replica.key
    assert again.metadata.uid == replica.metadata.uid
    assert len(replicas_in_vcenter(world)) == 1


async def test_an_unused_replica_goes_with_the_last_machine_that_needed_it(world: World) -> None:
    before = world.vcenter.control.inventory()
    world.replica_idle = timedelta(0)
    await world.stop()
    await world.start()
    cluster = await ask_on_ds2(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")
    assert len(await world.store.list(TemplateReplica)) == 1

    await delete_all(world, cluster)

    await world.until(TemplateReplica, gone, "the replica is gone")
    assert world.vcenter.control.inventory() == before


async def test_a_replica_stays_while_a_strangers_disk_hangs_on_it(world: World) -> None:
    cluster = await ask_on_ds2(world, workers=0)
    await world.until(Machine, powered_on(1), "the machine is powered on")
    (replica,) = await world.until(TemplateReplica, ready(1), "the replica is ready")
    world.link_foreign_vm(f"/dc1/vm/clusters/{replica.metadata.name}", "theirs")
    await delete_all(world, cluster)

    await world.store.request_deletion(TemplateReplica, *replica.key)

    def held(found: list[TemplateReplica]) -> bool:
        return any(reason(one) == "DiskChainInUse" for one in found)

    (said,) = await world.until(TemplateReplica, held, "the reason is said")
    condition = said.status.condition("Ready")
    assert condition is not None
    assert "theirs" in condition.message
    assert len(replicas_in_vcenter(world)) == 1


async def test_a_replica_that_was_deleted_in_vcenter_is_made_anew(world: World) -> None:
    cluster = await ask_on_ds2(world, workers=0)
    await world.until(Machine, powered_on(1), "the machine is powered on")
    (first,) = await world.until(TemplateReplica, ready(1), "the replica is ready")
    await delete_all(world, cluster)
    world.destroy_foreign_vm(first.metadata.name)

    cluster = await ask_on_ds2(world, workers=1)

    await world.until(Machine, powered_on(2), "two machines are powered on")
    (vm,) = replicas_in_vcenter(world)
    assert vm["instanceUuid"] != first.metadata.uid
    assert parents(world) == {vm["name"]: 2}


async def test_a_template_that_was_changed_gets_another_replica(world: World) -> None:
    cluster = await ask_on_ds2(world, workers=0)
    await world.until(Machine, powered_on(1), "the machine is powered on")
    (first,) = await world.until(TemplateReplica, ready(1), "the replica is ready")

    world.change_template(TEMPLATE)
    await world.stop()  # what is known of a template is believed for a minute
    await world.start()
    await ask_pool(world, cluster, 1)

    await world.until(Machine, powered_on(2), "two machines are powered on")
    replicas = await world.store.list(TemplateReplica)
    assert len({one.spec.digest for one in replicas}) == 2
    assert parents(world) == {one.metadata.name: 1 for one in replicas}
    assert first.key in {one.key for one in replicas}


async def test_a_replica_on_a_host_that_is_gone_is_replaced(world: World) -> None:
    cluster = await ask_on_ds2(world, workers=0)
    await world.until(Machine, powered_on(1), "the machine is powered on")
    (first,) = await world.until(TemplateReplica, ready(1), "the replica is ready")
    (vm,) = replicas_in_vcenter(world)
    (source,) = (
        one["host"]
        for one in world.vcenter.control.inventory()["vms"]
        if one["template"] and one["name"] != first.metadata.name
    )
    if vm["host"] == source:
        pytest.skip("vCenter put both on one host: then nothing can be cloned")
    host = vm["host"].rpartition("/")[2]
    world.vcenter.control.set_host(f"/dc1/host/cc1/{host}", "disconnected")

    await ask_pool(world, cluster, 1)

    await world.until(TemplateReplica, ready(2), "there is another replica")
    await world.until(Machine, powered_on(2), "both machines are powered on")
    assert len(parents(world)) == 2


async def test_an_account_that_is_deleted_takes_its_replicas_away(world: World) -> None:
    before = world.vcenter.control.inventory()
    cluster = await ask_on_ds2(world, workers=0)
    await world.until(Machine, powered_on(1), "the machine is powered on")
    await delete_all(world, cluster)
    assert len(replicas_in_vcenter(world)) == 1
    (account,) = await world.store.list(CloudAccount)

    await world.delete(account)

    await world.until(TemplateReplica, gone, "the replica is gone")
    assert world.vcenter.control.inventory() == before


async def test_full_clones_need_no_replica(world: World) -> None:
    await ask_on_ds2(world, workers=1, clone_mode="full")

    await world.until(Machine, powered_on(2), "two machines are powered on")

    assert await world.store.list(TemplateReplica) == []
    assert parents(world) == {"": 2}


async def test_snapshots_that_others_take_of_machines_are_said(world: World) -> None:
    await ask_on_ds2(world, workers=0)
    (machine,) = await world.until(Machine, powered_on(1), "the machine is powered on")
    assert machine.status.condition("HasSnapshots") is None

    world.take_foreign_snapshot(machine.metadata.name)

    await world.until(
        Machine, lambda m: m[0].status.is_true("HasSnapshots"), "the snapshot is said"
    )
