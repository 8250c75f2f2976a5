"""A machine that cannot be where, or what, was chosen: placed anew, replaced, or somebody decides.

What a plan has promised is never changed silently: where it cannot be had, the machine says so,
and with that the plan is outdated.
"""

from dataclasses import replace

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.records import pools_of, role_of
from moorage.controllers.gateway.placement.following import (
    OUTDATED,
    plan_to_follow,
    planned_place,
)
from moorage.controllers.gateway.placement.placing import ROOM_AGAIN_S, place_again
from moorage.engine import Outcome, Wait, wait
from moorage.resources import Cluster, Machine
from moorage.resources.machine import OffPlan


async def place_elsewhere(machine: Machine, cluster: Cluster, env: Env) -> Wait | None:
    """Choose datastore and host anew while nothing is cloned: vCenter refused those chosen.

    The failure domain stays, so that the machines of its pool stay spread. What a plan has
    promised stays too: if it cannot be had, the plan is outdated.
    """
    others = [
        one for one in await role_of(env, cluster, machine.spec.pool) if one.key != machine.key
    ]
    planned = await planned_place(machine, cluster, await pools_of(env, cluster), env)
    if isinstance(planned, Wait):
        return replace(planned, after=ROOM_AGAIN_S)
    spot = await place_again(machine, cluster, others, env, planned)
    if isinstance(spot, str) and planned is not None:
        machine.status.off_plan = OffPlan(plan=planned.plan, why=spot)
        return wait(OUTDATED, f"it cannot be where the plan says: {spot}", after=ROOM_AGAIN_S)
    if isinstance(spot, str):
        return wait("NoRoom", f"there is no room for it: {spot}", after=ROOM_AGAIN_S)
    machine.status.clone_failed, machine.status.off_plan = False, None
    if spot.take(machine):
        stored = await env.store.put_spec(machine, if_version=machine.metadata.resource_version)
        machine.metadata = stored.metadata
    return None


async def name_taken(machine: Machine, cluster: Cluster, said: str, env: Env) -> Outcome:
    """End a machine whose name a stranger's VM has; the founder, of which there is one, waits.

    So does one that a plan has promised: its name is part of the promise.
    """
    if machine.spec.bootstrap != "join":
        return wait(
            "NameTaken", f"{said}: rename or remove that VM; it is looked at again", after=15
        )
    planned = await planned_place(machine, cluster, await pools_of(env, cluster), env)
    if isinstance(planned, Wait):
        return replace(planned, after=ROOM_AGAIN_S)
    if planned is not None:
        machine.status.off_plan = OffPlan(plan=planned.plan, why=said, ends=True)
        return wait(OUTDATED, f"it cannot be what the plan says: {said}", after=ROOM_AGAIN_S)
    await env.store.request_deletion(Machine, *machine.key)
    return wait("NameTaken", f"{said}; this machine ends, and another is made")


async def still_ends(machine: Machine, cluster: Cluster, env: Env) -> Wait | None:
    """Return what a machine waits for whose plan promised what cannot be.

    ``None`` once no plan is about it any more: its clone is tried again, and ends it if need be.
    A plan that was applied since, and that the cluster's pass has yet to carry out, counts on it.
    """
    pools = await pools_of(env, cluster)
    planned = await planned_place(machine, cluster, pools, env)
    if planned is None and await plan_to_follow(cluster, pools, (), env) is None:
        machine.status.off_plan = None
        return None
    why = machine.status.off_plan.why if machine.status.off_plan is not None else ""
    said = wait(OUTDATED, f"it cannot be what the plan says: {why}", after=ROOM_AGAIN_S)
    return replace(planned, after=ROOM_AGAIN_S) if isinstance(planned, Wait) else said
