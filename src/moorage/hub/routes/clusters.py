"""A cluster and its node pools as one document: created or updated in one transaction."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from starlette.responses import Response

from moorage.auth import Verb
from moorage.engine.store import Store
from moorage.hub.admission import cluster_faults, pool_faults
from moorage.hub.deps import DryRun, HubDep, IfMatch, Scope, allow
from moorage.hub.documents import ClusterDocument, ClusterWithPools
from moorage.hub.problems import Problem
from moorage.hub.routes.resources import check_project
from moorage.hub.rules.base import label_faults, load_estate
from moorage.hub.rules.clusters import ClusterRules, adopt, pools_of
from moorage.hub.strict import StrictRoute
from moorage.hub.writes import check_version, etag, refuse_when_deleting, write
from moorage.kit.errors import ConflictError, FieldFault, InvalidError
from moorage.resources import Cluster, NodePool
from moorage.resources.cluster import ClusterName
from moorage.resources.meta import Document, Metadata
from moorage.resources.nodepool import NodePoolSpec, pool_resource_name

router = APIRouter(
    prefix="/v1/projects/{project}/clusters",
    tags=["clusters"],
    route_class=StrictRoute,
    responses={"4XX": {"model": Problem}},
)

_RULES = ClusterRules()


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
    scope: Annotated[Scope, Depends(allow(Verb.UPDATE, "clusters"))],
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
    scope: Annotated[Scope, Depends(allow(Verb.CREATE, "clusters"))],
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
        cluster = await _store_cluster(store, project, document, before)
        shown = _show(cluster, await pools_of(store, cluster))
        note.after = shown
        note.verb = Verb.UPDATE if before else Verb.CREATE
    status = 201 if before is None and not dry_run else 200
    return JSONResponse(shown, status, headers={"ETag": etag(shown)})


async def _store_cluster(
    store: Store, project: str, document: ClusterDocument, before: Cluster | None
) -> Cluster:
    meta = document.metadata
    cluster = (
        before.copy_deep()
        if before
        else Cluster(
            metadata=Metadata(name=meta.name, project=project, uid=meta.uid), spec=document.spec
        )
    )
    cluster.spec = document.spec
    cluster.metadata.labels = {**meta.labels}
    await _RULES.prepare(store, cluster, before)
    known = {p.metadata.name: p for p in await pools_of(store, before)} if before else {}
    wanted = {
        pool_resource_name(meta.name, entry.name): NodePool(
            metadata=Metadata(name=pool_resource_name(meta.name, entry.name), project=project),
            spec=NodePoolSpec(
                cluster=meta.name,
                pool=entry.name,
                **{
                    field: getattr(entry, field)
                    for field in type(entry).model_fields
                    if field != "name"
                },
            ),
        )
        for entry in document.node_pools
    }
    faults = label_faults(cluster, before)
    faults += await _faults(store, cluster, before, known, wanted, document)
    if faults:
        raise InvalidError(f"{cluster} cannot be stored like this", tuple(faults))
    if before is None:
        stored = await store.create(cluster)
        await _RULES.created(store, stored)
    else:
        stored = await store.put_spec(cluster)
    for name, pool in wanted.items():
        await _store_pool(store, stored, pool, known.get(name))
    return stored


async def _faults(
    store: Store,
    cluster: Cluster,
    before: Cluster | None,
    known: dict[str, NodePool],
    wanted: dict[str, NodePool],
    document: ClusterDocument,
) -> list[FieldFault]:
    estate = await load_estate(store)
    kept = [pool for name, pool in known.items() if name not in wanted]
    faults = cluster_faults(cluster, kept, estate, before=before, more=list(wanted.values()))
    names = [entry.name for entry in document.node_pools]
    for index, (entry, (name, pool)) in enumerate(
        zip(document.node_pools, wanted.items(), strict=False)
    ):
        path = f"nodePools[{index}]"
        if names.count(entry.name) > 1:
            faults.append(FieldFault(f"{path}.name", f"there are two pools {entry.name}"))
            return faults
        stored = await store.find(NodePool, pool.metadata.project, name)
        if stored is not None and stored.is_deleting:
            faults.append(FieldFault(f"{path}.name", "a pool of that name is being deleted: wait"))
        elif stored is not None and name not in known:
            faults.append(
                FieldFault(
                    f"{path}.name",
                    f"node pool {name} exists already, of cluster {stored.spec.cluster}: choose "
                    "another name",
                )
            )
        faults += pool_faults(
            pool, cluster, estate, before=known.get(name), path=path, with_head_room=False
        )
    return faults


async def _store_pool(
    store: Store, cluster: Cluster, pool: NodePool, before: NodePool | None
) -> None:
    if before is None:
        adopt(pool, cluster)
        await store.create(pool)
        return
    after = before.copy_deep()
    after.spec = pool.spec
    await store.put_spec(after)


def _show(cluster: Cluster, pools: list[NodePool]) -> Document:
    return {**cluster.document(), "nodePools": [pool.document() for pool in pools]}
