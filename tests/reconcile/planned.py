"""Plans put in as the link would bring them, and what came held against what they say."""

from datetime import UTC, datetime, timedelta
from typing import Any

from moorage.kit.ids import new_uid
from moorage.resources import Cluster, IPAddress, Machine, Metadata, NodePool, Plan
from moorage.resources.nodepool import document_of_pool
from moorage.resources.plan import (
    AppliedPlan,
    DocumentVersion,
    PlannedMachine,
    PlanSpec,
    PlanState,
)
from tests.reconcile.conftest import World

ENDED = (PlanState.READY, PlanState.REFUSED, PlanState.OUTDATED)


def version(one: Cluster | NodePool, *, more: int = 0) -> DocumentVersion:
    meta = one.metadata
    generation = meta.generation + more
    return DocumentVersion(kind=one.kind, name=meta.name, uid=meta.uid, generation=generation)


async def ask_plan(world: World, cluster: Cluster, pools: list[NodePool], **changes: Any) -> Plan:
    """Plan these documents beside what is stored, and wait for the answer."""
    before = await world.store.find(Cluster, *cluster.key)
    uid = before.metadata.uid if before else cluster.metadata.uid or new_uid()
    cluster.metadata.uid = uid
    there = await world.store.list(NodePool, owner=before.metadata.uid) if before else []
    rests_on = [version(one) for one in ([before, *there] if before else [])]
    plan = Plan(
        metadata=Metadata(
            name=f"plan-{new_uid()[:8]}",
            project="default",
            epoch=1,
            owner=before.owner() if before else None,
        ),
        spec=PlanSpec(
            cluster=cluster.metadata.name,
            cluster_uid=uid,
            proposed=cluster.spec,
            node_pools=[document_of_pool(pool) for pool in pools],
            rests_on=rests_on,
            created_by="somebody",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            **changes,
        ),
    )
    await world.ask(plan)
    return await settled(world, plan, ENDED)


async def settled(world: World, plan: Plan, states: tuple[PlanState, ...]) -> Plan:
    """Wait until the plan is in one of these states."""

    def of(found: list[Plan]) -> Plan | None:
        return next((one for one in found if one.key == plan.key), None)

    found = await world.until(
        Plan,
        lambda all_: (one := of(all_)) is not None and one.status.state in states,
        f"the plan is {', '.join(states)}",
    )
    here = of(found)
    assert here is not None
    return here


async def apply_plan(world: World, plan: Plan, cluster: Cluster, pools: list[NodePool]) -> None:
    """Apply it as the hub would: the plan first, then the documents."""
    before = await world.store.find(Cluster, *cluster.key)
    known = {pool.metadata.name: pool for pool in await world.store.list(NodePool)}
    documents = [_as_stored(cluster, before)]
    documents += [_as_stored(pool, known.get(pool.metadata.name)) for pool in pools]
    applied = plan.copy_deep()
    applied.metadata.owner = cluster.owner()
    applied.spec.applied = AppliedPlan(at=datetime.now(UTC), by="somebody", documents=documents)
    await world.ask(applied)
    for one, stored in zip((cluster, *pools), documents, strict=True):
        one.metadata.generation = stored.generation - 1
        if isinstance(one, NodePool):
            one.metadata.owner = cluster.owner()
    await (world.ask(cluster) if before else world.ask_cluster(cluster))
    for pool in pools:
        await world.ask(pool)


def _as_stored(one: Cluster | NodePool, before: Cluster | NodePool | None) -> DocumentVersion:
    one.metadata.uid = before.metadata.uid if before else one.metadata.uid or new_uid()
    one.metadata.generation = before.metadata.generation if before else 0
    return version(one, more=1)


Shown = tuple[str, str, str, str | None, str, tuple[str, ...]]
"""Name, UID, failure domain, host, datastore, addresses."""


def promised(actions: list[PlannedMachine], *kinds: str) -> set[Shown]:
    """Return what a plan says of these machines."""
    return {
        (
            one.machine,
            one.uid,
            one.failure_domain,
            one.host_ref,
            one.datastore,
            tuple(one.addresses),
        )
        for one in actions
        if one.action in kinds
    }


async def outcome(world: World) -> set[Shown]:
    """Return the same of the Machines that there are and stay."""
    claims = await world.store.list(IPAddress)
    return {
        (
            one.metadata.name,
            one.metadata.uid,
            one.spec.failure_domain.name,
            one.spec.host,
            one.spec.failure_domain.storage()[0],
            tuple(
                f"{claim.spec.pool}/{claim.spec.address}"
                for claim in claims
                if claim.spec.claimed_by.uid == one.metadata.uid and not claim.spec.released_at
            ),
        )
        for one in await world.store.list(Machine)
        if not one.is_deleting
    }
