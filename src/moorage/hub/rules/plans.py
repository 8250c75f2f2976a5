"""Plans: who needs them, and when they no longer bind."""

from moorage.engine.store import Store
from moorage.hub.rules.base import Rules
from moorage.kit.errors import ConflictError
from moorage.resources import Cluster, Plan


class PlanRules(Rules[Plan]):
    """A plan that was applied stays until its cluster has followed it."""

    def __init__(self) -> None:
        super().__init__(Plan)

    async def check_deletion(self, store: Store, resource: Plan) -> None:
        owner = resource.metadata.owner
        if not resource.binds or owner is None:
            return
        if await store.find_uid(Cluster, owner.uid) is not None:
            raise ConflictError(
                f"{resource} was applied and is not carried out: apply another plan, or the "
                "documents without one"
            )


async def withdraw_plans(store: Store, cluster: str, *, but: str = "") -> None:
    """Bind a cluster to none of its plans any more: its documents were written without one.

    Args:
        store: A transaction that has written the documents.
        cluster: UID.
        but: UID of the plan that binds it from now on.
    """
    for plan in await store.list(Plan, owner=cluster):
        applied = plan.spec.applied
        if applied is not None and plan.binds and plan.metadata.uid != but:
            plan.spec.applied = applied.model_copy(update={"withdrawn": True})
            await store.put_spec(plan)
