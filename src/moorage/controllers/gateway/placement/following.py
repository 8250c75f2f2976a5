"""A plan that was applied: its cluster's pass makes exactly what it says, or nothing.

The hub stores the plan before the documents, so a pass that reads the documents and then the
plans never misses the one by which they were applied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.placing import Planned
from moorage.engine import Wait, wait
from moorage.planning import Promise
from moorage.resources import Cluster, Machine, NodePool, Plan
from moorage.resources.cluster import FollowedPlan
from moorage.resources.plan import AppliedPlan

PLAN_FOLLOWED = "PlanFollowed"
"""Condition of a cluster that a plan was applied to."""
OUTDATED = "PlanOutdated"
_ARRIVING_S = 1.0
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Followed:
    """A plan that has to be carried out."""

    plan: Plan
    applied: AppliedPlan
    promise: Promise

    def record(self, differences: Sequence[str] = ()) -> FollowedPlan:
        """Return how it ended, as the cluster's status has it."""
        return FollowedPlan(
            name=self.plan.metadata.name,
            uid=self.plan.metadata.uid,
            applied_at=self.applied.at,
            is_outdated=bool(differences),
            differences=[*differences],
        )


async def plan_to_follow(
    cluster: Cluster, pools: Sequence[NodePool], machines: Sequence[Machine], env: Env
) -> Followed | Wait | None:
    """Return the plan that the next choice of machines has to follow, if there is one.

    Or what to wait for: the rest of what was applied with it, or somebody's decision, since it
    is outdated.

    Args:
        cluster: As read in this pass.
        pools: Of the cluster, as read in this pass: before the plans are, which is what counts.
        machines: All of the cluster: one may have said that it cannot keep to the plan.
        env: As for steps.
    """
    plans = await env.store.list(Plan, owner=cluster.metadata.uid)
    candidates = [
        (applied, plan)
        for plan in plans
        if (applied := plan.spec.applied) is not None and not applied.withdrawn
    ]
    if not candidates:
        _forget_outdated(cluster)
        return None
    applied, plan = max(candidates, key=lambda one: one[0].at)
    match _compare(applied, cluster, pools):
        case "newer":
            _forget_outdated(cluster)
            return None
        case "older":
            return wait(
                "PlanArriving", "not all that was applied with the plan is here", after=_ARRIVING_S
            )
    done = cluster.status.plan
    if done is None or (done.uid, done.applied_at) != (plan.metadata.uid, applied.at):
        return Followed(plan, applied, Promise.of(plan.status))
    if not done.is_outdated and (broken := _broken(plan, machines)):
        return outdate(cluster, Followed(plan, applied, Promise()), broken, env)
    return say_outdated(cluster, env) if done.is_outdated else None


async def planned_place(
    machine: Machine, cluster: Cluster, pools: Sequence[NodePool], env: Env
) -> Planned | Wait | None:
    """Return where a machine has to be, by the plan that its cluster was last changed by.

    ``None``: no plan binds it. Or what to wait for: somebody's decision, as the plan is outdated.
    """
    followed = cluster.status.plan
    if followed is None:
        return None
    plan = await env.store.find(Plan, cluster.metadata.project, followed.name)
    applied = plan.spec.applied if plan is not None else None
    if (
        plan is None
        or applied is None
        or applied.withdrawn
        or (plan.metadata.uid, applied.at) != (followed.uid, followed.applied_at)
        or _compare(applied, cluster, pools) == "newer"
    ):
        return None
    uid = machine.metadata.uid
    action = next((one for one in plan.status.actions if one.uid == uid), None)
    if action is None:
        return None
    if followed.is_outdated:
        return waits_for_decision(cluster)
    disks = tuple(one.datastore for one in action.extra_disks)
    return Planned(plan.metadata.uid, action.datastore, action.host_ref, disks)


def _broken(plan: Plan, machines: Sequence[Machine]) -> list[str]:
    return [
        f"{one.metadata.name} cannot be {'what' if off.ends else 'where'} the plan says: {off.why}"
        for one in machines
        if (off := one.status.off_plan) is not None and off.plan == plan.metadata.uid
    ]


def say_followed(cluster: Cluster, followed: Followed, env: Env) -> None:
    """Note that all that the plan names is stored."""
    cluster.status.plan = followed.record()
    _say(cluster, env, "True", "Done", f"plan {followed.plan.metadata.name} was carried out")


def outdate(cluster: Cluster, followed: Followed, differences: Sequence[str], env: Env) -> Wait:
    """Note, for good, that the plan cannot be carried out; returns what to wait for."""
    cluster.status.plan = followed.record(differences)
    return say_outdated(cluster, env)


def say_outdated(cluster: Cluster, env: Env) -> Wait:
    """Say that the cluster's plan is outdated, and what to do."""
    outcome = waits_for_decision(cluster)
    _say(cluster, env, "False", outcome.reason, outcome.message)
    return outcome


def waits_for_decision(cluster: Cluster) -> Wait:
    """Return what a cluster with an outdated plan waits for."""
    plan = cluster.status.plan
    said = plan.differences if plan is not None else []
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    name = plan.name if plan is not None else ""
    return Wait(
        OUTDATED,
        f"plan {name} is outdated, and no machine is made or deleted: "
        f"{'; '.join(said[:_SHOWN])}{more}. Plan again with `moorage clusters plan`, or apply "
        "without a plan",
    )


def _compare(
    applied: AppliedPlan, cluster: Cluster, pools: Sequence[NodePool]
) -> Literal["same", "older", "newer"]:
    """Compare the documents here with those that the plan was applied to."""
    wanted = {one.uid: one.generation for one in applied.documents}
    here = {one.metadata.uid: one.metadata.generation for one in (cluster, *pools)}
    if here.keys() - wanted.keys() or any(
        here.get(uid, 0) > generation for uid, generation in wanted.items()
    ):
        return "newer"
    return "same" if here == wanted else "older"


def _forget_outdated(cluster: Cluster) -> None:
    """What was outdated binds nobody once other documents are asked for, or the same without it."""
    if cluster.status.plan is not None and cluster.status.plan.is_outdated:
        cluster.status.plan = None
        kept = [one for one in cluster.status.conditions if one.type != PLAN_FOLLOWED]
        cluster.status.conditions = kept


def _say(
    cluster: Cluster, env: Env, status: Literal["True", "False"], reason: str, message: str
) -> None:
    cluster.status.set_condition(
        PLAN_FOLLOWED,
        status,
        reason,
        message,
        now=env.clock.now(),
        generation=cluster.metadata.generation,
    )
