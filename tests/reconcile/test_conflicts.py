"""An address that somebody else uses is not given, and the pool says who has it."""

from ipaddress import IPv4Address

from moorage.resources import CloudAccount, Cluster, IPAddress, IPPool, Machine
from tests.builders import a_cluster, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, delete_all, powered_on, reason

NODES = "/dc1/network/nodes"
ELSEWHERE = "/dc1/network/VM Network"


async def addresses(world: World) -> set[str]:
    return {str(claim.spec.address) for claim in await world.store.list(IPAddress)}


async def test_an_address_that_a_strangers_vm_shows_is_passed_over(world: World) -> None:
    world.make_foreign_vm("printer", network=NODES, addresses=["10.77.1.10", "10.77.1.12"])
    world.make_foreign_vm("far", network=ELSEWHERE, addresses=["10.77.1.11"])

    cluster = await ask_all(world)

    await world.until(Machine, powered_on(3), "three machines are powered on")
    assert await addresses(world) == {f"10.77.1.{n}" for n in (11, 13, 14, 15)}
    (pool,) = await world.until(
        IPPool, lambda p: reason(p[0]) == "AddressConflict", "the pool says so"
    )
    assert [str(one.address) for one in pool.status.conflicts] == ["10.77.1.10", "10.77.1.12"]
    assert "printer" in pool.status.conflicts[0].used_by
    said = pool.status.condition("ConflictFree")
    assert said is not None
    assert "10.77.1.12 is used by VM printer" in said.message
    assert pool.status.claimed == 4

    world.destroy_foreign_vm("printer")
    await delete_all(world, cluster)  # wakes the pool's pass too
    (pool,) = await world.until(IPPool, lambda p: p[0].status.is_true("Ready"), "it is over")
    assert pool.status.conflicts == []


async def test_an_address_is_given_back_when_a_strangers_vm_shows_it_before_the_clone(
    world: World,
) -> None:
    world.make_foreign_vm("printer", network=NODES, addresses=["10.77.1.12"])
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.fault("CloneVM_Task", "fail", fault="ResourceInUse", count=100)
    await ask_all(world)
    await world.until(Machine, lambda m: len(m) == 3, "three machines are stored")
    claims = await world.store.list(IPAddress)
    owner = next(one for one in claims if one.spec.claimed_by.kind == "Machine")
    stolen = str(owner.spec.address)

    world.make_foreign_vm("thief", network=NODES, addresses=[stolen])
    await world.sees(stolen)
    world.vcenter.control.clear_faults()

    await world.until(Machine, powered_on(3), "three machines are powered on")
    assert stolen not in await addresses(world)
    assert len(await addresses(world)) == 4


async def test_an_endpoint_that_a_strangers_vm_has_is_refused(world: World) -> None:
    world.make_foreign_vm("printer", network=NODES, addresses=["10.77.1.20"])
    await world.ask_account()
    await world.ask(an_ip_pool())

    await world.ask_cluster(a_cluster(endpoint={"host": "10.77.1.20"}))

    (cluster,) = await world.until(
        Cluster, lambda c: reason(c[0]) == "EndpointTaken", "the cluster says so"
    )
    said = cluster.status.condition("EndpointClaimed")
    assert said is not None
    assert "10.77.1.20 is used by VM printer" in said.message
    assert IPv4Address("10.77.1.20") not in {
        claim.spec.address for claim in await world.store.list(IPAddress)
    }
