"""Clusters that share a vCenter: each gets its part of what may be cloned at a time."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from moorage.resources import Cluster, Machine
from moorage.resources.kubernetes import Role
from moorage.vsphere import Limits
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World


async def ask_cluster(world: World, name: str, workers: int, **changes: Any) -> Cluster:
    cluster: Cluster = await world.ask_cluster(a_cluster(name, **changes))
    pool = a_node_pool(name, replicas=workers)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)
    return cluster


async def test_a_small_cluster_starts_among_the_machines_of_a_large_one(
    vcenter: VCenterProcess, tmp_path: Path
) -> None:
    """Every clone takes a second, two run at a time: 41 machines take half a minute and more."""
    vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 1.0})
    async with World.running(vcenter, tmp_path, limits=Limits(clones=2)) as world:
        await world.ask_account()
        await world.ask(an_ip_pool(end="10.77.1.90"))
        large = await ask_cluster(world, "large", 40)
        await world.until(
            Machine,
            lambda found: sum("CloneStarted" in one.status.timeline for one in found) >= 3,
            "the large cluster is at it",
        )
        small = await ask_cluster(world, "small", 2)

        def made(machines: list[Machine], cluster: Cluster) -> list[Machine]:
            uid = cluster.metadata.uid
            mine = [one for one in machines if one.metadata.owner and one.metadata.owner.uid == uid]
            return [one for one in mine if "VMCreated" in one.status.timeline]

        machines = await world.until(
            Machine, lambda found: len(made(found, small)) == 3, "the small cluster has its VMs"
        )

        assert len(made(machines, large)) < 35, "most of the large cluster still waits"
        order = sorted(made(machines, large), key=lambda one: one.status.timeline["CloneStarted"])
        begun = [one.spec.role for one in order].index(Role.CONTROL_PLANE)
        assert begun <= 10, "only those may be before it who asked while places were free"


async def test_accounts_of_one_vcenter_share_what_may_be_cloned_there(
    vcenter: VCenterProcess, tmp_path: Path
) -> None:
    """One clone at a time, which takes a second: whoever asks, no two begin within one."""
    vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 1.0})
    async with World.running(vcenter, tmp_path, limits=Limits(clones=1)) as world:
        await world.ask_account()
        await world.ask_account("other")
        await world.ask(an_ip_pool(end="10.77.1.90"))
        await ask_cluster(world, "first", 1)
        await ask_cluster(world, "second", 1, account="other")

        machines = await world.until(
            Machine,
            lambda found: sum("VMCreated" in one.status.timeline for one in found) == 4,
            "both clusters have their VMs",
        )

        begun = sorted(
            datetime.fromisoformat(one.status.timeline["CloneStarted"]) for one in machines
        )
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(begun)]
        assert min(gaps) > 0.9, gaps
