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
import pytest
import yaml

from moorage.resources import CloudAccount, Cluster, Machine, NodePool, TemplateReplica
from moorage.resources.plan import PlannedMachine, PlanState, PlanStatus
from moorage.resources.replica import LABEL_REPLICA
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.planned import apply_plan, ask_plan, outcome, promised, settled

CHANGES = 2
"""After the cluster is made."""
_SETTLE_S = 120.0
POLICY = "some"
"""Storage policy that some of the datastores satisfy."""


@dataclass(slots=True)
class Told:
    """What one case came to."""

    seed: int
    plans: int = 0
    refused: int = 0
    machines: int = 0
    """That were made by plans."""
    deleted: int = 0
    replicas: int = 0
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
    fitting = chance.sample(stores, chance.randint(1, len(stores)))
    policies = [{"name": POLICY, "datastores": fitting}]
    estate = {"users": [user], "datacenters": [datacenter], "storagePolicies": policies}
    return estate, computes, stores


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
    placed = {"failure_domains": domains, "folder_per_cluster": chance.random() < 0.5}
    placement = a_cluster().spec.placement.model_copy(update=placed)
    return a_cluster(
        placement=placement.model_dump(),
        control_plane={
            "replicas": chance.choice([1, 1, 3]),
            "extra_disks": some_disks(chance, stores),
            "failure_domains": _some([one.name for one in domains], chance),
        },
        clone_mode=chance.choice(["auto", "auto", "full"]),
    )


def some_pools(
    chance: random.Random, cluster: Cluster, before: list[NodePool], stores: list[str]
) -> list[NodePool]:
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
                extra_disks=some_disks(chance, stores),
            )
        )
    return pools


def some_disks(chance: random.Random, stores: list[str]) -> list[dict[str, Any]]:
    """Return extra disks: mostly none; some beside the machine's, some elsewhere."""
    places = [None, *stores, "policy"]
    return [
        {"size_gib": chance.choice([1, 8, 30]), **_at(chance.choice(places))}
        for _ in range(chance.choice([0, 0, 0, 1, 2]))
    ]


def _at(place: str | None) -> dict[str, str]:
    if place is None:
        return {}
    return {"storage_policy": POLICY} if place == "policy" else {"datastore": place}


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
                proposed = some_pools(chance, cluster, pools, stores)
                if told.wrong:
                    break
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
    replicas = {one.metadata.name for one in await world.store.list(TemplateReplica)}
    await apply_plan(world, plan, cluster, pools)
    try:
        done = await settled(world, plan, (PlanState.APPLIED, PlanState.OUTDATED))
        if done.status.state is PlanState.APPLIED:
            await _at_rest(world)
    except (AssertionError, pytest.fail.Exception) as error:
        (stuck,) = await world.store.list(Cluster)
        conditions = [f"{c.type} {c.reason}: {c.message}" for c in stuck.status.conditions]
        told.wrong.append(f"stuck: {error}; {conditions}")
        return False
    if done.status.state is not PlanState.APPLIED:
        told.wrong.append(f"outdated though nothing moved: {done.status.differences}")
        return True
    actions = plan.status.actions
    told.machines += sum(1 for one in actions if one.action in ("create", "replace"))
    told.deleted += sum(1 for one in actions if one.action == "delete")
    expected, came = promised(actions, "create", "replace", "keep"), await outcome(world)
    if expected != came:
        told.wrong.append(f"promised and not there {expected - came}, there {came - expected}")
    gone = there - {one.metadata.name for one in await world.store.list(Machine)}
    if gone != {one.machine for one in actions if one.action == "delete"}:
        told.wrong.append(f"deleted were {gone}")
    told.wrong += _compare_vms(world, plan.status)
    told.wrong += await _compare_copies(world, plan.status, replicas, told)
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


async def _compare_copies(
    world: World, planned: PlanStatus, before: set[str], told: Told
) -> list[str]:
    """Hold the replicas that were made, and what hangs on which, against the plan."""
    new = {one.replica for one in planned.actions if one.ordinal is not None and one.replica}
    made = {
        one.metadata.name: one
        for one in await world.store.list(TemplateReplica)
        if one.metadata.name in new or one.metadata.name not in before
    }
    expected = {(one.name, one.datastore_ref, one.bytes_to_copy) for one in planned.replicas}
    came = {
        (name, one.spec.datastore_ref, one.status.size_bytes)
        for name, one in made.items()
        if name not in before
    }
    told.replicas += len(came)
    wrong = [] if expected == came else [f"replicas: planned {expected}, made {came}"]
    machines = {one.metadata.name: one for one in await world.store.list(Machine)}
    templates = {vm["moref"]: vm for vm in world.templates()}
    for one in planned.actions:
        machine = machines.get(one.machine)
        if one.ordinal is None or machine is None:
            continue
        label = machine.metadata.labels.get(LABEL_REPLICA)
        if label != one.replica:
            wrong.append(f"{one.machine} hangs on {label}, not on {one.replica}")
        if one.replica and (made[one.replica].status.vm or "") not in templates:
            wrong.append(f"replica {one.replica} is no template in vCenter")
        if bool(machine.status.full_clone) != (one.clone_mode == "full"):
            wrong.append(f"{one.machine} is no {one.clone_mode} clone: {machine.status.full_clone}")
    return wrong


def _compare_vms(world: World, planned_: PlanStatus) -> list[str]:
    """Hold vCenter's own VMs against the plan."""
    vms = {vm["name"]: vm for vm in world.vms()}
    stays = {one.machine: one for one in planned_.actions if one.action != "delete"}
    folder = planned_.folder.path if planned_.folder is not None else "/dc1/vm/clusters"
    wrong = [f"VM {name} was not planned" for name in vms.keys() - stays.keys()]
    wrong += [f"VM {name} is not there" for name in stays.keys() - vms.keys()]
    for name in vms.keys() & stays.keys():
        vm, planned = vms[name], stays[name]
        if vm["path"] != f"{folder}/{name}":
            wrong.append(f"VM {name} is {vm['path']}, not in {folder}")
        wrong += _compare_disks(vm, planned)
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


def _compare_disks(vm: dict[str, Any], planned: PlannedMachine) -> list[str]:
    """Hold the disks of one of vCenter's VMs against the plan."""
    if planned.ordinal is None:
        return []
    name, (system, *extra) = vm["name"], vm["disks"]
    wrong = []
    if bool(system.get("parent")) != (planned.clone_mode == "linked"):
        wrong.append(f"VM {name}: a {planned.clone_mode} clone was planned: {system}")
    came = [(disk["mib"], disk["file"].partition("]")[0][1:]) for disk in extra]
    promised_ = [
        (disk.size_gib * 1024, disk.datastore.rpartition("/")[2]) for disk in planned.extra_disks
    ]
    if came != promised_:
        wrong.append(f"VM {name} has extra disks {came}, not {promised_}")
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
        total.replicas += told.replicas
        total.wrong += [f"seed {seed}: {one}" for one in told.wrong]
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{given.count} cases, {total.plans} plans ({total.refused} refused), {total.machines} "
        f"machines made, {total.deleted} deleted, {total.replicas} replicas made, "
        f"{len(total.wrong)} otherwise than planned\n"
    )
    for one in total.wrong:
        sys.stdout.write(f"{one}\n")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
