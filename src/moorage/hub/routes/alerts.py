"""Alerts: what is wrong now, who looks after it, and what channels were sent."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from moorage.auth import Verb
from moorage.hub.alerting.watching import body_of
from moorage.hub.auditing import AuditNote, record
from moorage.hub.deps import HubDep, Scope, ScopeDep, in_project
from moorage.hub.problems import Problem
from moorage.hub.rules.alerts import new_secret
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import NotFoundError
from moorage.resources import AlertChannel, Cluster
from moorage.resources.meta import Model, Name
from moorage.store import SqlStore, alerts

router = APIRouter(
    prefix="/v1", tags=["alerts"], route_class=StrictRoute, responses={"4XX": {"model": Problem}}
)

AlertId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
Ended = Annotated[bool, Query(description="Those that have ended too.")]


class AlertObject(Model):
    """What an alert is about."""

    kind: str
    project: str
    name: str
    uid: str


class Alert(Model):
    """One rule's word on one object: the same is counted, not repeated."""

    id: str
    rule: str
    object: AlertObject
    message: str
    since: datetime
    last: datetime
    """When it was last seen to go on, within ten minutes."""
    count: int
    """How often it has begun."""
    ended_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    note: str | None = None


class AlertList(Model):
    """Those that go on first."""

    kind: Literal["AlertList"] = "AlertList"
    items: list[Alert]


class Acknowledgement(Model):
    """That somebody looks after an alert."""

    acknowledged: bool = True
    note: str = Field(default="", max_length=1024)


class ChannelSecret(Model):
    """What signs the deliveries of a channel. Shown this once."""

    secret: str


class Sent(Model):
    """A delivery."""

    id: str
    created_at: datetime
    attempts: int
    delivered_at: datetime | None = None
    next_attempt_at: datetime | None = None
    answer: str
    """What came back last."""


class SentList(Model):
    """The newest first."""

    kind: Literal["DeliveryList"] = "DeliveryList"
    items: list[Sent]


@router.get(
    "/projects/{project}/alerts",  # noqa: FAST003 - in_project takes it
    operation_id="listAlerts",
    dependencies=[Depends(in_project)],
    response_model_exclude_none=True,
    summary="What is wrong in a project",
)
async def list_alerts(hub: HubDep, scope: ScopeDep, ended: Ended = False) -> AlertList:
    """List alerts of clusters and machines of the project."""
    found = await alerts.list_alerts(hub.store, project=scope.project, ended=ended)
    reached = await _reached(hub.store, scope)
    return _answer([one for one in found if reached is None or one.cluster in reached])


@router.get(
    "/alerts",
    operation_id="listAllAlerts",
    response_model_exclude_none=True,
    summary="What is wrong anywhere",
)
async def list_all_alerts(hub: HubDep, _scope: ScopeDep, ended: Ended = False) -> AlertList:
    """List alerts of all projects, and of what lives beside them."""
    return _answer(await alerts.list_alerts(hub.store, ended=ended))


@router.put(
    "/projects/{project}/alerts/{id_}/acknowledgement",  # noqa: FAST003
    operation_id="acknowledgeAlert",
    dependencies=[Depends(in_project)],
    response_model_exclude_none=True,
    summary="Say that you look after it",
)
async def acknowledge_alert(
    id_: AlertId, body: Acknowledgement, hub: HubDep, scope: ScopeDep
) -> Alert:
    """Acknowledge an alert of the project, or take that back; it is not sent again meanwhile."""
    found = await alerts.find_alert(hub.store, id_)
    reached = await _reached(hub.store, scope)
    if (
        found is None
        or found.project != scope.project
        or (reached is not None and found.cluster not in reached)
    ):
        raise NotFoundError(f"there is no alert {id_} in project {scope.project}")
    return await _acknowledge(hub, scope, found, body)


@router.put(
    "/alerts/{id_}/acknowledgement",
    operation_id="acknowledgeAnyAlert",
    response_model_exclude_none=True,
    summary="Say that you look after it, wherever it is",
)
async def acknowledge_any_alert(
    id_: AlertId, body: Acknowledgement, hub: HubDep, scope: ScopeDep
) -> Alert:
    """Acknowledge any alert, or take that back."""
    found = await alerts.find_alert(hub.store, id_)
    if found is None:
        raise NotFoundError(f"there is no alert {id_}")
    return await _acknowledge(hub, scope, found, body)


