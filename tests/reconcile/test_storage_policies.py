"""Clusters whose machines follow a storage policy."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moorage.resources import Cluster, Machine, TemplateReplica
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on, reason

POLICY = "Silber / 50% ä"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway at a vCenter with storage policies."""
    with VCenterProcess.start(lab_dir() / "inventories" / "pods.yaml") as vcenter:
        async with World.running(vcenter, tmp_path) as world:
            yield world


def following(policy: str, **more: Any) -> Cluster:
    domain = a_failure_domain(datastore=None, storage_policy=policy, **more)
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": [domain]})
    return a_cluster(placement=placement.model_dump())


async def ask(world: World, policy: str) -> Cluster:
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.60"))
    cluster: Cluster = await world.ask_cluster(following(policy))
    return cluster


def followed(world: World) -> dict[str, tuple[str, set[str]]]:
    """Return datastore and policies of each VM but the templates that people made."""
    return {
        vm["name"]: (vm["datastore"], set(vm["policies"].values()))
        for vm in world.vcenter.control.inventory()["vms"]
        if "policies" in vm
    }


async def test_machines_and_what_they_share_follow_the_policy_wherever_it_leads(
    world: World,
) -> None:
    world.vcenter.control.set_policy(POLICY, ["silver1"])
    cluster = await ask(world, POLICY)
    (first,) = await world.until(Machine, powered_on(1), "the machine is powered on")

    # What satisfies the policy is another datastore now, and nobody has told us.
    world.vcenter.control.set_policy(POLICY, ["silver2"])
    pool = a_node_pool(replicas=1)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)
    machines = await world.until(Machine, powered_on(2), "the worker is powered on")

    (worker,) = [one for one in machines if one.key != first.key]
    replicas = [one.metadata.name for one in await world.store.list(TemplateReplica)]
    assert first.spec.failure_domain.storage_policy == POLICY
    found = followed(world)
    assert set(found) == {first.vm_name, worker.vm_name, *replicas}
    assert found[first.vm_name] == ("silver1", {POLICY})
    assert found[worker.vm_name] == ("silver2", {POLICY})
    assert {policies == {POLICY} for _, policies in found.values()} == {True}
    assert [one.status.full_clone for one in machines] == ["", ""]


async def test_a_policy_that_is_not_there_is_said_at_its_field_until_it_is(world: World) -> None:
    await ask(world, "bronze")

    found = await world.until(
        Cluster, lambda items: reason(items[0]) == "PlacementInvalid", "the policy is refused"
    )

    said = found[0].status.condition("Ready").message
    assert "spec.placement.failureDomains[0].storagePolicy: no storage policy 'bronze'" in said
    assert await world.store.list(Machine) == []
