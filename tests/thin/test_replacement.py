"""Control planes are replaced, and etcd never has fewer members than are asked for."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from moorage.kit.errors import UnavailableError
from moorage.kube import EtcdMember
from moorage.resources import Cluster, IPAddress, Machine, Operation
from moorage.resources.kubernetes import Role
from tests.builders import a_cluster, a_failure_domain
from tests.thin.conftest import ThinWorld
from tests.thin.test_clusters import all_ready, ask_cluster, ask_site
from tests.thin.test_thin_nodes import eventually

PATIENCE_S = 60


async def founded(world: ThinWorld, replicas: int, **more: Any) -> Cluster:
    """Return a Ready cluster of so many control planes whose address moves within moments."""
    world.vcenter.guests.settings(vipSeconds=0.3, graceSeconds=0.3)
    await ask_site(world)
    await ask_cluster(world, workers=0, control_plane={"replicas": replicas}, **more)
    (cluster,) = await world.until(Cluster, all_ready(replicas), "all nodes are Ready")
    return cluster


async def delete(world: ThinWorld, machine: Machine, name: str = "delete") -> Operation:
    """Ask for a machine's replacement as `moorage machines delete` does; return how that ended."""
    document = {
        "metadata": {"name": name, "project": "default"},
        "spec": {
            "verb": "delete",
            "subjectKind": "Machine",
            "subjectName": machine.metadata.name,
            "subjectUid": machine.metadata.uid,
            "arguments": {},
        },
    }
    await world.ask(Operation.model_validate(document))

    def ended(operations: list[Operation]) -> list[Operation]:
        return [o for o in operations if o.metadata.name == name and o.status.completed_at]

    found = await world.until(Operation, lambda o: bool(ended(o)), f"{name} has ended")
    return ended(found)[0]


async def members(world: ThinWorld, cluster: Cluster) -> list[EtcdMember]:
    """Ask etcd, until it answers."""
    client = await world.work.env.access.client(await world.store.get(Cluster, *cluster.key))
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                return await client.etcd_members()
            except UnavailableError:
                await anyio.sleep(0.1)


async def all_are_healthy(world: ThinWorld, cluster: Cluster) -> bool:
    return all(one.healthy for one in await members(world, cluster))


def without(old: Machine, replicas: int) -> Callable[[list[Machine]], bool]:
    """Claim that a machine is gone, and all others are Ready."""
    return lambda found: (
        old.metadata.uid not in {one.metadata.uid for one in found}
        and len(found) == replicas
        and all(one.status.is_true("Ready") for one in found)
    )


async def check(world: ThinWorld, cluster: Cluster, replicas: int) -> None:
    """Exactly the wanted members, nodes, VMs and addresses."""
    names = {machine.metadata.name for machine in await world.store.list(Machine)}
    etcd = await members(world, cluster)
    assert len(names) == replicas
    assert {one.name for one in etcd} == names
    assert all(one.healthy for one in etcd)
    assert {vm["name"] for vm in world.vms()} == names
    nodes = await world.work.env.access.nodes(cluster, max_age_s=0)
    assert {node.name for node in nodes if node.ready} == names == {node.name for node in nodes}
    claims = [c for c in await world.store.list(IPAddress) if c.spec.released_at is None]
    assert len(claims) == replicas + 1


async def founder_of(world: ThinWorld) -> Machine:
    return next(m for m in await world.store.list(Machine) if m.spec.bootstrap == "init")


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.long), 3])
async def test_a_control_plane_goes_when_another_serves_in_its_place(
    world: ThinWorld, replicas: int
) -> None:
    cluster = await founded(world, replicas)
    old = await founder_of(world)  # it leads etcd and holds the virtual address
    joining = anyio.Event()
    fewest: list[int] = []

    async def healthy() -> int:
        return sum(1 for one in await members(world, cluster) if one.healthy)

    async def watch() -> None:
        while not joining.is_set():
            found = await healthy()
            # A member that answers late on a busy machine is not ill: it is so twice.
            fewest.append(found if found >= replicas else max(found, await healthy()))
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        done = await delete(world, old)
        assert not done.status.failed, done.status.message
        await world.until(Machine, without(old, replicas), "another has taken its place")
        joining.set()

    assert min(fewest) >= replicas
    await check(world, cluster, replicas)
    await world.until(Cluster, all_ready(replicas), "the cluster is Ready")


async def test_a_control_plane_whose_vm_is_gone_is_replaced(world: ThinWorld) -> None:
    cluster = await founded(world, 3)
    old = await founder_of(world)
    world.vcenter.guests.hang(old.metadata.name)
    world.power_off_and_destroy(old.metadata.name)
    await world.until(
        Machine,
        lambda found: any(
            (c := one.status.condition("VMCreated")) is not None and c.reason == "VMMissing"
            for one in found
        ),
        "the machine without a VM is told",
    )
    await members(world, cluster)  # the API answers, elsewhere than before

    done = await delete(world, old)

    assert not done.status.failed, done.status.message
    await world.until(Machine, without(old, 3), "another has taken its place")
    await check(world, cluster, 3)


