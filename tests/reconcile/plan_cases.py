"""Random inventories and documents: what a plan says is what comes, seed by seed.

``python -m tests.reconcile.plan_cases --count 200 --seed 1`` runs many and tells which failed.
"""

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import yaml

from moorage.resources import CloudAccount, Cluster, Machine, NodePool
from moorage.resources.plan import PlanState
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.planned import apply_plan, ask_plan, outcome, promised, settled

CHANGES = 2
"""After the cluster is made."""
_SETTLE_S = 120.0


@dataclass(slots=True)
class Told:
    """What one case came to."""

    seed: int
    plans: int = 0
    refused: int = 0
    machines: int = 0
    """That were made by plans."""
    deleted: int = 0
    wrong: list[str] = field(default_factory=list)


def an_inventory(chance: random.Random) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return a vCenter, its compute clusters and its datastores."""
    computes = [f"cc{n}" for n in range(1, chance.randint(1, 3) + 1)]
    stores = [f"ds{n}" for n in range(1, chance.randint(1, 3) + 1)]
    folders = [{"name": "templates"}, {"name": "clusters"}]
    template = {
        "name": "ubuntu-2404-kube-v1.34.4",
        "folder": "templates",
        "datastore": "ds1",
        "image": "1.34.4",
        "kubernetesVersion": "v1.34.4",
        "snapshot": chance.random() < 0.7,
        "diskGib": chance.choice([5, 20]),
    }
    user = {"name": "moorage@vsphere.local", "password": "Moorage-lab-1"}
    datacenter = {
        "name": "dc1",
        "computeClusters": [
            {
                "name": name,
                "hostCount": chance.randint(1, 4),
                "cpus": 16,
                "memoryGib": chance.choice([32, 64]),
                "drs": chance.random() < 0.5,
            }
            for name in computes
        ],
        "datastores": [
            {"name": name, "capacityGib": chance.choice([100, 500, 2048])} for name in stores
        ],
        "networks": ["VM Network"],
        "switches": [{"name": "dvs1", "portGroups": [{"name": "nodes"}]}],
        "folders": folders,
        "templates": [template],
    }
    return {"users": [user], "datacenters": [datacenter]}, computes, stores


def a_spec(chance: random.Random, computes: list[str], stores: list[str]) -> Cluster:
    """Return a cluster in some of these places."""
    domains = []
    for name in chance.sample(computes, chance.randint(1, len(computes))):
        some = chance.sample(stores, chance.randint(1, len(stores)))
        where = (
            {"datastore": some[0]} if len(some) == 1 else {"datastores": some, "datastore": None}
        )
        ip_pool = chance.choice(["nodes", "nodes", "more", None]) if domains else "nodes"
        domains.append(a_failure_domain(name, compute_cluster=name, ip_pool=ip_pool, **where))
    placement = a_cluster().spec.placement.model_copy(update={"failure_domains": domains})
    return a_cluster(
        placement=placement.model_dump(),
        control_plane={
            "replicas": chance.choice([1, 1, 3]),
            "failure_domains": _some([one.name for one in domains], chance),
        },
        clone_mode=chance.choice(["auto", "auto", "full"]),
    )


def some_pools(chance: random.Random, cluster: Cluster, before: list[NodePool]) -> list[NodePool]:
    """Return pools: those of before with another size, and perhaps one more."""
    pools = []
    for pool in before:
        changed = pool.copy_deep()
        changed.spec.replicas = chance.randint(0, 4)
        pools.append(changed)
    names = [name for name in ("db", "web", "zoo") if name not in {p.spec.pool for p in pools}]
    if names and chance.random() < 0.7:
        domains = [one.name for one in cluster.spec.placement.failure_domains]
        pools.append(
            a_node_pool(
                pool=chance.choice(names),
                replicas=chance.randint(0, 4),
                memory_mib=chance.choice([2048, 4096]),
                failure_domains=_some(domains, chance),
            )
        )
    return pools


def _some(names: list[str], chance: random.Random) -> list[str]:
    """Return none of them, which means all, or a part."""
    return [] if chance.random() < 0.5 else chance.sample(names, chance.randint(1, len(names)))


async def live(seed: int, folder: Path) -> Told:
    """Live one case: make a cluster by a plan, and change it by plans."""
    chance, told = random.Random(seed), Told(seed)  # noqa: S311 - no secret
    inventory, computes, stores = an_inventory(chance)
    file = folder / "inventory.yaml"
    file.write_text(yaml.safe_dump(inventory))
    with VCenterProcess.start(file) as vcenter:
        async with World.running(vcenter, folder) as world:
            hold_off = chance.choice([0, 300])
            last = chance.randint(13, 40)
            await world.ask_account()
            await world.ask(an_ip_pool(end=f"10.77.1.{last}", hold_off_s=hold_off))
            await world.ask(an_ip_pool("more", start="10.77.2.5", end="10.77.2.20"))
            await world.until(CloudAccount, _is_ready, "the account is ready")
            for name in stores:
                free = chance.choice([15, 40, 100])
                vcenter.control.set_datastore(f"/dc1/datastore/{name}", free_gib=free)
            cluster, pools = a_spec(chance, computes, stores), list[NodePool]()
            for _ in range(1 + CHANGES):
                proposed = some_pools(chance, cluster, pools)
                if await _plan_and_apply(world, cluster, proposed, told):
                    pools = proposed
    return told


def _is_ready(accounts: list[CloudAccount]) -> bool:
    return accounts[0].status.is_true("Ready")


async def _plan_and_apply(
    world: World, cluster: Cluster, pools: list[NodePool], told: Told
) -> bool:
    """Plan these documents, apply what is ready, and compare; tells whether it was applied."""
    plan = await ask_plan(world, cluster, pools)
    told.plans += 1
    if plan.status.state is not PlanState.READY:
        told.refused += 1
        return False
    there = {one.metadata.name for one in await world.store.list(Machine)}
    await apply_plan(world, plan, cluster, pools)
    done = await settled(world, plan, (PlanState.APPLIED, PlanState.OUTDATED))
    if done.status.state is not PlanState.APPLIED:
        told.wrong.append(f"outdated though nothing moved: {done.status.differences}")
        return True
    await _at_rest(world)
    actions = plan.status.actions
    told.machines += sum(1 for one in actions if one.action in ("create", "replace"))
    told.deleted += sum(1 for one in actions if one.action == "delete")
    expected, came = promised(actions, "create", "replace", "keep"), await outcome(world)
    if expected != came:
        told.wrong.append(f"promised and not there {expected - came}, there {came - expected}")
    gone = there - {one.metadata.name for one in await world.store.list(Machine)}
    if gone != {one.machine for one in actions if one.action == "delete"}:
        told.wrong.append(f"deleted were {gone}")
    told.wrong += _compare_vms(world, plan.status.actions)
    return True


async def _at_rest(world: World) -> None:
    """Wait until each Machine is powered on, or gone."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        machines = await world.store.list(Machine)
        if all(one.status.is_true("PoweredOn") and not one.is_deleting for one in machines):
            return
        await anyio.sleep(0.2)
    raise AssertionError(f"not at rest after {_SETTLE_S:.0f} s: {[str(m) for m in machines]}")


