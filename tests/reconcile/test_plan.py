"""A plan says what will happen; what is applied by it happens so, or not at all."""

from moorage.kit.ids import new_uid
from moorage.resources import CloudAccount, Cluster, IPAddress, Machine, NodePool, Plan
from moorage.resources.check import Check
from moorage.resources.plan import PlanState
from tests.builders import a_cluster, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.planned import apply_plan, ask_plan, outcome, promised, settled
from tests.reconcile.test_machines import powered_on, reason
from tests.reconcile.test_placing import standard

__all__ = ["standard"]


async def ready(world: World, last: str = "10.77.1.29") -> None:
    """Connect the account and bring addresses."""
    await world.ask_account()
    await world.ask(an_ip_pool(end=last))
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")


def check(plan: Plan, name: str) -> Check:
    return next(one for one in plan.status.checks if one.name == name)


async def test_a_new_cluster_comes_as_planned(world: World) -> None:
    await ready(world)
    cluster = a_cluster(control_plane={"replicas": 3})
    pools = [a_node_pool(pool="web", replicas=2), a_node_pool(pool="db", replicas=1)]

    plan = await ask_plan(world, cluster, pools)

    assert plan.status.state is PlanState.READY, plan.status.message
    assert [(one.action, one.pool, one.ordinal) for one in plan.status.actions] == [
        ("create", None, 1),
        ("create", None, 2),
        ("create", None, 3),
        ("create", "db", 1),
        ("create", "web", 1),
        ("create", "web", 2),
    ]
    assert [one for one in plan.status.checks if not one.ok and one.blocking] == []
    assert str(plan.status.endpoint) == "10.77.1.10"
    assert plan.status.surge_peak == 6
    assert await world.store.list(Machine) == []
    assert await world.store.list(IPAddress) == []

    await apply_plan(world, plan, cluster, pools)

    await world.until(Machine, powered_on(6), "six machines are powered on")
    assert await outcome(world) == promised(plan.status.actions, "create")
    assert {vm["instanceUuid"] for vm in world.vms()} == {one.uid for one in plan.status.actions}
    done = await settled(world, plan, (PlanState.APPLIED,))
    assert done.status.actions == plan.status.actions
    found = await world.store.get(Cluster, *cluster.key)
    assert found.status.endpoint == "10.77.1.10:6443"
    assert reason(found, "PlanFollowed") == "Done"


async def test_a_change_says_what_stays_and_what_goes(world: World) -> None:
    await ready(world)
    cluster, pool = a_cluster(), a_node_pool(replicas=3)
    first = await ask_plan(world, cluster, [pool])
    await apply_plan(world, first, cluster, [pool])
    machines = await world.until(Machine, powered_on(4), "four machines are powered on")
    fewer, more = pool.copy_deep(), a_node_pool(pool="db", replicas=1)
    fewer.spec.replicas = 1

    plan = await ask_plan(world, cluster, [fewer, more])

    assert sorted((one.action, one.pool or "") for one in plan.status.actions) == [
        ("create", "db"),
        ("delete", "workers"),
        ("delete", "workers"),
        ("keep", ""),
        ("keep", "workers"),
    ]
    assert {one.metadata.name for one in await world.store.list(Machine)} == {
        one.metadata.name for one in machines
    }
    await apply_plan(world, plan, cluster, [fewer, more])
    await settled(world, plan, (PlanState.APPLIED,))
    await world.until(Machine, powered_on(3), "three machines are left")
    assert await outcome(world) == promised(plan.status.actions, "create", "keep")


async def test_a_world_that_has_moved_makes_a_plan_outdated_and_nothing_is_made(
    world: World,
) -> None:
    await ready(world)
    cluster, pools = a_cluster(), [a_node_pool(replicas=2)]
    plan = await ask_plan(world, cluster, pools)
    other = await world.ask_cluster(a_cluster("other"))
    await world.until(Machine, lambda found: len(found) == 1, "another cluster takes addresses")

    await apply_plan(world, plan, cluster, pools)

    found = await world.until(
        Cluster,
        lambda all_: any(reason(one) == "PlanOutdated" for one in all_),
        "the cluster says that its plan is outdated",
    )
    outdated = await settled(world, plan, (PlanState.OUTDATED,))
    said = next(one for one in found if one.key == cluster.key).status.condition("PlanFollowed")
    assert said is not None
    assert said.reason == "PlanOutdated"
    assert "10.77.1.11 of IP pool nodes is taken" in said.message
    assert "moorage clusters plan" in said.message
    assert any("is taken" in one for one in outdated.status.differences)
    owners = {
        one.metadata.owner.uid for one in await world.store.list(Machine) if one.metadata.owner
    }
    assert owners == {other.metadata.uid}
    assert {one.spec.cluster for one in await world.store.list(IPAddress)} == {"default/other"}


async def test_an_outdated_plan_is_not_taken_up_again_and_a_new_one_is_followed(
    world: World,
) -> None:
    await ready(world)
    cluster, pool = a_cluster(), a_node_pool(replicas=1)
    first = await ask_plan(world, cluster, [pool])
    await apply_plan(world, first, cluster, [pool])
    await world.until(Machine, powered_on(2), "two machines are powered on")
    larger = pool.copy_deep()
    larger.spec.replicas = 3
    plan = await ask_plan(world, cluster, [larger])
    (taken,) = plan.status.actions[-1].addresses
    pool_name, _, address = taken.rpartition("/")
    stranger = await world.ask_cluster(
        a_cluster("other", endpoint={"type": "VIP", "host": address, "ip_pool": pool_name})
    )
    await world.until(Machine, lambda found: len(found) == 3, "another cluster takes the address")

    await apply_plan(world, plan, cluster, [larger])
    await settled(world, plan, (PlanState.OUTDATED,))

    ours = [
        one
        for one in await world.store.list(Machine)
        if one.metadata.owner and one.metadata.owner.uid != stranger.metadata.uid
    ]
    assert len(ours) == 2
    again = await ask_plan(world, cluster, [larger])
    assert again.status.state is PlanState.READY
    await apply_plan(world, again, cluster, [larger])
    await settled(world, again, (PlanState.APPLIED,))
    names = {one.metadata.name for one in await world.store.list(Machine)}
    assert {one.machine for one in again.status.actions} <= names
    found = await world.store.get(Cluster, *cluster.key)
    assert found.status.plan is not None
    assert not found.status.plan.is_outdated


