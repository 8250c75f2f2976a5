"""The check of an account beside its privileges: places, template, room, addresses, clocks."""

from datetime import timedelta
from typing import Any

from moorage.resources import CloudAccount, Cluster, Machine, Metadata, Operation
from moorage.resources.check import Check
from moorage.resources.nodepool import document_of_pool
from moorage.resources.operation import OperationSpec, Verb
from moorage.resources.permission import (
    CheckArguments,
    CheckedCluster,
    CheckResult,
    CheckTarget,
)
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on


async def ask_check(world: World, arguments: CheckArguments) -> Operation:
    """Ask for a check, and wait for its end."""
    number = len(await world.store.list(Operation))
    await world.ask(
        Operation(
            metadata=Metadata(name=f"check-{number}", project="default"),
            spec=OperationSpec(
                verb=Verb.CHECK,
                subject_kind="CloudAccount",
                subject_name="lab",
                arguments=arguments.document(),
            ),
        )
    )
    found = await world.until(
        Operation,
        lambda all_: all(one.status.completed_at is not None for one in all_),
        "the check has ended",
    )
    return next(one for one in found if one.metadata.name == f"check-{number}")


async def check(world: World, arguments: CheckArguments) -> dict[str, Check]:
    """Return all checks of the answer, by name."""
    done = await ask_check(world, arguments)
    assert not done.status.failed, done.status.message
    return {one.name: one for one in CheckResult.model_validate(done.status.result).checks}


def proposed(cluster: Cluster, workers: int = 1) -> CheckArguments:
    pools = [document_of_pool(a_node_pool(replicas=workers))]
    named = CheckedCluster(name=cluster.metadata.name, proposed=cluster.spec, node_pools=pools)
    return CheckArguments(targets=CheckTarget.of_cluster(cluster), clusters=[named])


def placed(**domain: Any) -> Cluster:
    placement = a_cluster().spec.placement
    domains = [a_failure_domain("a", **domain)]
    found: Cluster = a_cluster(
        placement=placement.model_copy(update={"failure_domains": domains}).model_dump()
    )
    return found


async def connect(world: World) -> None:
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.13"))
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")


async def test_what_machines_need_beside_privileges_is_looked_at(world: World) -> None:
    await connect(world)

    found = await check(world, proposed(a_cluster()))

    assert {name: one.ok for name, one in found.items()} == {
        "AccountWrites": True,
        "Clock": True,
        "Placement": True,
        "Template": True,
        "Room": True,
        "Addresses": True,
        "AddressHeadRoom": True,
        "HostsApart": True,
    }


async def test_all_that_is_wrong_with_several_clusters_is_said_at_once(world: World) -> None:
    await connect(world)
    large = proposed(a_cluster(), workers=9)
    lost = placed(datastore="ds9")
    old = a_cluster("old", kubernetes_version="v1.33.1")
    lost.metadata.name = "lost"
    every = [large, proposed(lost), proposed(old)]

    found = await check(
        world,
        CheckArguments(
            targets=large.targets, clusters=[one for several in every for one in several.clusters]
        ),
    )

    assert "cluster demo: workers: 7 of 9 machines have no room" in found["Room"].message
    assert "no free address" in found["Room"].message
    assert "cluster lost: spec.placement.failureDomains[0].datastore" in found["Placement"].message
    assert "cluster old: template" in found["Template"].message
    assert "holds Kubernetes v1.34.4" in found["Template"].message
    assert found["Clock"].ok


async def test_without_a_cluster_one_machine_shall_fit_where_flags_say(world: World) -> None:
    await connect(world)
    targets = CheckTarget.of_cluster(a_cluster())
    assert (await check(world, CheckArguments(targets=targets)))["Room"].ok
    world.vcenter.control.set_datastore("/dc1/datastore/ds1", maintenance=True)
    nowhere = targets[0].model_copy(update={"network": "VM Netwerk"})

    found = await check(world, CheckArguments(targets=[*targets, nowhere]))

    assert found["Room"].message == "cc1: cc1: datastore ds1 is in maintenance mode"
    assert found["Placement"].message.startswith("cc1: network: no network 'VM Netwerk'")
    assert found["Template"].ok


async def test_a_cluster_that_is_there_is_taken_as_it_is(world: World) -> None:
    await connect(world)
    cluster = await world.ask_cluster(a_cluster())
    await world.until(Machine, powered_on(1), "the machine is powered on")
    targets = CheckTarget.of_cluster(cluster)

    found = await check(
        world, CheckArguments(targets=targets, clusters=[CheckedCluster(name="demo")])
    )
    none = await ask_check(
        world, CheckArguments(targets=targets, clusters=[CheckedCluster(name="other")])
    )
    elsewhere = proposed(a_cluster(account="theirs"))
    theirs = await ask_check(world, elsewhere)

    assert all(one.ok for one in found.values())
    assert "there is no cluster other" in (none.status.message or "")
    assert "uses account theirs, not lab" in (theirs.status.message or "")


async def test_clocks_that_disagree_fail_the_check(world: World) -> None:
    await connect(world)
    await world.restart_with_clock(timedelta(minutes=10))

    found = await check(world, proposed(a_cluster()))

    assert not found["Clock"].ok
    assert found["Room"].ok
