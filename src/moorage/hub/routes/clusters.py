"""A cluster and its node pools as one document: created or updated in one transaction."""

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from starlette.responses import Response

from moorage.auth import Verb
from moorage.hub.deps import DryRun, HubDep, IfMatch, Scope, ScopeDep, in_project
from moorage.hub.documents import ClusterDocument, ClusterWithPools
from moorage.hub.problems import Problem
from moorage.hub.proposals import admit, store_proposal
from moorage.hub.rightful import permit_proposal
from moorage.hub.routes.resources import check_project
from moorage.hub.rules.clusters import pools_of
from moorage.hub.rules.plans import withdraw_plans
from moorage.hub.strict import StrictRoute
from moorage.hub.writes import check_version, etag, refuse_when_deleting, write
from moorage.kit.errors import ConflictError, FieldFault, InvalidError
from moorage.resources import Cluster, NodePool
from moorage.resources.cluster import ClusterName
from moorage.resources.meta import Document

router = APIRouter(
    prefix="/v1/projects/{project}/clusters",
    tags=["clusters"],
    route_class=StrictRoute,
    dependencies=[Depends(in_project)],
    responses={"4XX": {"model": Problem}},
)


@router.put(
    "/{name}",
    operation_id="applyCluster",
    response_model=ClusterWithPools,
    response_model_exclude_none=True,
    summary="Create or update a cluster with its node pools",
    responses={201: {"description": "It was created", "model": ClusterWithPools}},
)
async def apply_cluster(
    name: ClusterName,
    document: ClusterDocument,
    hub: HubDep,
    scope: ScopeDep,
    if_match: IfMatch,
    dry_run: DryRun = False,
) -> Response:
    """Make cluster and pools what the document says, all or nothing. May be repeated.

    A pool that is left out stays as it is; delete it by name.
    """
    if document.metadata.name != name:
        raise InvalidError(
            "the document is of another cluster",
            (
                FieldFault(
                    "metadata.name", f"is {document.metadata.name!r}, but the path says {name!r}"
                ),
            ),
        )
    check_project(document.metadata.project, scope.project)
    return await _apply(hub, scope, document, if_version=if_match, dry_run=dry_run)


@router.post(
    "",
    operation_id="createCluster",
    status_code=201,
    response_model=ClusterWithPools,
    response_model_exclude_none=True,
    summary="Create a cluster with its node pools",
)
async def create_cluster(
    document: ClusterDocument,
    hub: HubDep,
    scope: ScopeDep,
    dry_run: DryRun = False,
) -> Response:
    """Like apply, but 409 when there is a cluster of that name."""
    check_project(document.metadata.project, scope.project)
    return await _apply(hub, scope, document, dry_run=dry_run, must_be_new=True)


async def _apply(
    hub: HubDep,
    scope: Scope,
    document: ClusterDocument,
    *,
    if_version: int | None = None,
    dry_run: bool,
    must_be_new: bool = False,
) -> Response:
    project, name = scope.project, document.metadata.name
    verb = Verb.CREATE if must_be_new else Verb.UPDATE
    async with write(hub, scope.actor, verb, "Cluster", name, dry_run=dry_run) as (store, note):
        before = await store.find(Cluster, project, name)
        if before is not None:
            if must_be_new:
                raise ConflictError(f"{before} exists already: choose another name, or apply")
            check_version(before, if_version)
            refuse_when_deleting(before)
            old = await pools_of(store, before)
            note.before = _show(before, old)
        elif if_version is not None:
            raise ConflictError(f"there is no cluster {name} to match version {if_version}")
        proposal = await admit(store, project, document, before)
        permit_proposal(scope, proposal)
        cluster = await store_proposal(store, proposal)
        await withdraw_plans(store, cluster.metadata.uid)
        shown = _show(cluster, await pools_of(store, cluster))
        note.after = shown
        note.verb = Verb.UPDATE if before else Verb.CREATE
    status = 201 if before is None and not dry_run else 200
    return JSONResponse(shown, status, headers={"ETag": etag(shown)})


def _show(cluster: Cluster, pools: list[NodePool]) -> Document:
    return {**cluster.document(), "nodePools": [pool.document() for pool in pools]}