async def test_a_restart_in_the_middle_goes_on_with_the_same_plan(world: World) -> None:
    await ready(world)
    cluster, pools = a_cluster(control_plane={"replicas": 3}), [a_node_pool(replicas=2)]
    plan = await ask_plan(world, cluster, pools)
    await apply_plan(world, plan, cluster, pools)

    for _ in range(4):
        await world.stop()
        await world.start()

    await world.until(Machine, powered_on(5), "five machines are powered on")
    assert await outcome(world) == promised(plan.status.actions, "create")
    await settled(world, plan, (PlanState.APPLIED,))


async def test_documents_that_changed_meanwhile_make_a_plan_outdated(world: World) -> None:
    await ready(world)
    cluster, pool = a_cluster(), a_node_pool(replicas=1)
    first = await ask_plan(world, cluster, [pool])
    await apply_plan(world, first, cluster, [pool])
    await world.until(Machine, powered_on(2), "two machines are powered on")
    plan = await ask_plan(world, cluster, [pool])
    assert plan.status.state is PlanState.READY

    stored = await world.store.get(NodePool, *pool.key)
    stored.spec.replicas = 2
    await world.ask(stored)

    found = await settled(world, plan, (PlanState.OUTDATED,))
    assert "were changed since" in found.status.message


async def test_what_is_lacking_refuses_a_plan(world: World) -> None:
    await ready(world, last="10.77.1.12")
    world.vcenter.control.set_datastore("/dc1/datastore/ds1", free_gib=9)

    short = await ask_plan(world, a_cluster(), [a_node_pool(replicas=3)])
    lost = await ask_plan(world, a_cluster(kubernetes_version="v1.33.1"), [])

    assert short.status.state is PlanState.REFUSED
    assert "of 3 machines have no room" in check(short, "Room").message
    assert not check(short, "Room").ok
    assert check(short, "Privileges").ok
    assert lost.status.state is PlanState.REFUSED
    assert "holds Kubernetes v1.34.4" in lost.status.message


async def test_a_new_cluster_without_an_address_to_spare_is_refused_as_it_would_not_be_begun(
    world: World,
) -> None:
    await ready(world, last="10.77.1.13")

    tight = await ask_plan(world, a_cluster(), [a_node_pool(replicas=2)])
    fits = await ask_plan(world, a_cluster(), [a_node_pool(replicas=1)])

    assert tight.status.state is PlanState.REFUSED
    assert "IP pool nodes lacks 1 of the 5 addresses" in check(tight, "AddressHeadRoom").message
    assert fits.status.state is PlanState.READY


async def test_what_if_a_host_failed(standard: World) -> None:
    await ready(standard)
    placement = a_cluster().spec.placement
    cluster = a_cluster(
        control_plane={"replicas": 3},
        placement={**placement.document(), "failureDomains": [one_domain("cc1")]},
    )
    pools = [a_node_pool(replicas=2)]
    plan = await ask_plan(standard, cluster, pools)
    await apply_plan(standard, plan, cluster, pools)
    machines = await standard.until(Machine, powered_on(5), "five machines are powered on")
    host = next(one for one in machines if one.spec.pool is None).spec.host
    assert host is not None

    answer = await ask_plan(standard, cluster, pools, host_lost=host)

    on_it = {one.metadata.name for one in machines if one.spec.host == host}
    replaced = [one for one in answer.status.actions if one.action == "replace"]
    assert {one.replaces for one in replaced} == on_it
    assert host not in {one.host_ref for one in replaced}
    assert check(answer, "Quorum").ok


async def test_a_plan_for_a_host_that_nobody_knows_is_refused(world: World) -> None:
    await ready(world)

    answer = await ask_plan(world, a_cluster(), [a_node_pool()], host_lost="esx-9")

    assert answer.status.state is PlanState.REFUSED
    assert "no host is called esx-9" in answer.status.message


async def test_how_many_more_fit(world: World) -> None:
    await ready(world)  # twenty addresses

    answer = await ask_plan(world, a_cluster(), [a_node_pool(replicas=2)], how_many=True)

    assert answer.status.fit is not None
    assert answer.status.fit.clusters == 5  # three machines and the endpoint each
    assert "no free address" in answer.status.fit.limited_by


def one_domain(name: str) -> dict[str, object]:
    return {
        "name": name,
        "computeCluster": name,
        "datastore": "ds1",
        "network": "nodes",
        "ipPool": "nodes",
    }


async def test_a_plan_made_twice_gives_the_same_places(world: World) -> None:
    await ready(world)
    cluster, pools = a_cluster(), [a_node_pool(replicas=2)]
    cluster.metadata.uid = new_uid()

    one, two = [await ask_plan(world, cluster, pools) for _ in range(2)]

    assert [x.addresses for x in one.status.actions] == [x.addresses for x in two.status.actions]
    assert {x.uid for x in one.status.actions}.isdisjoint({x.uid for x in two.status.actions})
