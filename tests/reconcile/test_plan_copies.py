"""A plan names all that is copied and made beside the machines, and a failed clone keeps to it."""

from typing import Any

from moorage.resources import Cluster, Machine, NodePool, Plan, TemplateReplica
from moorage.resources.plan import PlanState
from moorage.resources.replica import LABEL_REPLICA
from tests.builders import a_cluster, a_failure_domain, a_node_pool
from tests.reconcile.conftest import World
from tests.reconcile.planned import apply_plan, ask_plan, outcome, promised, settled
from tests.reconcile.test_machines import powered_on, reason
from tests.reconcile.test_plan import check, ready

GIB = 1024**3


def on(*datastores: str, **more: Any) -> dict[str, Any]:
    """Return changes of a cluster whose one failure domain has these datastores."""
    where = {"datastore": None, "datastores": [*datastores]}
    placed = {"failure_domains": [a_failure_domain("a", **where)], **more}
    return {"placement": a_cluster().spec.placement.model_copy(update=placed).model_dump()}


async def test_a_plan_names_the_replica_the_folder_the_disks_and_what_is_copied(
    world: World,
) -> None:
    await ready(world)
    cluster = a_cluster(**on("ds2", folder_per_cluster=True))
    pools = [
        a_node_pool(replicas=2, extra_disks=[{"size_gib": 8}, {"size_gib": 9, "datastore": "ds1"}]),
        a_node_pool(pool="large", replicas=1, disk_gib=40),
    ]

    plan = await ask_plan(world, cluster, pools)

    found = plan.status
    assert found.state is PlanState.READY, found.message
    (replica,) = found.replicas
    assert (replica.datastore, replica.bytes_to_copy) == ("ds2", 20 * GIB)
    copies = {(one.pool, one.clone_mode, one.bytes_to_copy, one.replica) for one in found.actions}
    assert copies == {
        (None, "linked", 0, replica.name),
        ("workers", "linked", 0, replica.name),
        ("large", "full", 20 * GIB, None),
    }
    assert found.bytes_to_copy == 40 * GIB
    disks = {(one.pool, len(one.extra_disks)) for one in found.actions}
    assert disks == {(None, 0), ("workers", 2), ("large", 0)}
    beside, apart = found.actions[-1].extra_disks
    assert (beside.size_gib, beside.datastore) == (8, "ds2")
    assert (apart.size_gib, apart.datastore) == (9, "ds1")
    assert beside.datastore_ref == replica.datastore_ref != apart.datastore_ref
    assert found.folder is not None
    assert found.folder.is_new
    (room,) = found.addresses
    assert (room.held, room.needed, room.peak) == (0, 5, 5)

    await apply_plan(world, plan, cluster, pools)

    machines = await world.until(Machine, powered_on(4), "four machines are powered on")
    assert await outcome(world) == promised(found.actions, "create")
    (made,) = await world.store.list(TemplateReplica)
    assert made.metadata.name == replica.name
    labels = {one.metadata.name: one.metadata.labels.get(LABEL_REPLICA) for one in machines}
    assert labels == {one.machine: one.replica for one in found.actions}
    (worker, *_) = [vm for vm in world.vms() if len(vm["disks"]) > 1]
    lie = [disk["file"].partition("]")[0][1:] for disk in worker["disks"]]
    assert lie == ["ds2", "ds2", "ds1"]
    folders = {vm["path"].rpartition("/")[0] for vm in world.vms()}
    assert folders == {found.folder.path}
    again = await ask_plan(world, cluster, [pools[0], a_node_pool(pool="large", replicas=2)])
    assert again.status.replicas == []
    assert again.status.folder is not None
    assert not again.status.folder.is_new
    assert [(one.held, one.needed, one.peak) for one in again.status.addresses] == [(5, 1, 6)]


async def test_a_template_that_was_changed_makes_a_plan_outdated(world: World) -> None:
    await ready(world)
    cluster, pools = a_cluster(), list[NodePool]()
    plan = await ask_plan(world, cluster, pools)
    world.change_template("/dc1/vm/templates/ubuntu-2404-kube-v1.34.4")
    await world.stop()  # what is known of templates is kept for a minute
    await world.start()

    await apply_plan(world, plan, cluster, pools)

    outdated = await settled(world, plan, (PlanState.OUTDATED,))
    assert "the template was changed since" in outdated.status.differences


async def under_way(world: World, cluster: Cluster) -> Plan:
    """Apply a plan of a cluster whose first clone is about to fail; returns the plan."""
    world.vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 2.0})
    world.vcenter.control.fault("CloneVM_Task", "fail", fault="NoDiskSpace", late=True)
    plan = await ask_plan(world, cluster, [])
    assert [one.datastore for one in plan.status.actions] == ["ds1"]
    await apply_plan(world, plan, cluster, [])
    await world.until(
        Machine, lambda found: any(m.status.clone_task for m in found), "the clone is under way"
    )
    return plan


async def test_a_clone_that_failed_is_made_again_where_the_plan_says(world: World) -> None:
    await ready(world)
    cluster = a_cluster(**on("ds1", "ds2"))
    plan = await under_way(world, cluster)

    await world.until(Machine, powered_on(1), "the machine is powered on")

    assert await outcome(world) == promised(plan.status.actions, "create")
    assert world.vcenter.control.counters()["calls"]["CloneVM_Task"] == 2
    await settled(world, plan, (PlanState.APPLIED,))