async def test_nothing_is_replaced_while_another_member_is_ill_or_being_replaced(
    world: ThinWorld,
) -> None:
    cluster = await founded(world, 3)
    first, second, third = await world.store.list(Machine)
    world.vcenter.guests.hang(third.metadata.name)
    await members(world, cluster)  # the API answers, maybe elsewhere than before

    refused = await delete(world, first, "one")

    assert refused.status.failed
    assert f"not healthy: {third.metadata.name}" in (refused.status.message or "")
    world.vcenter.guests.hang(second.metadata.name)
    without_quorum = await delete(world, third, "two")
    assert without_quorum.status.failed
    assert "nobody can join without a quorum" in (without_quorum.status.message or "")
    assert not any(machine.is_deleting for machine in await world.store.list(Machine))
    for machine in (second, third):
        (vm,) = [vm for vm in world.vms() if vm["name"] == machine.metadata.name]
        world.reset_vm(vm["moref"])
    await eventually(lambda: all_are_healthy(world, cluster))

    # Its replacement takes long, so that the other request comes meanwhile.
    world.vcenter.guests.settings(joinSeconds=5)
    begun = await delete(world, first, "three")
    busy = await delete(world, second, "four")

    assert not begun.status.failed, begun.status.message
    assert busy.status.failed
    assert f"{first.metadata.name} is being replaced: one at a time" in (busy.status.message or "")
    await world.until(
        Machine,
        lambda found: (
            len(found) == 4
            and any(
                (c := one.status.condition("Replaced")) is not None
                and c.reason == "WaitingForReplacement"
                for one in found
            )
        ),
        "the old one says what it waits for, and its replacement is there",
    )
    await world.until(Machine, without(first, 3), "the first is replaced")
    await check(world, cluster, 3)


@pytest.mark.long
async def test_two_that_are_deleted_at_once_leave_on_nobody_elses_account(
    world: ThinWorld,
) -> None:
    cluster = await founded(world, 3)
    first, second, _ = await world.store.list(Machine)

    for machine in (first, second):  # as after two requests that did not see each other
        await world.delete(machine)

    await world.until(Machine, without(first, 3), "both are replaced")
    await check(world, cluster, 3)


@pytest.mark.long
async def test_a_gateway_that_dies_again_and_again_replaces_once(world: ThinWorld) -> None:
    cluster = await founded(world, 3)
    old = await founder_of(world)
    world.vcenter.guests.settings(joinSeconds=1)
    await delete(world, old)

    for pause in (0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3):
        await anyio.sleep(pause)
        await world.stop()
        await world.start()

    await world.until(Machine, without(old, 3), "another has taken its place")
    await check(world, cluster, 3)


async def test_a_control_plane_whose_lease_changes_is_replaced(world: ThinWorld) -> None:
    endpoint = str(world.vcenter.guests.network.network_address + 20000)
    placement = {
        **a_cluster().spec.placement.model_dump(),
        "failure_domains": [a_failure_domain("a", ip_pool=None)],
    }
    cluster = await founded(world, 3, endpoint={"host": endpoint}, placement=placement)
    old = await founder_of(world)

    world.vcenter.guests.change_lease(old.metadata.name)

    # It leaves etcd at once. What ran there is waited for as on any node that has fallen silent.
    def is_replaced(found: list[Machine]) -> bool:
        staying = [one for one in found if not one.is_deleting]
        return (
            old.metadata.uid not in {one.metadata.uid for one in staying}
            and len(staying) == 3
            and all(one.status.is_true("Ready") for one in staying)
        )

    machines = await world.until(Machine, is_replaced, "another has taken its place")
    etcd = await members(world, cluster)
    assert all(one.healthy for one in etcd)
    assert {one.name for one in etcd} == {m.metadata.name for m in machines if not m.is_deleting}


@pytest.mark.parametrize(
    "role", [Role.WORKER, pytest.param(Role.CONTROL_PLANE, marks=pytest.mark.long)]
)
async def test_a_node_that_went_down_before_its_data_was_on_its_disk_is_replaced(
    world: ThinWorld, role: Role
) -> None:
    pattern = "demo-workers-*" if role is Role.WORKER else "demo-cp-*"
    world.vcenter.guests.fault(pattern, "redacted")
    await ask_site(world)

    await ask_cluster(world, workers=1)

    await world.until(Cluster, all_ready(2), "both nodes are Ready")
    machines = await world.until(Machine, lambda m: len(m) == 2, "the lost one is gone")
    assert {vm["name"] for vm in world.vms()} == {m.metadata.name for m in machines}
    assert sorted(m.spec.bootstrap for m in machines) == ["init", "join"]
