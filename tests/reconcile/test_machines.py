"""From intent to VMs and back to nothing, whatever is lost on the way."""

import time
from pathlib import Path
from typing import Any

import pytest

from moorage.resources import (
    CloudAccount,
    Cluster,
    ClusterKeys,
    IPAddress,
    IPPool,
    Machine,
    Metadata,
    NodePool,
    Operation,
)
from moorage.resources.kubernetes import Role
from moorage.resources.operation import OperationSpec, Verb
from moorage.vsphere import Limits
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World


def reason(resource: Any, condition: str = "Ready") -> str:
    found = resource.status.condition(condition)
    return found.reason if found else "NotBegun"


def powered_on(count: int) -> Any:
    return lambda machines: (
        len(machines) == count and all(m.status.is_true("PoweredOn") for m in machines)
    )


async def ask_all(world: World, **changes: Any) -> Cluster:
    await world.ask_account()
    await world.ask(an_ip_pool())
    cluster: Cluster = await world.ask_cluster(a_cluster(**changes))
    pool = a_node_pool(replicas=2)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)
    return cluster


async def delete_all(world: World, cluster: Cluster) -> None:
    for pool in await world.store.list(NodePool):
        await world.delete(pool)
    await world.delete(cluster)
    await world.until(
        Cluster, lambda items: not items[0].metadata.finalizers, "the cluster is torn down"
    )


async def test_all_machines_boot_in_parallel_before_the_api_answers(world: World) -> None:
    cluster = await ask_all(world, control_plane={"replicas": 3})

    machines = await world.until(Machine, powered_on(5), "five machines are powered on")

    by_name = {vm["name"]: vm for vm in world.vms()}
    assert sorted(by_name) == sorted(m.metadata.name for m in machines)
    for machine in machines:
        assert by_name[machine.metadata.name]["instanceUuid"] == machine.metadata.uid
    assert [m.spec.bootstrap for m in machines].count("init") == 1
    assert {m.spec.failure_domain.name for m in machines} == {"a", "b"}
    claims = await world.store.list(IPAddress)
    assert len({claim.spec.address for claim in claims}) == 6  # five machines and the endpoint
    found = await world.store.get(Cluster, *cluster.key)
    assert found.status.endpoint == "10.77.1.10:6443"


async def test_vms_are_called_by_the_pattern_of_their_day_and_nodes_never_are(
    world: World,
) -> None:
    placement = a_cluster().spec.placement
    old = placement.model_copy(update={"vm_name": "PRD {cluster}_{pool} ä {uid}"})
    cluster = await ask_all(world, placement=old.model_dump())
    first = await world.until(Machine, powered_on(3), "three machines are powered on")

    found = await world.store.get(Cluster, *cluster.key)
    found.spec.placement.vm_name = "{uid}"
    await world.ask(found)
    worker = next(one for one in first if one.spec.pool)
    await world.delete(worker)
    machines = await world.until(
        Machine,
        lambda items: powered_on(3)(items) and worker.key not in [one.key for one in items],
        "another machine took its place",
    )

    named = {vm["instanceUuid"]: vm["name"] for vm in world.vms()}
    for machine in machines:
        digits, word = machine.metadata.name.rpartition("-")[2], machine.spec.pool or "cp"
        is_old = machine.key in [one.key for one in first]
        wanted = f"PRD demo_{word} ä {digits}" if is_old else digits
        assert named[machine.metadata.uid] == machine.vm_name == wanted
        assert machine.metadata.name == f"demo-{word}-{digits}"
    await delete_all(world, cluster)
    assert world.vms() == []