def _compare_vms(world: World, actions: list[Any]) -> list[str]:
    """Hold vCenter's own VMs against the plan."""
    vms = {vm["name"]: vm for vm in world.vms()}
    stays = {one.machine: one for one in actions if one.action != "delete"}
    wrong = [f"VM {name} was not planned" for name in vms.keys() - stays.keys()]
    wrong += [f"VM {name} is not there" for name in stays.keys() - vms.keys()]
    for name in vms.keys() & stays.keys():
        vm, planned = vms[name], stays[name]
        if vm["instanceUuid"] != planned.uid:
            wrong.append(f"VM {name} has UUID {vm['instanceUuid']}")
        host = vm["host"].rpartition("/")[2]
        if not host.startswith(f"{planned.compute_cluster}-"):  # so the lab calls its hosts
            wrong.append(f"VM {name} runs on {host}, not in {planned.compute_cluster}")
        if planned.host is not None and host != planned.host:
            wrong.append(f"VM {name} runs on {host}, not on {planned.host}")
        lies_on = vm["datastore"].rpartition("/")[2]
        if lies_on != planned.datastore:
            wrong.append(f"VM {name} lies on {lies_on}, not on {planned.datastore}")
    return wrong


def main() -> int:
    """Run many cases; the exit code is 0 only if every outcome was as planned."""
    parser = argparse.ArgumentParser(prog="python -m tests.reconcile.plan_cases")
    parser.add_argument("--count", type=int, default=50, help="cases to live")
    parser.add_argument("--seed", type=int, default=1, help="of the first; the next has seed+1")
    given = parser.parse_args()
    total = Told(given.seed)
    for seed in range(given.seed, given.seed + given.count):
        with tempfile.TemporaryDirectory() as folder:
            told = anyio.run(live, seed, Path(folder))
        total.plans += told.plans
        total.refused += told.refused
        total.machines += told.machines
        total.deleted += told.deleted
        total.wrong += [f"seed {seed}: {one}" for one in told.wrong]
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{given.count} cases, {total.plans} plans ({total.refused} refused), {total.machines} "
        f"machines made, {total.deleted} deleted, {len(total.wrong)} otherwise than planned\n"
    )
    for one in total.wrong:
        sys.stdout.write(f"{one}\n")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
