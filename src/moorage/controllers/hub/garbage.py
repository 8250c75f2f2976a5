"""Collect what nobody needs any more: what lost its owner, operations and plans that are over."""

from datetime import timedelta
from typing import Any, Literal

from moorage.engine import Change, Context, Controller, HeldLease, Result, Store, Watch, split_key
from moorage.resources import (
    Assignment,
    Cluster,
    Handover,
    IPPool,
    NodePool,
    Operation,
    Plan,
    ResealedKeys,
    Resource,
)

OPERATION_KEPT = timedelta(hours=24)
PLAN_KEPT = timedelta(hours=24)
_OWNERS: dict[str, type[Resource]] = {"Cluster": Cluster, "IPPool": IPPool}


class OrphanReconciler:
    """Deletes an owned resource once its owner is gone: absence is proven by the hub's own store.

    A node pool has a finalizer of its gateway, so it is asked to go; all else just goes.
    """

    def __init__(self, kind: type[Resource]) -> None:
        self._kind = kind

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name."""
        return self._kind

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:  # noqa: ARG002
        """Look whether the owner is still there."""
        found = await self._orphan(ctx.store, key)
        if not isinstance(found, Resource):
            return Result(found)
        # Once more, in a transaction: only an orphan is worth one.
        async with ctx.store.transaction() as store:
            found = await self._orphan(store, key)
            if not isinstance(found, Resource):
                return Result(found)
            if not found.is_deleting:
                await store.request_deletion(self._kind, *found.key)
        return Result("gone")

    async def _orphan(self, store: Store, key: str) -> Resource | Literal["gone", "done"]:
        """Return the resource if its owner is gone, else how the pass ends."""
        found = await store.find(self._kind, *split_key(key))
        if found is None:
            return "gone"
        owner = found.metadata.owner
        if owner is None or owner.kind not in _OWNERS:
            return "done"
        is_there = await store.find_uid(_OWNERS[owner.kind], owner.uid) is not None
        return "done" if is_there else found


class OperationReconciler:
    """Deletes operations 24 hours after they were completed, or could no longer begin."""

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name."""
        return Operation

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:  # noqa: ARG002
        """Delete the operation, or come back when it is due."""
        async with ctx.store.transaction() as store:
            found = await store.find(Operation, *split_key(key))
            if found is None:
                return Result("gone")
            meta = found.metadata
            over = found.status.completed_at or found.spec.expires_at or meta.created_at
            if over is None:
                return Result("done")
            left = (over + OPERATION_KEPT - ctx.clock.now()).total_seconds()
            if left > 0:
                return Result("waiting", after=left)
            await store.delete(found)
        return Result("gone")


class PlanReconciler:
    """Deletes plans 24 hours after they were made or applied.

    One that its cluster still waits for stays: without it the cluster would go on by itself.
    """

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name."""
        return Plan

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:  # noqa: ARG002
        """Delete the plan, or come back when it is due."""
        async with ctx.store.transaction() as store:
            found = await store.find(Plan, *split_key(key))
            if found is None:
                return Result("gone")
            applied, now = found.spec.applied, ctx.clock.now()
            since = applied.at if applied is not None else found.metadata.created_at or now
            left = (since + PLAN_KEPT - now).total_seconds()
            if left > 0:
                return Result("waiting", after=left)
            if found.binds and await _cluster_of(store, found) is not None:
                return Result("waiting", after=PLAN_KEPT.total_seconds())
            await store.delete(found)
        return Result("gone")


async def _cluster_of(store: Store, plan: Plan) -> Cluster | None:
    owner = plan.metadata.owner
    return await store.find_uid(Cluster, owner.uid) if owner is not None else None


def garbage_controllers() -> list[Controller[Any]]:
    """Return the hub's own controllers."""
    return [
        Controller(
            "orphaned-assignments",
            OrphanReconciler(Assignment),
            env=None,
            watches=(Watch(Cluster, _assignment_of), Watch(IPPool, _assignment_of)),
            concurrency=2,
        ),
        Controller("orphaned-nodepools", OrphanReconciler(NodePool), env=None, concurrency=2),
        Controller("orphaned-handovers", OrphanReconciler(Handover), env=None, concurrency=1),
        Controller(
            "orphaned-resealedkeys",
            OrphanReconciler(ResealedKeys),
            env=None,
            watches=(Watch(Cluster, _namesake_of),),
            concurrency=1,
        ),
        Controller("finished-operations", OperationReconciler(), env=None, concurrency=2),
        Controller("old-plans", PlanReconciler(), env=None, concurrency=1),
    ]


def _namesake_of(change: Change) -> list[str]:
    return [change.key] if change.deleted else []


def _assignment_of(change: Change) -> list[str]:
    return [f"/{change.kind.lower()}-{change.uid}"] if change.deleted else []
