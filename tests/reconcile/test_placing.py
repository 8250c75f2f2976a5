"""Without DRS machines go to hosts of their own; where there is no room, none is made, and why."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moorage.resources import CloudAccount, Cluster, Machine, NodePool
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on, reason


@pytest.fixture
async def standard(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway at a vCenter with a compute cluster without DRS."""
    inventory = lab_dir() / "inventories" / "no-drs.yaml"
    with VCenterProcess.start(inventory) as vcenter:
        async with World.running(vcenter, tmp_path) as world:
            yield world


def domains(*names: str) -> dict[str, Any]:
    """Return changes of a cluster: these compute clusters are its failure domains."""
    found = [a_failure_domain(name, compute_cluster=name) for name in names]
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": found})
    return {"placement": placement.model_dump()}


async def ask_cluster(world: World, *names: str, control_plane: int, workers: int) -> Cluster:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    await world.ask(an_ip_pool(end="10.77.1.60"))
    changes = {**domains(*names), "control_plane": {"replicas": control_plane}}
    cluster: Cluster = await world.ask_cluster(a_cluster(**changes))
    pool = a_node_pool(replicas=workers)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)
    return cluster


def hosts(world: World, *, of: str) -> Counter[str]:
    """Return how many VMs with that word in their name each host runs."""
    return Counter(vm["host"].rpartition("/")[2] for vm in world.vms() if f"-{of}-" in vm["name"])


async def test_without_drs_each_group_is_spread_over_the_hosts(standard: World) -> None:
    await ask_cluster(standard, "cc1", control_plane=3, workers=4)

    await standard.until(Machine, powered_on(7), "seven machines are powered on")

    assert sorted(hosts(standard, of="cp").values()) == [1, 1, 1]
    assert sorted(hosts(standard, of="workers").values()) == [1, 1, 2]
    calls = standard.vcenter.control.counters()["calls"]
    assert calls["RetrievePropertiesEx"] <= 7 + 3, "figures of hosts are read once for both groups"


async def test_with_drs_no_host_is_chosen(standard: World) -> None:
    await ask_cluster(standard, "cc2", control_plane=1, workers=2)

    machines = await standard.until(Machine, powered_on(3), "three machines are powered on")

    assert {machine.spec.host for machine in machines} == {None}


async def test_hosts_in_maintenance_take_no_machine(standard: World) -> None:
    standard.vcenter.control.set_host("/dc1/host/cc1/esx2.lab", "maintenance")

    await ask_cluster(standard, "cc1", control_plane=1, workers=4)

    await standard.until(Machine, powered_on(5), "five machines are powered on")
    assert set(hosts(standard, of="workers")) == {"esx1.lab", "esx3.lab"}


async def test_a_host_that_goes_before_the_clone_is_replaced_by_another(standard: World) -> None:
    standard.vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 8.0})
    await ask_cluster(standard, "cc1", control_plane=1, workers=24)
    found = await standard.until(
        Machine,
        lambda found: any(reason(one) == "ClonesInFlight" for one in found),
        "a machine waits its turn",
    )
    waiting = next(one for one in found if reason(one) == "ClonesInFlight")
    chosen = waiting.spec.host
    assert chosen is not None

    standard.vcenter.control.set_host(chosen, "maintenance")

    machines = await standard.until(Machine, powered_on(25), "all are powered on")
    (elsewhere,) = (one for one in machines if one.metadata.uid == waiting.metadata.uid)
    assert elsewhere.spec.host not in {None, chosen}


async def test_where_there_is_no_room_no_machine_is_made(standard: World) -> None:
    standard.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=9)

    await ask_cluster(standard, "cc1", control_plane=1, workers=3)

    pools = await standard.until(
        NodePool, lambda found: reason(found[0]) == "NoRoom", "the want of room is said"
    )
    said = pools[0].status.condition("Ready").message
    assert said.startswith("2 of 3 machines have no room: cc1: datastore ds1 has ")
    assert len(await standard.store.list(Machine)) == 2
    standard.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=500)
    await standard.until(Machine, powered_on(4), "the others are made once there is room")


