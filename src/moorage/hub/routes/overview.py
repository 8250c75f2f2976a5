"""The clusters of a project at a glance: counts, and a searchable list without their documents."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from moorage.hub.deps import HubDep, ScopeDep, in_project
from moorage.hub.fleet import Filter, Fleet, Glance, count
from moorage.hub.paging import page_token, read_page_token
from moorage.hub.problems import Problem
from moorage.hub.routes.resources import MAX_PAGE, PAGE, Selecting
from moorage.hub.strict import StrictRoute
from moorage.resources.meta import Model
from moorage.resources.selector import parse_selector

router = APIRouter(
    prefix="/v1/projects/{project}",
    tags=["clusters"],
    route_class=StrictRoute,
    dependencies=[Depends(in_project)],
    responses={"4XX": {"model": Problem}},
)


class ClusterGlance(Model):
    """One cluster in a few words."""

    name: str
    state: str
    """`Ready`, `Pending`, `Deleting`, or the reason why it is not Ready."""
    version: str
    account: str
    gateway: str
    nodes: int
    nodes_ready: int
    created_at: datetime | None = None
    message: str = ""
    """What it waits for; its own conditions say all of it."""
    held: bool = False
    """The gateway's brake holds its deletion until somebody approves it beside vCenter."""
    labels: dict[str, str] = Field(default_factory=dict)


class ClusterOverview(Model):
    """Counts of all clusters of the project, and one page of those that were asked for."""

    kind: Literal["ClusterOverview"] = "ClusterOverview"
    total: int
    states: dict[str, int]
    """Of all clusters of the project."""
    versions: dict[str, int]
    """Of all clusters of the project."""
    held: int
    """Of all clusters of the project: deletions that wait for an approval."""
    matching: int
    """How many fulfil what was asked for."""
    items: list[ClusterGlance]
    """By name."""
    continue_: str | None = Field(default=None, alias="continue")


@router.get(
    "/overview/clusters",
    operation_id="overviewClusters",
    response_model_exclude_none=True,
    summary="Count and search clusters",
)
async def overview_clusters(
    hub: HubDep,
    scope: ScopeDep,
    search: Annotated[str, Query(max_length=63, description="Part of a name.")] = "",
    state: Annotated[str, Query(max_length=63)] = "",
    version: Annotated[str, Query(max_length=32)] = "",
    gateway: Annotated[str, Query(max_length=63)] = "",
    held: Annotated[bool, Query(description="Only those whose deletion is held.")] = False,
    label_selector: Selecting = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    continue_: Annotated[str | None, Query(alias="continue", max_length=512)] = None,
) -> ClusterOverview:
    """Return counts by state and version, and a page of the clusters that fulfil all filters."""
    selector = parse_selector(label_selector or "")
    place = read_page_token(continue_, str)
    reach = scope.reach
    clusters = [
        one
        for one in (await hub.store.view(Fleet)).of(scope.project)
        if reach.is_everything or reach.includes(one.labels)
    ]
    wanted = Filter(search, state, version, gateway, held, selector)
    found = [one for one in clusters if wanted.wants(one)]
    rest = [one for one in found if place is None or one.name > place[0]]
    return ClusterOverview(
        total=len(clusters),
        states=count(clusters, "state"),
        versions=count(clusters, "version"),
        held=sum(one.held for one in clusters),
        matching=len(found),
        items=[_shown(one) for one in rest[:limit]],
        continue_=page_token(rest[limit - 1].name) if len(rest) > limit else None,
    )


def _shown(one: Glance) -> ClusterGlance:
    fields = asdict(one)
    del fields["project"]
    return ClusterGlance.model_validate({**fields, "created_at": one.created_at or None})
