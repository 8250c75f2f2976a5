"""A folder for a cluster: made once whatever is lost, and gone with it, unless others are in it."""

from typing import Any

import pytest

from moorage.kit.ids import uid_suffix
from moorage.resources import Cluster, Machine
from tests.builders import a_cluster
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, delete_all, powered_on, reason


def own_folder() -> dict[str, Any]:
    placement = a_cluster().spec.placement.model_copy(update={"folder_per_cluster": True})
    return {"placement": placement.model_dump()}


def folders(world: World) -> list[str]:
    return [
        one["path"]
        for one in world.vcenter.control.inventory()["folders"]
        if one["path"].startswith("/dc1/vm/clusters/")
    ]


def path_of(cluster: Cluster) -> str:
    name = f"{cluster.metadata.name}-{uid_suffix(cluster.metadata.uid)}"
    return f"/dc1/vm/clusters/{name}"


async def test_machines_are_made_in_the_clusters_own_folder_which_goes_with_them(
    world: World,
) -> None:
    before = world.vcenter.control.inventory()
    cluster = await ask_all(world, **own_folder())

    machines = await world.until(Machine, powered_on(3), "three machines are powered on")

    path = path_of(cluster)
    assert {machine.spec.folder for machine in machines} == {path}
    assert {vm["path"].rpartition("/")[0] for vm in world.vms()} == {path}
    found = await world.store.get(Cluster, *cluster.key)
    assert found.status.folder is not None
    assert found.status.folder.path == path
    assert world.vcenter.control.counters()["calls"]["CreateFolder"] == 1
    await delete_all(world, cluster)
    assert world.vcenter.control.inventory() == before


@pytest.mark.parametrize("action", ["dropAnswer", "dieBefore"])
@pytest.mark.parametrize("method", ["CreateFolder", "UnregisterAndDestroy_Task"])
async def test_a_lost_call_or_answer_leaves_one_folder_and_then_none(
    world: World, method: str, action: str
) -> None:
    world.vcenter.control.fault(method, action, count=2)
    cluster = await ask_all(world, **own_folder())

    await world.until(Machine, powered_on(3), "three machines are powered on")

    assert folders(world) == [path_of(cluster)]
    await delete_all(world, cluster)
    assert folders(world) == []


@pytest.mark.parametrize("method", ["CreateFolder", "UnregisterAndDestroy_Task"])
async def test_a_gateway_that_stops_before_it_hears_the_answer_leaves_no_orphan(
    world: World, method: str
) -> None:
    """Made or removed in vCenter, and nothing of it written down."""
    if method == "CreateFolder":
        world.vcenter.control.fault(method, "dropAnswer", count=1)
        world.vcenter.control.fault(method, "delay", count=1, after=1, seconds=2)
    cluster = await ask_all(world, **own_folder())
    if method == "CreateFolder":
        await world.until(Cluster, lambda _: bool(folders(world)), "the folder is there")
        await world.stop()
        await world.start()
    await world.until(Machine, powered_on(3), "three machines are powered on")
    assert folders(world) == [path_of(cluster)]
    if method != "CreateFolder":
        world.vcenter.control.fault(method, "dropAnswer", count=1)
    await world.delete(cluster)
    await world.until(
        Cluster, lambda _: not folders(world) or method == "CreateFolder", "the folder is gone"
    )
    await world.stop()
    await world.start()

    await delete_all(world, cluster)

    assert folders(world) == []


async def test_a_cluster_that_is_deleted_before_it_heard_of_its_folder_removes_it(
    world: World,
) -> None:
    world.vcenter.control.fault("CreateFolder", "dropAnswer", count=1000)
    cluster = await ask_all(world, **own_folder())
    await world.until(Cluster, lambda _: bool(folders(world)), "the folder is there")

    await delete_all(world, cluster)

    assert folders(world) == []


async def test_what_others_put_into_the_folder_stays_with_it(world: World) -> None:
    cluster = await ask_all(world, **own_folder())
    await world.until(Machine, powered_on(3), "three machines are powered on")
    moref = world.make_foreign_vm("theirs")
    world.vcenter.control.move_vm(moref, path_of(cluster))

    await delete_all(world, cluster)

    assert folders(world) == [path_of(cluster)]
    assert [vm["path"] for vm in world.vms()] == [f"{path_of(cluster)}/theirs"]


async def test_a_folder_of_that_name_with_others_vms_is_not_taken(world: World) -> None:
    cluster = a_cluster(**own_folder())
    moref = world.make_foreign_vm("theirs")
    world.make_folder("/dc1/vm/clusters", path_of(cluster).rpartition("/")[2])
    world.vcenter.control.move_vm(moref, path_of(cluster))

    await world.ask_account()
    await world.ask_cluster(cluster)
    found = await world.until(
        Cluster, lambda items: reason(items[0]) == "FolderTaken", "the stranger is named"
    )

    assert moref in found[0].status.condition("Ready").message
    assert await world.store.list(Machine) == []


async def test_new_machines_follow_a_folder_that_somebody_moved(world: World) -> None:
    cluster = await ask_all(world, **own_folder())
    machines = await world.until(Machine, powered_on(3), "three machines are powered on")
    world.move_folder(path_of(cluster), "/dc1/vm/templates")
    worker = next(one for one in machines if one.spec.pool)
    await world.delete(worker)

    machines = await world.until(
        Machine,
        lambda items: powered_on(3)(items) and worker.key not in [one.key for one in items],
        "another machine took its place",
    )

    moved = path_of(cluster).replace("/clusters/", "/templates/")
    assert {vm["path"].rpartition("/")[0] for vm in world.vms()} == {moved}