@router.post(
    "/alertchannels/{name}/secret",
    operation_id="renewAlertChannelSecret",
    summary="Make another secret for what is posted",
)
async def renew_secret(name: Name, hub: HubDep, scope: ScopeDep) -> ChannelSecret:
    """Return a new secret, once. What is sent from now on is signed with it."""
    secret = new_secret()
    async with hub.store.transaction() as store:
        channel = await store.get(AlertChannel, "", name)
        await alerts.set_secret(store, channel.metadata.uid, secret)
        note = AuditNote(Verb.UPDATE, "AlertChannelSecret", name=name)
        await record(hub, scope.principal, scope.actor.source, note, "ok")
    return ChannelSecret(secret=secret)


@router.post(
    "/alertchannels/{name}/test",
    operation_id="testAlertChannel",
    status_code=204,
    summary="Send a test",
)
async def send_test(name: Name, hub: HubDep, _scope: ScopeDep) -> None:
    """Queue a delivery that says that it is a test; see the deliveries for what came of it."""
    now = hub.clock.now()
    async with hub.store.transaction() as store:
        channel = await store.get(AlertChannel, "", name)
        sample = alerts.Alert(
            id="test",
            rule="Test",
            kind="AlertChannel",
            project="",
            name=name,
            uid=channel.metadata.uid,
            cluster="",
            message="This is a test: nothing is wrong.",
            since=now,
            last_at=now,
            times=1,
            ended_at=None,
            told=1,
            acknowledged_by="",
            acknowledged_at=None,
            note="",
        )
        await alerts.enqueue(store, [channel.metadata.uid], body_of(sample, "test"), now)


@router.get(
    "/alertchannels/{name}/deliveries",
    operation_id="listAlertDeliveries",
    response_model_exclude_none=True,
    summary="What was sent to a channel",
)
async def list_deliveries(
    name: Name,
    hub: HubDep,
    _scope: ScopeDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> SentList:
    """List deliveries of the last week, with what came back."""
    channel = await hub.store.get(AlertChannel, "", name)
    found = await alerts.list_deliveries(hub.store, channel.metadata.uid, limit=limit)
    return SentList(
        items=[
            Sent(
                id=one.id,
                created_at=one.created_at,
                attempts=one.attempts,
                delivered_at=one.delivered_at,
                next_attempt_at=one.due,
                answer=one.answer,
            )
            for one in found
        ]
    )


async def _acknowledge(
    hub: HubDep, scope: Scope, found: alerts.Alert, body: Acknowledgement
) -> Alert:
    by = scope.principal.username if body.acknowledged else ""
    async with hub.store.transaction() as store:
        await alerts.acknowledge(store, found.id, by, body.note if by else "")
        note = AuditNote(
            "acknowledge" if by else "unacknowledge",
            "Alert",
            found.project,
            found.id,
            after={"rule": found.rule, "kind": found.kind, "name": found.name, "note": body.note},
        )
        await record(hub, scope.principal, scope.actor.source, note, "ok")
    changed = await alerts.find_alert(hub.store, found.id)
    return _shown(changed or found)


async def _reached(store: SqlStore, scope: Scope) -> set[str] | None:
    """Return the names of the clusters that the caller's rights reach; ``None``: all."""
    if scope.reach.is_everything:
        return None
    clusters = await store.list(Cluster, project=scope.project)
    return {one.metadata.name for one in clusters if scope.reach.includes(one.metadata.labels)}


def _answer(found: list[alerts.Alert]) -> AlertList:
    return AlertList(items=[_shown(one) for one in found])


def _shown(one: alerts.Alert) -> Alert:
    return Alert(
        id=one.id,
        rule=one.rule,
        object=AlertObject(kind=one.kind, project=one.project, name=one.name, uid=one.uid),
        message=one.message,
        since=one.since,
        last=one.last_at,
        count=one.times,
        ended_at=one.ended_at,
        acknowledged_by=one.acknowledged_by or None,
        acknowledged_at=one.acknowledged_at,
        note=one.note or None,
    )
