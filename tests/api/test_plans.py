"""Plans over REST: stored, answered by a gateway, applied by name, and refused when outdated."""

from typing import Any

import pytest

from moorage.engine import Manager
from moorage.hub.app import hub_controllers
from moorage.resources import Cluster, NodePool, Plan
from moorage.resources.plan import PlanState
from tests.api.world import Json, World, a_cluster

CLUSTERS = "/v1/projects/default/clusters"
PLANS = "/v1/projects/default/plans"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str | None:
    """Run each test on SQLite and, with ``--postgres``, on PostgreSQL."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url


async def ask_plan(world: World, document: Json, **params: Any) -> Json:
    name = document["metadata"]["name"]
    return await world.ok("POST", f"{CLUSTERS}/{name}/plans", document, **params)


async def answer(world: World, plan: Json, state: PlanState, message: str = "") -> None:
    """Write a status as the plan's gateway would."""
    found = await world.hub.store.get(Plan, "default", plan["metadata"]["name"])
    found.status.state, found.status.message = state, message
    await world.hub.store.put_status(found)


async def apply(world: World, plan: Json, cluster: str = "one", **params: Any) -> Json:
    name = plan["metadata"]["name"]
    return await world.ok("PUT", f"{CLUSTERS}/{cluster}/spec", plan=name, **params)


async def refusal(world: World, plan: Json, status: int = 409, cluster: str = "one") -> Json:
    name = plan["metadata"]["name"]
    return await world.refused(status, "PUT", f"{CLUSTERS}/{cluster}/spec", plan=name)


async def stored(world: World, plan: Json) -> Plan:
    return await world.hub.store.get(Plan, "default", plan["metadata"]["name"])


async def test_a_plan_waits_for_its_gateway_and_changes_nothing(world: World) -> None:
    await world.site()

    plan = await ask_plan(world, a_cluster())

    assert plan["status"]["state"] == "WaitingForGateway"
    assert plan["metadata"]["route"] == "site-1"
    assert plan["metadata"]["name"].startswith("one-")
    assert plan["spec"]["createdBy"] == "admin"
    assert [pool["name"] for pool in plan["spec"]["nodePools"]] == ["workers"]
    assert (await world.ok("GET", CLUSTERS))["items"] == []
    assert [one["metadata"]["name"] for one in (await world.ok("GET", PLANS))["items"]] == [
        plan["metadata"]["name"]
    ]
    problem = await refusal(world, plan)
    assert "is not ready (WaitingForGateway)" in problem["detail"]


async def test_every_fault_of_a_proposal_is_told_at_once(world: World) -> None:
    await world.site()
    document = a_cluster(pools=[{"name": "cp"}])
    document["spec"]["account"] = "nobody"

    faults = await world.faults("POST", f"{CLUSTERS}/one/plans", document)

    assert {"spec.account", "nodePools[0].name"} <= faults.keys()
    assert await world.hub.store.list(Plan) == []


async def test_a_ready_plan_makes_cluster_and_pools_and_is_stored_before_them(
    world: World,
) -> None:
    await world.site()
    plan = await ask_plan(world, a_cluster())
    await answer(world, plan, PlanState.READY)

    made = await apply(world, plan)

    found = await stored(world, plan)
    applied = found.spec.applied
    assert applied is not None
    cluster = await world.hub.store.get(Cluster, "default", "one")
    (pool,) = await world.hub.store.list(NodePool)
    assert made["metadata"]["uid"] == cluster.metadata.uid
    assert {one.uid: one.generation for one in applied.documents} == {
        cluster.metadata.uid: 1,
        pool.metadata.uid: 1,
    }
    assert found.metadata.owner == cluster.owner()
    rows = await world.hub.store.changed_since(0, route="site-1", spec_only=True)
    order = [row.kind for row in rows]
    assert order.index("Plan") < order.index("Cluster") < order.index("NodePool")
    assert made["metadata"]["uid"] == plan["spec"]["clusterUid"]
    again = await apply(world, plan)
    assert again == made, "an answer that was lost is given again"
    await answer(world, plan, PlanState.APPLIED)
    assert await apply(world, plan) == made, "and when the gateway was faster"


async def test_a_change_keeps_the_pools_that_it_does_not_name(world: World) -> None:
    await world.site()
    await world.ok("PUT", f"{CLUSTERS}/one", a_cluster())

    plan = await ask_plan(world, a_cluster(pools=[{"name": "more", "replicas": 2}]))

    assert [pool["name"] for pool in plan["spec"]["nodePools"]] == ["more", "workers"]
    assert len(plan["spec"]["restsOn"]) == 2
    await answer(world, plan, PlanState.READY)
    await apply(world, plan)
    assert [one.spec.pool for one in await world.hub.store.list(NodePool)] == ["more", "workers"]
    applied = (await stored(world, plan)).spec.applied
    assert applied is not None
    generations = {
        one.metadata.uid: one.metadata.generation
        for one in [
            *await world.hub.store.list(NodePool),
            *await world.hub.store.list(Cluster),
        ]
    }
    assert {one.uid: one.generation for one in applied.documents} == generations


