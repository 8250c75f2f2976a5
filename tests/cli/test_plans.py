"""``moorage clusters plan``: a table for people, a document for programs, and exit codes."""

from datetime import UTC, datetime

import anyio
import pytest

from moorage.kit.ids import new_uid
from moorage.resources import Cluster, Plan
from moorage.resources.check import Check
from moorage.resources.kubernetes import Role
from moorage.resources.plan import (
    AddressRoom,
    Fit,
    PlannedFolder,
    PlannedMachine,
    PlannedReplica,
    PlanState,
)
from tests.cli.world import World, a_document

GIB = 1024**3


def an_action(**changes: object) -> PlannedMachine:
    given: dict[str, object] = {
        "action": "create",
        "role": Role.WORKER,
        "pool": "workers",
        "ordinal": 1,
        "machine": "demo-workers-0123456789",
        "uid": new_uid(),
        "failure_domain": "a",
        "compute_cluster": "cc1",
        "datastore": "ds1",
        "network": "nodes",
        "addresses": ["nodes/10.77.1.12"],
        "template": "t",
        "clone_mode": "linked",
        "reason": "more are asked for than there are",
    }
    return PlannedMachine.model_validate({**given, **changes})


def answer(world: World, state: PlanState, **fields: object) -> None:
    """Answer the one plan as its gateway would, once it is there."""

    async def write() -> None:
        with anyio.fail_after(60):
            while not (plans := await world.hub.store.list(Plan)):  # noqa: ASYNC110 - another process writes
                await anyio.sleep(0.05)
        (plan,) = plans
        plan.status.state, plan.status.planned_at = state, datetime.now(UTC)
        for name, value in fields.items():
            setattr(plan.status, name, value)
        await world.hub.store.put_status(plan)

    world.hub.do(write())


def only_plan(world: World) -> Plan:
    async def read() -> Plan:
        (plan,) = await world.hub.store.list(Plan)
        return plan

    return world.hub.do(read())


def test_a_plan_is_shown_and_can_be_applied_by_its_name(site: World) -> None:
    file = site.file("demo.yaml", a_document())
    fields = {
        "actions": [
            an_action(
                replica="t-0123", extra_disks=[{"sizeGib": 8, "thin": False, "datastore": "ds1"}]
            )
        ],
        "replicas": [
            PlannedReplica(name="t-0123", datastore="ds1", datastore_ref="d", bytes_to_copy=GIB)
        ],
        "folder": PlannedFolder(path="/dc1/vm/clusters/demo-0123", is_new=True),
        "addresses": [AddressRoom(pool="nodes", free=20, needed=3, held=1, peak=4)],
        "surge_peak": 1,
        "message": "1 to make, 0 to delete, 0 stay",
    }
    answering = site.meanwhile(lambda: answer(site, PlanState.READY, **fields))

    said = site.ok("clusters plan -o table -f", file)

    answering.join()
    assert "demo-workers-0123456789" in said.out
    assert "10.77.1.12" in said.out
    assert "linked to replica" in said.out
    assert "+ 8 GiB, thick" in said.out
    assert "template replica t-0123 is made first on ds1: 1.0 GiB copied" in said.err
    assert "VM folder /dc1/vm/clusters/demo-0123 is made" in said.err
    assert "IP pool nodes: 3 of 20 free addresses; the cluster holds 4 at most" in said.err
    name = only_plan(site).metadata.name
    assert f"moorage clusters apply --plan {name}" in said.err
    assert site.ok("clusters list").data == []
    done = site.ok("clusters apply --plan", name)
    assert f"plan {name} of cluster demo applied" in done.err
    assert site.get(Cluster, "demo", "default").metadata.name == "demo"


def test_a_refused_plan_ends_with_one_and_says_why(site: World) -> None:
    file = site.file("demo.yaml", a_document())
    wrong = Check(name="Room", ok=False, message="datastore ds1 is full")
    answering = site.meanwhile(
        lambda: answer(site, PlanState.REFUSED, checks=[wrong], message="Room: ds1 is full"),
    )

    said = site.cli("clusters plan -o table --apply -f", file)

    answering.join()
    assert said.code == 1
    assert "datastore ds1 is full" in said.out
    assert site.ok("clusters list").data == []


def test_a_gateway_that_is_away_is_told_after_the_time_given(site: World) -> None:
    file = site.file("demo.yaml", a_document())

    said = site.cli("clusters plan --timeout-s 0.5 -f", file)

    assert said.code == 3
    assert "WaitingForGateway" in said.err
    assert only_plan(site).status.state is PlanState.WAITING_FOR_GATEWAY


def test_questions_are_answered_and_not_applied(site: World) -> None:
    file = site.file("demo.yaml", a_document())
    fit = Fit(clusters=4, limited_by="IP pool nodes has no free address", by_memory=9)
    answering = site.meanwhile(lambda: answer(site, PlanState.READY, fit=fit))

    said = site.ok("clusters plan -o table --how-many -f", file)

    answering.join()
    assert "4 more such clusters fit" in said.err
    assert "IP pool nodes has no free address" in said.err
    assert "apply --plan" not in said.err
    refused = site.refused("clusters plan --how-many --apply -f", file, code=2)
    assert "cannot be applied" in refused


@pytest.mark.parametrize("line", ["clusters apply", "clusters apply --plan x -f y.yaml"])
def test_a_file_or_a_plan_is_applied(site: World, line: str) -> None:
    assert "give either --file or --plan" in site.refused(line, code=2)
