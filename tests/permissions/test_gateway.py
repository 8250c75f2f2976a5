"""A whole gateway whose account has exactly the table's privileges, on thin nodes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.controllers.gateway.accounts.privileges import PRIVILEGES_SUFFICIENT
from moorage.permissions import On
from moorage.resources import CloudAccount, Cluster, Machine, Metadata, Operation
from moorage.resources.kubernetes import Role
from moorage.resources.operation import OperationSpec, Verb
from moorage.resources.permission import CheckArguments, CheckResult, CheckTarget, FindingState
from moorage.resources.plan import PlanState
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster
from tests.permissions.grants import PATHS, USER, Admin, inventory
from tests.reconcile.conftest import World
from tests.reconcile.planned import apply_plan, ask_plan, settled
from tests.reconcile.test_accounts import give_password
from tests.reconcile.test_machines import reason
from tests.thin.test_clusters import all_ready, ask_cluster, ask_site, gone, scale

QUESTION = "HasPrivilegeOnEntities"


@pytest.fixture
def vcenter() -> Iterator[VCenterProcess]:
    with VCenterProcess.start(inventory(), guests="thin") as running:
        yield running


@pytest.fixture
def admin(vcenter: VCenterProcess) -> Iterator[Admin]:
    with Admin(vcenter) as admin:
        for on, path in PATHS.items():
            admin.grant_on(on, path)
        yield admin


@pytest.fixture
async def world(vcenter: VCenterProcess, admin: Admin, tmp_path: Path) -> AsyncIterator[World]:
    assert admin
    async with World.running(vcenter, tmp_path, user=USER) as world:
        yield world


def asked(world: World) -> int:
    count: int = world.vcenter.control.counters()["calls"].get(QUESTION, 0)
    return count


async def operate(world: World, verb: Verb, kind: str, name: str, **more: Any) -> Operation:
    spec = OperationSpec.model_validate(
        {"verb": verb, "subject_kind": kind, "subject_name": name, **more}
    )
    title = f"{verb.value}-{len(await world.store.list(Operation))}"
    await world.ask(Operation(metadata=Metadata(name=title, project="default"), spec=spec))

    def ended(items: list[Operation]) -> bool:
        return all(one.status.completed_at is not None for one in items)

    items = await world.until(Operation, ended, f"{verb} ends")
    return next(one for one in items if one.metadata.name == title)


async def check(world: World, **changes: Any) -> CheckResult:
    (target, *_) = CheckTarget.of_cluster(a_cluster())
    arguments = CheckArguments(targets=[target.model_copy(update=changes)]).document()
    done = await operate(world, Verb.CHECK, "CloudAccount", "lab", arguments=arguments)
    assert not done.status.failed, done.status.message
    return CheckResult.model_validate(done.status.result)


def says(status: str) -> Any:
    def claim(accounts: list[CloudAccount]) -> bool:
        condition = accounts[0].status.condition(PRIVILEGES_SUFFICIENT)
        return condition is not None and condition.status == status

    return claim


def is_checked(accounts: list[CloudAccount]) -> bool:
    status = accounts[0].status
    checked, login = status.privileges_checked, status.login
    return checked is not None and login is not None and checked.credentials == login.credentials


async def test_the_tables_privileges_suffice_for_whole_clusters(world: World) -> None:
    await ask_site(world)
    cluster, pool = await ask_cluster(world, workers=1)
    await world.until(Cluster, all_ready(2), "two nodes are Ready")

    await scale(world, pool, 2)
    await world.until(Cluster, all_ready(3), "three nodes are Ready")
    machines = await world.store.list(Machine)
    worker = next(m for m in machines if m.spec.role is Role.WORKER)
    logs = await operate(world, Verb.LOGS, "Machine", worker.metadata.name)
    assert not logs.status.failed, logs.status.message
    delete = {"subject_uid": worker.metadata.uid}
    await operate(world, Verb.DELETE, "Machine", worker.metadata.name, **delete)
    await world.until(
        Machine,
        lambda m: len(m) == 3 and worker.metadata.uid not in {one.metadata.uid for one in m},
        "another machine is in its place",
    )
    await world.until(Cluster, all_ready(3), "three nodes are Ready again")
    result = await check(world)
    await scale(world, pool, 0)
    await world.until(Cluster, all_ready(1), "no worker is left")
    await world.delete(pool)
    await world.delete(cluster)
    await world.until(Cluster, gone, "the cluster is torn down")

    assert result.findings == []
    assert world.vms() == []


async def test_without_the_privilege_for_rules_each_machine_gets_a_host(
    world: World, admin: Admin
) -> None:
    admin.grant(PATHS[On.COMPUTE_CLUSTER], (), propagate=True)
    await ask_site(world)
    cluster, pool = await ask_cluster(world, workers=2)

    await world.until(Cluster, all_ready(3), "three nodes are Ready")
    machines = await world.store.list(Machine)
    workers = {one.spec.host for one in machines if one.spec.role is Role.WORKER}
    result = await check(world)
    await world.delete(pool)
    await world.delete(cluster)
    await world.until(Cluster, gone, "the cluster is torn down")

    assert len(workers) == 2
    assert None not in {one.spec.host for one in machines}
    assert [one.state for one in result.findings] == [FindingState.OPTIONAL]
    assert result.needed() == []
    assert world.vcenter.control.inventory()["rules"] == []
    assert "ReconfigureComputeResource_Task" not in world.vcenter.control.counters()["calls"]


async def test_the_check_names_what_is_missing_and_what_is_not_seen(
    world: World, admin: Admin
) -> None:
    await ask_site(world)
    admin.grant(PATHS[On.DATASTORE], (), propagate=False)

    result = await check(world, network="no-such-network")

    assert result.api_version.startswith("8.0")
    missing, unknown = result.findings
    assert missing.state is FindingState.MISSING
    assert (missing.privilege, missing.object) == ("Datastore.AllocateSpace", PATHS[On.DATASTORE])
    assert missing.shown == "Datastore > Allocate space"
    on_its_own = "clone with an extra disk on a datastore of its own (extraDisks)"
    assert missing.needed_for == ["clone", on_its_own]
    assert missing.moref
    assert (unknown.state, unknown.kind) == (FindingState.UNKNOWN, "network")
    assert (unknown.object, unknown.moref) == ("no-such-network", None)
    assert "nodes" in unknown.message


async def test_an_account_is_checked_once_for_each_change(world: World, admin: Admin) -> None:
    admin.grant(PATHS[On.NETWORK], (), propagate=False)
    await ask_site(world)
    assert asked(world) == 1  # whether it may set rules: no machine lives there yet
    account = await world.store.get(CloudAccount, "", "lab")
    await world.ask_cluster(a_cluster())

    await give_password(world, account, world.vcenter.password)
    await world.until(CloudAccount, says("False"), "the account lacks something")
    (account,) = await world.until(CloudAccount, is_checked, "the new password was looked at")

    condition = account.status.condition(PRIVILEGES_SUFFICIENT)
    assert condition is not None
    assert condition.reason == "PrivilegesMissing"
    assert "Network.Assign on network /dc1/network/nodes" in condition.message
    assert account.status.is_true("Ready")  # what needs nothing of it goes on
    before = asked(world)
    assert before <= 3  # the cluster may have been seen before the new password
    admin.grant_on(On.NETWORK, PATHS[On.NETWORK])
    await give_password(world, account, world.vcenter.password)
    await world.until(CloudAccount, says("True"), "nothing is missing any more")
    await world.until(CloudAccount, is_checked, "the new password was looked at")
    assert asked(world) == before + 1
    for _ in range(3):  # its own passes ask nobody
        seen = await world.ask(await world.store.get(CloudAccount, "", "lab"))
        await world.until(
            CloudAccount,
            lambda a, n=seen.metadata.generation: a[0].status.observed_generation == n,
            "the account was looked at",
        )
    assert asked(world) == before + 1


async def test_an_account_works_though_nobody_says_what_it_may(world: World) -> None:
    world.vcenter.control.fault(QUESTION, "fail", fault="NotSupported", count=-1)
    await ask_site(world)
    account = await world.store.get(CloudAccount, "", "lab")
    await world.ask_cluster(a_cluster())

    await give_password(world, account, world.vcenter.password)
    (account,) = await world.until(CloudAccount, says("Unknown"), "nobody answers")

    condition = account.status.condition(PRIVILEGES_SUFFICIENT)
    assert condition is not None
    assert condition.reason == "NotAnswered"
    assert account.status.is_true("Ready")


async def test_privileges_are_asked_for_again_before_a_plan_is_carried_out(
    world: World, admin: Admin
) -> None:
    await ask_site(world)
    await world.until(CloudAccount, lambda found: found[0].status.is_true("Ready"), "it is ready")
    cluster = a_cluster()
    plan = await ask_plan(world, cluster, [])
    assert plan.status.state is PlanState.READY, plan.status.message
    admin.grant(PATHS[On.DATASTORE], (), propagate=False)

    await apply_plan(world, plan, cluster, [])

    (waiting,) = await world.until(
        Cluster,
        lambda found: any(reason(one) == "PrivilegesMissing" for one in found),
        "the cluster waits for privileges",
    )
    said = waiting.status.condition("Ready")
    assert said is not None
    assert "Datastore.AllocateSpace on datastore /dc1/datastore/ds1" in said.message
    assert await world.store.list(Machine) == []
    await settled(world, plan, (PlanState.APPLYING,))

    admin.grant_on(On.DATASTORE, PATHS[On.DATASTORE])
    account = await world.store.get(CloudAccount, "", "lab")
    await world.ask(account)  # which wakes its clusters: else it is looked at in a minute

    await settled(world, plan, (PlanState.APPLIED,))