async def test_a_planned_place_that_is_gone_outdates_the_plan_and_a_new_one_moves_the_machine(
    world: World,
) -> None:
    await ready(world)
    cluster = a_cluster(**on("ds1", "ds2"))
    plan = await under_way(world, cluster)
    world.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=0)

    outdated = await settled(world, plan, (PlanState.OUTDATED,))

    (name,) = [one.machine for one in plan.status.actions]
    assert f"{name} cannot be where the plan says" in outdated.status.differences[0]
    assert "datastore ds1 has 0.0 GiB free" in outdated.status.differences[0]
    (said,) = await world.store.list(Cluster)
    assert reason(said, "PlanFollowed") == "PlanOutdated"
    assert world.vms() == []

    again = await ask_plan(world, cluster, [])

    assert again.status.state is PlanState.READY, again.status.message
    assert check(again, "Room").ok
    assert [(one.action, one.datastore) for one in again.status.actions] == [("keep", "ds2")]
    await apply_plan(world, again, cluster, [])
    await world.until(Machine, powered_on(1), "the machine is powered on")
    assert await outcome(world) == promised(again.status.actions, "keep")
    assert [vm["datastore"] for vm in world.vms()] == ["ds2"]


async def test_without_a_plan_a_machine_that_waited_goes_elsewhere(world: World) -> None:
    await ready(world)
    cluster = a_cluster(**on("ds1", "ds2"))
    plan = await under_way(world, cluster)
    world.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=0)
    await settled(world, plan, (PlanState.OUTDATED,))

    here = await world.store.get(Plan, *plan.key)
    assert here.spec.applied is not None
    here.spec.applied = here.spec.applied.model_copy(update={"withdrawn": True})
    await world.ask(here)  # as the hub does when the documents are applied without a plan

    await world.until(Machine, powered_on(1), "the machine is powered on")
    assert [vm["datastore"] for vm in world.vms()] == ["ds2"]


async def test_a_plan_is_outdated_when_an_extra_disk_has_lost_its_place(
    world: World,
) -> None:
    await ready(world)
    cluster = a_cluster(
        **on("ds1"), control_plane={"extra_disks": [{"size_gib": 60, "datastore": "ds2"}]}
    )
    plan = await under_way(world, cluster)
    world.vcenter.control.set_datastore("/dc1/datastore/ds2", free_gib=10)

    outdated = await settled(world, plan, (PlanState.OUTDATED,))

    assert "extra disk 1: datastore ds2 has 10.0 GiB free" in outdated.status.differences[0]


async def test_an_extra_disk_without_a_place_is_said_before_anything_is_made(
    world: World,
) -> None:
    await ready(world)
    disks = [{"size_gib": 1, "datastore": "ds7"}, {"size_gib": 1, "storage_policy": "gold"}]
    cluster = a_cluster(control_plane={"extra_disks": disks})

    plan = await ask_plan(world, cluster, [])
    in_pool = await ask_plan(world, a_cluster(), [a_node_pool(extra_disks=disks[:1])])

    said = check(plan, "Placement").message
    assert "spec.controlPlane.extraDisks[0].datastore: no datastore 'ds7'" in said
    assert "spec.controlPlane.extraDisks[1].storagePolicy: no storage policy 'gold'" in said
    assert "Room: workers: extra disks cannot be" in in_pool.status.message
    assert "spec.extraDisks[0].datastore: no datastore 'ds7'" in in_pool.status.message


async def test_a_machine_whose_name_is_taken_outdates_the_plan_and_the_next_one_replaces_it(
    world: World,
) -> None:
    await ready(world)
    cluster, pools = a_cluster(), [a_node_pool(replicas=1)]
    plan = await ask_plan(world, cluster, pools)
    (worker,) = [one for one in plan.status.actions if one.pool]
    world.make_foreign_vm(worker.machine)

    await apply_plan(world, plan, cluster, pools)
    outdated = await settled(world, plan, (PlanState.OUTDATED,))

    assert f"{worker.machine} cannot be what the plan says" in outdated.status.differences[0]
    names = {one.metadata.name for one in await world.store.list(Machine)}
    assert names == {one.machine for one in plan.status.actions}, "nobody else is made"

    again = await ask_plan(world, cluster, pools)

    actions = {one.action: one for one in again.status.actions if one.pool}
    assert actions.keys() == {"delete", "replace"}, again.status.message
    assert actions["delete"].machine == actions["replace"].replaces == worker.machine
    await apply_plan(world, again, cluster, pools)
    await world.until(
        Machine,
        lambda found: powered_on(2)(found) and len(found) == 2,
        "both machines are powered on, and the one that could not be is gone",
    )
    assert await outcome(world) == promised(again.status.actions, "keep", "replace")
    await settled(world, again, (PlanState.APPLIED,))


async def test_without_a_plan_a_machine_whose_name_is_taken_is_replaced(world: World) -> None:
    await ready(world)
    cluster, pools = a_cluster(), [a_node_pool(replicas=1)]
    plan = await ask_plan(world, cluster, pools)
    (worker,) = [one for one in plan.status.actions if one.pool]
    world.make_foreign_vm(worker.machine)
    await apply_plan(world, plan, cluster, pools)
    await settled(world, plan, (PlanState.OUTDATED,))

    here = await world.store.get(Plan, *plan.key)
    assert here.spec.applied is not None
    here.spec.applied = here.spec.applied.model_copy(update={"withdrawn": True})
    await world.ask(here)

    machines = await world.until(
        Machine,
        lambda found: powered_on(2)(found) and len(found) == 2,
        "both machines are powered on",
    )
    assert worker.machine not in {one.metadata.name for one in machines}
