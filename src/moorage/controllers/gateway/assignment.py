"""What an assignment asks of its gateway beside the work itself: to stop, and to drop copies."""

from typing import Any

from moorage.engine import Context, HeldLease, Result, Store, split_key
from moorage.ipam import held_back_of
from moorage.resources import (
    Assignment,
    Cluster,
    ClusterKeys,
    Handover,
    IPAddress,
    IPPool,
    Machine,
    NodePool,
    Operation,
    Plan,
    ResealedKeys,
    Resource,
)

_WORKERS = ("cluster", "nodepool", "machine", "operation", "plan")
_LOOK_AGAIN_S = 0.3


class AssignmentReconciler:
    """Acknowledges a stop when no pass is under way, and drops what lives on elsewhere."""

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name."""
        return Assignment

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:  # noqa: ARG002
        """Look at one assignment. A pass that begins later sees for itself that it must not."""
        store, env = ctx.store, ctx.env
        found = await store.find(Assignment, *split_key(key))
        if found is None:
            return Result("gone")
        spec, status = found.spec, found.status
        has_to_go = status.dropped_epoch > spec.epoch
        has_to_stop = spec.moving_to is not None and status.stopped_move != spec.move
        if (has_to_go or has_to_stop) and await _is_busy(found, store):
            return Result("waiting", after=_LOOK_AGAIN_S)
        if has_to_go:
            await _discard(found, store)
            return Result("gone")
        async with store.transaction() as inside:
            now = await inside.get(Assignment, *found.key)
            if now.spec != spec:
                return Result("waiting", after=0.0)
            if has_to_stop:
                now.status.stopped_move = spec.move
                now.status.mirror_sequence = await inside.version()
            if spec.subject_kind == "IPPool" and spec.gateway == env.gateway:
                now.status.acknowledged_epoch = spec.epoch
            await inside.put_status(now)
        return Result("done")


async def _is_busy(assignment: Assignment, store: Store) -> bool:
    """Tell whether a pass over anything of the cluster may have begun before it had to stop."""
    leased = await store.leased(_WORKERS)
    if not leased:
        return False
    keys = {"/".join(one.key) for one in await _of(assignment, store)}
    return any(key in keys for _, key in leased)


async def _of(assignment: Assignment, store: Store) -> list[Resource]:
    """Return the subject with all that is owned by it, without the assignment."""
    uid = assignment.spec.subject_uid
    found: list[Resource] = [*await store.list(Handover, owner=uid)]
    if assignment.spec.subject_kind == "IPPool":
        pool = await store.find_uid(IPPool, uid)
        return (
            found
            if pool is None
            else [*found, *await held_back_of(store, pool.metadata.name), pool]
        )
    machines = await store.list(Machine, owner=uid)
    found += [*machines, *await store.list(NodePool, owner=uid)]
    found += await store.list(Plan, owner=uid)
    found += [*await store.list(ClusterKeys, owner=uid), *await store.list(ResealedKeys, owner=uid)]
    owners = {uid, *(machine.metadata.uid for machine in machines)}
    project = assignment.spec.subject_project
    owned = [*await store.list(IPAddress), *await store.list(Operation, project=project)]
    found += [one for one in owned if one.metadata.owner and one.metadata.owner.uid in owners]
    cluster = await store.find_uid(Cluster, uid)
    return found if cluster is None else [*found, cluster]


async def _discard(assignment: Assignment, store: Store) -> None:
    """Take all copies out at once. No finalizer runs: what they stand for lives on elsewhere."""
    async with store.transaction() as inside:
        for one in [*await _of(assignment, inside), assignment]:
            await inside.discard(one)


ASSIGNMENT = AssignmentReconciler()