async def test_deletion_leaves_nothing(world: World) -> None:
    before = world.vcenter.control.inventory()
    cluster = await ask_all(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")

    await delete_all(world, cluster)

    assert world.vcenter.control.inventory() == before
    for kind in (Machine, IPAddress, ClusterKeys):
        assert await world.store.list(kind) == []


async def test_a_machine_costs_few_calls(world: World) -> None:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.reset_counters()
    await ask_all(world, control_plane={"replicas": 3})

    await world.until(Machine, powered_on(5), "five machines are powered on")

    calls = world.vcenter.control.counters()["calls"]
    stream = {"WaitForUpdatesEx", "ModifyListView"}
    effects = {name: count for name, count in calls.items() if name not in stream}
    assert effects["CloneVM_Task"] == effects["PowerOnVM_Task"] == 5
    changes = effects.pop("ReconfigureComputeResource_Task")
    assert changes <= 2, "one for each role at most, never one for each machine"
    assert sum(effects.values()) <= 5 * 3, effects


async def test_more_machines_than_may_be_cloned_at_a_time_wait_their_turn(world: World) -> None:
    world.vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 3.0})
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.60"))
    cluster = await world.ask_cluster(a_cluster())
    pool = a_node_pool(replicas=20)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)

    await world.until(
        Machine,
        lambda found: any(reason(one) == "ClonesInFlight" for one in found),
        "some wait until others are cloned",
    )

    await world.until(Machine, powered_on(21), "all are powered on in the end")
    calls = world.vcenter.control.counters()["calls"]
    assert calls["CloneVM_Task"] == 21
    assert calls["ModifyListView"] <= 12, "many tasks share one change of the view"


async def test_a_pool_too_small_makes_no_machine(world: World) -> None:
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.11"))
    await world.ask_cluster(a_cluster(control_plane={"replicas": 3}))

    found = await world.until(
        Cluster, lambda c: reason(c[0]) == "AddressesShort", "the shortage is said"
    )

    assert "lacks 3 of the 5 addresses" in found[0].status.condition("Ready").message
    assert world.vms() == []


async def test_every_wrong_place_is_named_before_a_machine_is_made(world: World) -> None:
    await world.ask_account()
    await world.ask(an_ip_pool())
    cluster = a_cluster()
    cluster.spec.placement.template = "templates/nothing"
    cluster.spec.placement.failure_domains[1].datastore = "ds9"
    await world.ask_cluster(cluster)

    found = await world.until(
        Cluster, lambda c: reason(c[0]) == "PlacementInvalid", "the faults are said"
    )

    message = found[0].status.condition("Ready").message
    assert "spec.placement.template" in message
    assert "spec.placement.failureDomains[1].datastore" in message
    assert world.vms() == []


async def test_a_template_of_another_version_is_refused(world: World) -> None:
    await world.ask_account()
    await world.ask(an_ip_pool())
    await world.ask_cluster(a_cluster(kubernetes_version="v1.33.1"))

    found = await world.until(
        Cluster, lambda c: reason(c[0]) == "PlacementInvalid", "the mismatch is said"
    )

    assert "holds Kubernetes v1.34.4" in found[0].status.condition("Ready").message


@pytest.mark.parametrize(
    "method",
    ["CloneVM_Task", "PowerOnVM_Task", "ModifyListView", "PowerOffVM_Task", "Destroy_Task"],
)
@pytest.mark.parametrize("action", ["dropAnswer", "dieBefore"])
async def test_a_lost_call_or_answer_makes_no_second_vm_and_loses_none(
    world: World, method: str, action: str
) -> None:
    before = [vm["name"] for vm in world.vms()]
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.fault(method, action, count=2)
    cluster = await ask_all(world)

    machines = await world.until(Machine, powered_on(3), "three machines are powered on")

    assert sorted(vm["instanceUuid"] for vm in world.vms()) == sorted(
        machine.metadata.uid for machine in machines
    )
    await delete_all(world, cluster)
    assert [vm["name"] for vm in world.vms()] == before == []
    assert await world.store.list(IPAddress) == []


async def test_a_restart_in_the_middle_makes_no_second_vm(world: World) -> None:
    cluster = await ask_all(world, control_plane={"replicas": 3})
    await world.until(Machine, lambda m: len(m) >= 1, "machines are stored")

    for _ in range(4):
        await world.stop()
        await world.start()

    machines = await world.until(Machine, powered_on(5), "five machines are powered on")
    assert sorted(vm["instanceUuid"] for vm in world.vms()) == sorted(
        machine.metadata.uid for machine in machines
    )
    await delete_all(world, cluster)
    assert world.vms() == []
    assert await world.store.list(IPAddress) == []


