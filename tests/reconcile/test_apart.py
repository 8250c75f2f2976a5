"""Machines of a role join a rule of DRS before they boot; it is removed with the last of them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage.resources import Cluster, Machine, NodePool
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on
from tests.reconcile.test_placing import ask_cluster, hosts

pytestmark = pytest.mark.anyio


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway at a vCenter whose compute cluster has three hosts and DRS."""
    with VCenterProcess.start(an_inventory(hosts=3)) as vcenter:
        async with World.running(vcenter, tmp_path) as world:
            yield world


def an_inventory(*, hosts: int) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(default_inventory().read_text())
    spec["datacenters"][0]["computeClusters"][0]["hostCount"] = hosts
    return spec


def rules(world: World) -> dict[str, set[str]]:
    """Return the names of the VMs of each rule, by the end of the rule's name."""
    found = world.vcenter.control.inventory()
    names = {vm["moref"]: vm["name"] for vm in found["vms"]}
    return {
        rule["name"].rpartition(".")[2]: {names[one] for one in rule["vms"]}
        for rule in found["rules"]
    }


def said(kind: type[Any]) -> Callable[[list[Any]], bool]:
    """Claim that the condition says that hosts are too few."""

    def claim(found: list[Any]) -> bool:
        condition = found[0].status.condition("KeptApart") if found else None
        return condition is not None and condition.reason == "TooFewHosts"

    return claim


async def test_each_role_gets_a_rule_that_is_joined_before_the_first_boot(three: World) -> None:
    await ask_cluster(three, "cc1", control_plane=3, workers=3)

    machines = await three.until(Machine, powered_on(6), "six machines are powered on")

    by_role = {
        "control plane": {one.metadata.name for one in machines if one.spec.pool is None},
        "workers": {one.metadata.name for one in machines if one.spec.pool},
    }
    assert rules(three) == by_role
    assert sorted(hosts(three, of="cp").values()) == [1, 1, 1]
    assert sorted(hosts(three, of="workers").values()) == [1, 1, 1]
    calls = three.vcenter.control.counters()["calls"]
    assert calls["ReconfigureComputeResource_Task"] <= 4, "a burst is one change, not one each"


async def test_what_cannot_be_kept_apart_is_said_and_runs_all_the_same(three: World) -> None:
    await ask_cluster(three, "cc1", control_plane=5, workers=4)

    await three.until(Machine, powered_on(9), "nine machines are powered on")
    cluster = (await three.until(Cluster, said(Cluster), "the cluster says so"))[0]
    pool = (await three.until(NodePool, said(NodePool), "the pool says so"))[0]

    assert {role: len(members) for role, members in rules(three).items()} == {
        "control plane": 3,
        "workers": 3,
    }
    assert "2 of 5 machines share a host" in cluster.status.condition("KeptApart").message
    assert "cc1 has 3 usable hosts" in pool.status.condition("KeptApart").message


async def test_one_machine_of_a_role_needs_no_rule(world: World) -> None:
    await ask_cluster(world, "cc1", control_plane=1, workers=1)

    await world.until(Machine, powered_on(2), "two machines are powered on")

    assert rules(world) == {}


async def test_no_rule_is_left_of_a_cluster_that_is_deleted(three: World) -> None:
    cluster = await ask_cluster(three, "cc1", control_plane=3, workers=2)
    await three.until(Machine, powered_on(5), "five machines are powered on")
    assert len(rules(three)) == 2

    for pool in await three.store.list(NodePool):
        await three.delete(pool)
    await three.delete(cluster)

    await three.until(Cluster, _finished, "the cluster is gone")
    assert rules(three) == {}
    assert three.vms() == []


async def test_a_rule_loses_and_gains_machines_with_its_pool(three: World) -> None:
    await ask_cluster(three, "cc1", control_plane=1, workers=3)
    await three.until(Machine, powered_on(4), "four machines are powered on")
    (pool,) = await three.store.list(NodePool)

    async def scale(replicas: int, rule: int) -> None:
        pool.spec.replicas = replicas
        await three.ask(pool)
        await three.until(
            Machine, lambda found: len(found) == replicas + 1, "machines are as many as asked"
        )
        await three.until(Machine, powered_on(replicas + 1), "all run")
        await three.until(
            NodePool,
            lambda _: len(rules(three).get("workers", ())) == rule,
            f"the rule has {rule} machines",
        )

    await scale(2, 2)
    await scale(1, 0)
    await scale(3, 3)


async def test_a_rule_of_somebody_else_is_left_alone(three: World) -> None:
    await ask_cluster(three, "cc1", control_plane=1, workers=2)
    await three.until(Machine, powered_on(3), "three machines are powered on")
    three.make_rule("separate", [vm["moref"] for vm in three.vms()])
    before = rules(three)["separate"]

    await three.stop()
    await three.start()
    (pool,) = await three.store.list(NodePool)
    await three.delete(pool)

    await three.until(NodePool, _finished, "the pool is gone")
    left = rules(three)
    assert set(left) == {"separate"}
    assert left["separate"] < before, "vCenter itself takes out what is destroyed"


async def test_a_lost_answer_makes_no_second_rule(three: World) -> None:
    three.vcenter.control.fault("ReconfigureComputeResource_Task", "dropAnswer")

    await ask_cluster(three, "cc1", control_plane=1, workers=3)

    await three.until(Machine, powered_on(4), "four machines are powered on")
    assert {role: len(members) for role, members in rules(three).items()} == {"workers": 3}


async def test_a_rule_that_is_refused_keeps_no_machine_back(three: World) -> None:
    method = "ReconfigureComputeResource_Task"
    three.vcenter.control.fault(method, "fail", fault="InvalidArgument", count=-1)

    await ask_cluster(three, "cc1", control_plane=1, workers=3)

    await three.until(Machine, powered_on(4), "four machines are powered on")
    found = await three.until(NodePool, _reason("RuleRefused"), "the pool says so")
    assert "InvalidArgument" in found[0].status.condition("KeptApart").message
    three.vcenter.control.clear_faults()
    await three.ask(found[0])
    await three.until(
        NodePool, lambda _: len(rules(three).get("workers", ())) == 3, "the rule is made later"
    )


def _finished(found: list[Any]) -> bool:
    """Claim that the gateway has nothing left to do: the hub removes the resource itself."""
    return all(not one.metadata.finalizers for one in found)


def _reason(reason: str) -> Callable[[list[Any]], bool]:
    def claim(found: list[Any]) -> bool:
        condition = found[0].status.condition("KeptApart") if found else None
        return condition is not None and condition.reason == reason

    return claim