async def test_of_several_datastores_the_templates_own_is_first_and_then_the_next(
    world: World,
) -> None:
    domain = a_failure_domain("a", datastore=None, datastores=["ds1", "ds2"])
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": [domain]})
    await world.ask_account()
    await world.ask(an_ip_pool())
    world.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=6)
    cluster = await world.ask_cluster(a_cluster(placement=placement.model_dump()))
    await world.until(Machine, powered_on(1), "the first machine is powered on")
    pool = a_node_pool(replicas=2)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)

    machines = await world.until(Machine, powered_on(3), "three machines are powered on")
    used = {one.spec.pool or "cp": one.spec.failure_domain.storage() for one in machines}
    assert used == {"cp": ("ds1",), "workers": ("ds2",)}


async def test_each_datastore_of_a_domain_is_looked_up(world: World) -> None:
    domain = a_failure_domain("a", datastore=None, datastores=["ds1", "ds9"])
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": [domain]})
    await world.ask_account()
    await world.ask(an_ip_pool())
    await world.ask_cluster(a_cluster(placement=placement.model_dump()))

    found = await world.until(
        Cluster, lambda c: reason(c[0]) == "PlacementInvalid", "the wrong name is said"
    )

    said = found[0].status.condition("Ready").message
    assert "spec.placement.failureDomains[0].datastores[1]: no datastore 'ds9'" in said


async def test_a_clone_that_failed_for_want_of_space_goes_to_another_datastore(
    world: World,
) -> None:
    domain = a_failure_domain("a", datastore=None, datastores=["ds1", "ds2"])
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": [domain]})
    world.vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 2.0})
    world.vcenter.control.fault("CloneVM_Task", "fail", fault="NoDiskSpace", late=True)
    await world.ask_account()
    await world.ask(an_ip_pool())
    await world.ask_cluster(a_cluster(placement=placement.model_dump()))
    await world.until(
        Machine, lambda found: any(m.status.clone_task for m in found), "the clone is under way"
    )

    world.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=0)

    machines = await world.until(Machine, powered_on(1), "the machine is powered on")
    assert machines[0].spec.failure_domain.storage() == ("ds2",)
    assert world.vcenter.control.counters()["calls"]["CloneVM_Task"] >= 2


@pytest.fixture
async def with_pods(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway at a vCenter with datastore clusters."""
    inventory = lab_dir() / "inventories" / "pods.yaml"
    with VCenterProcess.start(inventory) as vcenter:
        async with World.running(vcenter, tmp_path) as world:
            yield world


async def test_machines_go_to_the_datastores_of_a_datastore_cluster_but_those_in_maintenance(
    with_pods: World,
) -> None:
    world = with_pods
    for name in ("gold1", "gold2"):
        world.vcenter.control.set_datastore(f"/dc1/datastore/gold/{name}", maintenance=True)
    domain = a_failure_domain(datastore=None, datastore_cluster="gold")
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": [domain]})
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.60"))
    await world.ask_cluster(a_cluster(placement=placement.model_dump()))
    found = await world.until(
        Cluster, lambda items: reason(items[0]) == "NoRoom", "there is no room"
    )
    said = found[0].status.condition("Ready").message
    world.vcenter.control.set_datastore("/dc1/datastore/gold/gold2", maintenance=False)

    machines = await world.until(Machine, powered_on(1), "the machine is powered on")

    assert "datastore gold1 is in maintenance mode" in said
    assert "datastore gold2 is in maintenance mode" in said
    assert [one.spec.failure_domain.datastore for one in machines] == ["/dc1/datastore/gold/gold2"]
    assert [vm["datastore"] for vm in world.vms()] == ["gold2"]
    (why,) = [one.status.full_clone for one in machines]
    assert why == "automated storage DRS of datastore cluster gold moves its disks"