async def test_a_foreign_vm_survives_our_deletion(world: World) -> None:
    cluster = await ask_all(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")
    pool = await world.store.get(IPPool, "", "nodes")
    assert pool.metadata.finalizers
    before = {vm["name"] for vm in world.vms()}
    assert len(before) == 3

    await delete_all(world, cluster)

    assert world.vms() == []


async def test_a_restart_in_the_middle_of_a_deletion_does_not_slow_it(world: World) -> None:
    cluster = await ask_all(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")
    world.vcenter.control.fault("Destroy_Task", "delay", count=3, seconds=1)
    for pool in await world.store.list(NodePool):
        await world.delete(pool)
    await world.delete(cluster)
    await world.until(Machine, lambda m: all(one.is_deleting for one in m), "all are going")

    await world.stop()
    await world.start()
    began = time.monotonic()
    await world.until(
        Cluster, lambda items: not items[0].metadata.finalizers, "the cluster is torn down"
    )

    # What is not heard would be looked for again after half a minute at the earliest.
    assert time.monotonic() - began < 25
    assert world.vms() == []


async def test_a_name_that_a_stranger_has_is_never_fought_for(world: World) -> None:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.fault("CloneVM_Task", "fail", fault="ResourceInUse", count=100)
    cluster = await ask_all(world)
    machines = await world.until(Machine, lambda m: len(m) == 3, "three machines are stored")
    taken = {machine.metadata.name for machine in machines}
    for name in taken:
        world.make_foreign_vm(name)
    world.vcenter.control.clear_faults()

    machines = await world.until(
        Machine,
        lambda m: (
            sum(one.status.is_true("PoweredOn") for one in m) == 2
            and [reason(one) for one in m if one.spec.bootstrap == "init"] == ["NameTaken"]
        ),
        "workers of other names run, and the founder says who has its name",
    )
    assert len({machine.metadata.name for machine in machines} & taken) == 1
    await delete_all(world, cluster)
    assert {vm["name"] for vm in world.vms()} == taken


async def ask_deletion(world: World, machine: Machine) -> Operation:
    """Ask for one machine's deletion, and return the answer."""
    name = f"delete-{machine.metadata.name}"
    spec = OperationSpec(
        verb=Verb.DELETE,
        subject_kind="Machine",
        subject_name=machine.metadata.name,
        subject_uid=machine.metadata.uid,
    )
    await world.ask(Operation(metadata=Metadata(name=name, project="default"), spec=spec))

    def ended(items: list[Operation]) -> bool:
        return any(one.status.completed_at for one in items if one.metadata.name == name)

    items = await world.until(Operation, ended, "the operation ends")
    return next(one for one in items if one.metadata.name == name)


async def test_a_deleted_worker_is_replaced_and_so_is_a_founder_that_never_founded(
    world: World,
) -> None:
    await ask_all(world)
    machines = await world.until(Machine, powered_on(3), "three machines are powered on")
    founder = next(one for one in machines if one.spec.role is Role.CONTROL_PLANE)
    worker = next(one for one in machines if one.spec.role is Role.WORKER)

    for old in (worker, founder):
        done = await ask_deletion(world, old)
        rest = await world.until(
            Machine,
            lambda items, key=old.key: powered_on(3)(items) and key not in [m.key for m in items],
            "another machine took its place",
        )
        assert not done.status.failed, done.status.message

    assert sorted(vm["name"] for vm in world.vms()) == sorted(one.metadata.name for one in rest)
    assert sorted(one.spec.bootstrap for one in rest) == ["init", "join", "join"]


async def test_machines_go_on_when_what_was_hidden_is_seen_again(
    vcenter: VCenterProcess, tmp_path: Path
) -> None:
    """The folder is hidden after its machines were chosen, while most wait for their turn."""
    folder, control = "/dc1/vm/clusters", vcenter.control
    control.set_limits(taskSeconds={"CloneVM_Task": 1.0})
    async with World.running(vcenter, tmp_path, limits=Limits(clones=1)) as world:
        await world.ask_account()
        await world.ask(an_ip_pool())
        cluster = await world.ask_cluster(a_cluster())
        pool = a_node_pool(replicas=2)
        pool.metadata.owner = cluster.owner()
        await world.ask(pool)
        await world.until(Machine, lambda found: len(found) == 3, "all machines are chosen")

        control.grant(vcenter.user, "NoAccess", folder)
        await world.until(
            Machine,
            lambda found: any(_is(one, "VMCreated", "PlacementInvalid") for one in found),
            "a machine misses the folder",
        )
        control.withdraw(vcenter.user, folder)

        await world.until(
            Machine,
            lambda found: all("VMCreated" in one.status.timeline for one in found),
            "all have their VMs",
        )


def _is(machine: Machine, condition: str, reason: str) -> bool:
    found = machine.status.condition(condition)
    return found is not None and found.reason == reason
