"""What happened: to clusters, pools and machines of a project, and to hub-wide things."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from moorage.hub.deps import HubDep, ScopeDep, in_project
from moorage.hub.problems import Problem
from moorage.hub.strict import StrictRoute
from moorage.resources import Cluster
from moorage.resources.cluster import ClusterName
from moorage.resources.meta import Model
from moorage.store import events

router = APIRouter(
    prefix="/v1",
    tags=["events"],
    route_class=StrictRoute,
    responses={"4XX": {"model": Problem}},
)

_LOOK_BACK = 5000


class Event(Model):
    """Something that happened to an object; the same is counted, not repeated."""

    kind: str
    name: str
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    first_seen_at: datetime
    last_seen_at: datetime
    count: int


class EventList(Model):
    """The newest events first."""

    kind: Literal["EventList"] = "EventList"
    items: list[Event]


Object = Annotated[
    str | None,
    Query(
        alias="object",
        pattern=r"^[A-Z][A-Za-z]+/[a-z0-9][-a-z0-9.]*$",
        max_length=128,
        description="Only what concerns `Kind/name`.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get(
    "/projects/{project}/events",  # noqa: FAST003 - in_project takes it
    operation_id="listEvents",
    dependencies=[Depends(in_project)],
    summary="What happened in a project",
)
async def list_events(
    hub: HubDep,
    scope: ScopeDep,
    object_: Object = None,
    cluster: Annotated[
        ClusterName | None, Query(description="Only this cluster, its pools and its machines.")
    ] = None,
    limit: Limit = 100,
) -> EventList:
    """List events, the newest first."""
    kind, _, name = (object_ or "").partition("/")
    limited = not scope.reach.is_everything
    found = await events.list_events(
        hub.store,
        project=scope.project,
        kind=kind or None,
        name=name or None,
        limit=_LOOK_BACK if cluster or limited else limit,
    )
    if cluster is not None or limited:
        clusters = await hub.store.list(Cluster, project=scope.project)
        names = {c.metadata.name for c in clusters} | ({cluster} if cluster else set())
        reached = {c.metadata.name for c in clusters if scope.reach.includes(c.metadata.labels)}
        shown = {cluster} if cluster else reached
        if limited:
            shown &= reached
        found = [event for event in found if _cluster_of(event, names) in shown]
    return _answer(found[:limit])


@router.get("/events", operation_id="listHubEvents", summary="What happened to hub-wide things")
async def list_hub_events(
    hub: HubDep,
    _scope: ScopeDep,
    object_: Object = None,
    limit: Limit = 100,
) -> EventList:
    """List events of gateways, accounts and IP pools, the newest first."""
    kind, _, name = (object_ or "").partition("/")
    found = await events.list_events(
        hub.store, project="", kind=kind or None, name=name or None, limit=limit
    )
    return _answer(found)


def _cluster_of(event: events.Event, clusters: set[str]) -> str | None:
    """Return the cluster that an object's name begins with; of several the longest name."""
    if event.kind == Cluster.kind_name():
        return event.name
    fitting = [name for name in clusters if event.name.startswith(f"{name}-")]
    return max(fitting, key=len, default=None)


def _answer(found: Sequence[events.Event]) -> EventList:
    return EventList(
        items=[
            Event(
                kind=event.kind,
                name=event.name,
                uid=event.uid,
                type=event.type,
                reason=event.reason,
                message=event.message,
                first_seen_at=event.first_at,
                last_seen_at=event.last_at,
                count=event.times,
            )
            for event in found
        ]
    )