async def test_documents_that_moved_make_a_plan_outdated_and_say_which(world: World) -> None:
    await world.site()
    await world.ok("PUT", f"{CLUSTERS}/one", a_cluster())
    plan = await ask_plan(world, a_cluster(pools=[{"name": "workers", "replicas": 3}]))
    await answer(world, plan, PlanState.READY)
    await world.ok("PUT", f"{CLUSTERS}/one", a_cluster(pools=[{"name": "workers", "replicas": 2}]))

    problem = await refusal(world, plan)

    assert problem["type"] == "/problems/plan-outdated"
    assert "NodePool one-workers is at generation 2, the plan rests on 1" in problem["detail"]
    (pool,) = await world.hub.store.list(NodePool)
    assert pool.spec.replicas == 2


async def test_what_was_seen_since_does_not_outdate_a_plan(world: World) -> None:
    await world.site()
    await world.ok("PUT", f"{CLUSTERS}/one", a_cluster())
    plan = await ask_plan(world, a_cluster(pools=[{"name": "workers", "replicas": 3}]))
    await answer(world, plan, PlanState.READY)
    cluster = await world.hub.store.get(Cluster, "default", "one")
    cluster.status.nodes = 3
    await world.hub.store.put_status(cluster)

    await apply(world, plan)

    (pool,) = await world.hub.store.list(NodePool)
    assert pool.spec.replicas == 3


@pytest.mark.parametrize("state", [PlanState.REFUSED, PlanState.OUTDATED, PlanState.PENDING])
async def test_only_a_ready_plan_is_applied(world: World, state: PlanState) -> None:
    await world.site()
    plan = await ask_plan(world, a_cluster())
    await answer(world, plan, state, "Room: there is none")

    await refusal(world, plan)

    assert await world.hub.store.list(Cluster) == []


async def test_an_expired_plan_is_outdated(world: World) -> None:
    await world.site()
    plan = await ask_plan(world, a_cluster())
    await answer(world, plan, PlanState.READY)
    found = await stored(world, plan)
    found.spec.expires_at = world.clock.now()
    await world.hub.store.put_spec(found)
    world.forward(seconds=1)

    problem = await refusal(world, plan)

    assert problem["type"] == "/problems/plan-outdated"
    assert "has expired" in problem["detail"]


async def test_questions_and_plans_of_others_cannot_be_applied(world: World) -> None:
    await world.site()
    question = await ask_plan(world, a_cluster(), howMany="true")
    lost = await ask_plan(world, a_cluster(), hostLost="esx1")
    plan = await ask_plan(world, a_cluster())
    for one in (question, lost, plan):
        await answer(world, one, PlanState.READY)

    assert (await refusal(world, question, 422))["faults"][0]["path"] == "plan"
    assert (await refusal(world, lost, 422))["faults"][0]["path"] == "plan"
    assert (await refusal(world, plan, 422, "two"))["faults"][0]["path"] == "plan"
    assert lost["spec"]["hostLost"] == "esx1"


async def test_a_body_has_to_be_what_was_planned(world: World) -> None:
    await world.site()
    plan = await ask_plan(world, a_cluster())
    await answer(world, plan, PlanState.READY)
    other = a_cluster()["spec"]
    other["kubernetesVersion"] = "v1.33.1"
    path, name = f"{CLUSTERS}/one/spec", plan["metadata"]["name"]

    faults = await world.faults("PUT", path, other, plan=name)

    assert "differs from what was planned" in faults["spec"]
    assert "give a spec, or a plan" in (await world.faults("PUT", path))["(body)"]
    await world.ok("PUT", path, a_cluster()["spec"], plan=name)


async def test_the_same_documents_without_the_plan_withdraw_it(world: World) -> None:
    await world.site()
    plan = await ask_plan(world, a_cluster())
    await answer(world, plan, PlanState.READY)
    await apply(world, plan)
    name = plan["metadata"]["name"]
    problem = await world.refused(409, "DELETE", f"{PLANS}/{name}")
    assert "was applied and is not carried out" in problem["detail"]

    await world.ok("PUT", f"{CLUSTERS}/one", a_cluster())

    applied = (await stored(world, plan)).spec.applied
    assert applied is not None
    assert applied.withdrawn
    await world.ok("DELETE", f"{PLANS}/{name}")
    assert await world.hub.store.list(Plan) == []


async def test_plans_are_collected_after_a_day_but_not_while_they_bind(world: World) -> None:
    await world.site()
    done = await ask_plan(world, a_cluster())
    bound = await ask_plan(world, a_cluster("two"))
    for one, cluster in ((done, "one"), (bound, "two")):
        await answer(world, one, PlanState.READY)
        await apply(world, one, cluster)
    await answer(world, done, PlanState.APPLIED)
    await answer(world, bound, PlanState.OUTDATED)
    await ask_plan(world, a_cluster())
    manager = Manager(world.hub.store, hub_controllers(), clock=world.clock)
    await manager.settle()
    assert len(await world.hub.store.list(Plan)) == 3
    world.forward(hours=24, minutes=1)

    await manager.settle()

    assert [one.spec.cluster for one in await world.hub.store.list(Plan)] == ["two"]
    await manager.close()
