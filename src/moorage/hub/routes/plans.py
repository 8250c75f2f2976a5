"""Plans of a cluster, and the replacement of what is asked of it, by a plan or without one."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from starlette.responses import Response

from moorage.auth import Verb
from moorage.engine.store import Store
from moorage.hub import writes
from moorage.hub.context import Hub
from moorage.hub.deps import DryRun, HubDep, IfMatch, Scope, ScopeDep, in_project
from moorage.hub.documents import ClusterDocument, NewClusterMetadata
from moorage.hub.problems import PlanOutdatedError, PreconditionError, Problem
from moorage.hub.proposals import Proposal, admit, store_proposal, versions_of
from moorage.hub.rightful import permit_proposal
from moorage.hub.routes.resources import check_project
from moorage.hub.rules.clusters import ClusterRules, pools_of
from moorage.hub.rules.plans import withdraw_plans
from moorage.hub.strict import StrictRoute
from moorage.hub.writes import check_version, etag, refuse_when_deleting, write
from moorage.kit.errors import ConflictError, FieldFault, InvalidError
from moorage.kit.ids import random_word
from moorage.resources import Cluster, Metadata, Plan
from moorage.resources.cluster import ClusterName, ClusterSpec
from moorage.resources.meta import Name
from moorage.resources.nodepool import document_of_pool
from moorage.resources.plan import AppliedPlan, DocumentVersion, PlanSpec, PlanState

router = APIRouter(
    prefix="/v1/projects/{project}/clusters",
    tags=["plans"],
    route_class=StrictRoute,
    dependencies=[Depends(in_project)],
    responses={"4XX": {"model": Problem}},
)

PLAN_TTL = timedelta(hours=24)
_RULES = ClusterRules()


@router.post(
    "/{name}/plans",
    operation_id="planCluster",
    status_code=201,
    response_model=Plan,
    response_model_exclude_none=True,
    summary="Plan what a cluster document would make, replace, keep and delete",
)
async def plan_cluster(
    name: ClusterName,
    document: ClusterDocument,
    hub: HubDep,
    scope: ScopeDep,
    host_lost: Annotated[
        str | None,
        Query(alias="hostLost", max_length=255, description="What if this host failed?"),
    ] = None,
    how_many: Annotated[
        bool, Query(alias="howMany", description="How many more such clusters fit?")
    ] = False,
    dry_run: DryRun = False,
) -> Response:
    """Store the document as a plan; its gateway then says what would become of each machine.

    Nothing is changed. Follow the plan with `getPlan` until its `status.state` is `Ready`, and
    apply it with `replaceClusterSpec` and `plan=NAME`. It is kept for 24 hours.
    """
    if document.metadata.name != name:
        raise InvalidError(
            "the document is of another cluster",
            (FieldFault("metadata.name", f"is {document.metadata.name!r}, not {name!r}"),),
        )
    check_project(document.metadata.project, scope.project)
    plan_name = f"{name}-{random_word(10)}"
    async with write(hub, scope.actor, Verb.CREATE, "Plan", plan_name, dry_run=dry_run) as (
        store,
        note,
    ):
        before = await store.find(Cluster, scope.project, name)
        if before is not None:
            refuse_when_deleting(before)
        proposal = await admit(store, scope.project, document, before)
        meta, now = proposal.cluster.metadata, hub.clock.now()
        plan = await store.create(
            Plan(
                metadata=Metadata(
                    name=plan_name,
                    project=scope.project,
                    owner=before.owner() if before is not None else None,
                    route=meta.route,
                    epoch=meta.epoch,
                ),
                spec=PlanSpec(
                    cluster=name,
                    cluster_uid=meta.uid,
                    labels=meta.labels,
                    proposed=proposal.cluster.spec,
                    node_pools=[document_of_pool(pool) for pool in proposal.pools()],
                    rests_on=versions_of(before, [*proposal.known.values()]),
                    host_lost=host_lost,
                    how_many=how_many,
                    created_by=scope.principal.username,
                    expires_at=now + PLAN_TTL,
                ),
            )
        )
        note.after = shown = plan.document()
    return JSONResponse(shown, 200 if dry_run else 201, headers={"ETag": etag(shown)})


@router.put(
    "/{name}/spec",
    operation_id="replaceClusterSpec",
    response_model=Cluster,
    response_model_exclude_none=True,
    summary="Replace what is asked of one, by a plan or without one",
)
async def replace_spec(
    name: ClusterName,
    hub: HubDep,
    scope: ScopeDep,
    if_match: IfMatch,
    spec: ClusterSpec | None = None,
    plan: Annotated[
        Name | None,
        Query(description="Apply this plan, its node pools included; no body is needed then."),
    ] = None,
    dry_run: DryRun = False,
) -> Response:
    """Replace the specification, or apply a plan: cluster and node pools as it has them.

    A plan is applied if it is `Ready` and cluster and pools are what it rests on, else 409 with
    the difference. The gateway then plans again, and makes exactly what the plan says, or
    nothing: see the condition `PlanFollowed` of the cluster.
    """
    if plan is not None:
        shown = await _apply(hub, scope, name, plan, spec, if_match, dry_run=dry_run)
    elif spec is None:
        raise InvalidError("nothing is asked", (FieldFault("(body)", "give a spec, or a plan"),))
    else:
        stored = await writes.replace_spec(
            hub, scope.actor, _RULES, name, spec, if_version=if_match, dry_run=dry_run
        )
        shown = stored.document()
    return JSONResponse(shown, headers={"ETag": etag(shown)})


async def _apply(
    hub: Hub,
    scope: Scope,
    name: str,
    plan_name: str,
    spec: ClusterSpec | None,
    if_version: int | None,
    *,
    dry_run: bool,
) -> dict[str, object]:
    async with write(hub, scope.actor, Verb.UPDATE, "Cluster", name, dry_run=dry_run) as (
        store,
        note,
    ):
        plan = await store.get(Plan, scope.project, plan_name)
        before = await store.find(Cluster, scope.project, name)
        _check_subject(plan, name, spec)
        if before is not None:
            check_version(before, if_version)
            refuse_when_deleting(before)
            note.before = before.document()
        elif if_version is not None:
            raise PreconditionError(f"there is no cluster {name} to match version {if_version}")
        if before is not None and await _is_applied(store, plan, before):
            return before.document()  # asked again: the answer may have been lost
        await _check_state(store, hub, plan, before)
        document = ClusterDocument(
            metadata=NewClusterMetadata(
                name=name, labels=plan.spec.labels, uid=plan.spec.cluster_uid
            ),
            spec=plan.spec.proposed,
            node_pools=plan.spec.node_pools,
        )
        proposal = await admit(store, scope.project, document, before)
        permit_proposal(scope, proposal)
        await _bind(store, hub, scope, plan, proposal)
        stored = await store_proposal(store, proposal)
        await withdraw_plans(store, stored.metadata.uid, but=plan.metadata.uid)
        note.after = {**stored.document(), "plan": plan.metadata.name}
        note.verb = Verb.UPDATE if before else Verb.CREATE
    return stored.document()


async def _is_applied(store: Store, plan: Plan, before: Cluster) -> bool:
    """Tell whether the documents are as the plan has made them, or are bound by it."""
    applied = plan.spec.applied
    if applied is None or applied.withdrawn or plan.status.state is PlanState.OUTDATED:
        return plan.binds
    here = versions_of(before, await pools_of(store, before))
    return plan.binds or not _moved(applied.documents, here)


async def _bind(store: Store, hub: Hub, scope: Scope, plan: Plan, proposal: Proposal) -> None:
    """Store that the plan is applied: before the documents, so that its gateway has it first."""
    plan.spec.applied = AppliedPlan(
        at=hub.clock.now(), by=scope.principal.username, documents=proposal.versions()
    )
    plan.metadata.owner = proposal.cluster.owner()
    await store.put_spec(plan)


def _check_subject(plan: Plan, name: str, spec: ClusterSpec | None) -> None:
    if plan.spec.cluster != name:
        fault = FieldFault("plan", f"is of cluster {plan.spec.cluster}, not of {name}")
        raise InvalidError("the plan is of another cluster", (fault,))
    if plan.is_question:
        fault = FieldFault("plan", "only answers a question: plan again without it")
        raise InvalidError("the plan cannot be applied", (fault,))
    if spec is not None and spec != plan.spec.proposed:
        fault = FieldFault("spec", "differs from what was planned: send none, or plan again")
        raise InvalidError("the plan is of another specification", (fault,))


async def _check_state(store: Store, hub: Hub, plan: Plan, before: Cluster | None) -> None:
    """Raise ``PlanOutdatedError`` or ``ConflictError`` unless the plan can be applied now."""
    status, name = plan.status, plan.metadata.name
    if status.state is PlanState.OUTDATED or plan.spec.applied is not None:
        why = "; ".join(status.differences) or "it was applied before"
        raise PlanOutdatedError(f"plan {name} is outdated: {why}. Plan again")
    if plan.spec.expires_at is not None and hub.clock.now() > plan.spec.expires_at:
        raise PlanOutdatedError(f"plan {name} has expired: plan again")
    pools = await pools_of(store, before) if before is not None else []
    if moved := _moved(plan.spec.rests_on, versions_of(before, pools)):
        raise PlanOutdatedError(f"plan {name} is outdated: {'; '.join(moved)}. Plan again")
    if status.state is PlanState.REFUSED:
        raise ConflictError(f"plan {name} was refused: {status.message}")
    if status.state is not PlanState.READY:
        raise ConflictError(f"plan {name} is not ready ({status.state}): wait for its gateway")


def _moved(then: list[DocumentVersion], now: list[DocumentVersion]) -> list[str]:
    """Say which documents are others than those that a plan rests on."""
    old, new = ({one.uid: one for one in some} for some in (then, now))
    found = [f"{one.kind} {one.name} is gone" for uid, one in old.items() if uid not in new]
    found += [f"{one.kind} {one.name} is new" for uid, one in new.items() if uid not in old]
    return found + [
        f"{one.kind} {one.name} is at generation {one.generation}, the plan rests on "
        f"{old[uid].generation}"
        for uid, one in new.items()
        if uid in old and old[uid].generation != one.generation
    ]
