"""The audit trail: acts page by page, one act with what followed from it, and the whole chain."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import StreamingResponse

from moorage.hub.deps import HubDep, ScopeDep
from moorage.hub.paging import page_token, read_page_token
from moorage.hub.problems import Problem
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import NotFoundError
from moorage.resources import Cluster, Machine, NodePool
from moorage.resources.meta import Model
from moorage.store import SqlStore, audit

router = APIRouter(
    prefix="/v1/audit",
    tags=["audit"],
    route_class=StrictRoute,
    responses={"4XX": {"model": Problem}},
)

_NUMBER = 2**53 - 1


class AuditRecord(Model):
    """One act."""

    id: int
    """Numbers have no gaps."""
    at: datetime
    actor: str
    source: str
    verb: str
    kind: str
    project: str
    name: str
    outcome: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    digest: str
    """SHA-256 of the record, the digest of the one before among it."""


class AuditPage(Model):
    """The newest acts first."""

    kind: Literal["AuditList"] = "AuditList"
    items: list[AuditRecord]
    continue_: str | None = Field(default=None, alias="continue")


class FollowingMachine(Model):
    """A machine that was made after an act, as far as the hub knows it still."""

    name: str
    created_at: datetime | None
    vm: str | None
    """Moref of the VM."""
    clone_task: str | None
    """Moref of vCenter's task."""


class Followed(Model):
    """What came of an act."""

    generation: int | None = None
    """Of the object since then."""
    plan: str | None = None
    """The plan that was applied by it."""
    machines: list[FollowingMachine] = Field(default_factory=list)
    """Made between this act and the next one on the same object."""


class AuditAct(AuditRecord):
    """One act and what followed from it."""

    followed: Followed


class AuditCheckpoint(Model):
    """A signature that vouches for a record and all before it."""

    id: int
    at: datetime
    digest: str
    installation: str
    public_key: str
    """Ed25519, 32 bytes in base64."""
    signature: str


class AuditCheckpoints(Model):
    """The oldest first."""

    kind: Literal["AuditCheckpointList"] = "AuditCheckpointList"
    items: list[AuditCheckpoint]


@router.get("", operation_id="listAudit", response_model_exclude_none=True, summary="Who did what")
async def list_audit(
    hub: HubDep,
    _scope: ScopeDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    continue_: Annotated[str | None, Query(alias="continue", max_length=64)] = None,
    actor: Annotated[str | None, Query(max_length=128)] = None,
    kind: Annotated[str | None, Query(max_length=63)] = None,
    project: Annotated[str | None, Query(max_length=63)] = None,
    name: Annotated[str | None, Query(max_length=128)] = None,
) -> AuditPage:
    """List acts, the newest first. Refused ones and logins are there too."""
    place = read_page_token(continue_, int)
    entries = await audit.list_entries(
        hub.store,
        limit=limit + 1,
        before_id=place[0] if place else None,
        actor=actor,
        kind=kind,
        project=project,
        name=name,
    )
    return AuditPage(
        items=[AuditRecord.model_validate(_shown(entry)) for entry in entries[:limit]],
        continue_=page_token(entries[limit - 1].id) if len(entries) > limit else None,
    )


@router.get(
    "/export",
    operation_id="exportAudit",
    summary="The whole chain",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export_audit(
    hub: HubDep,
    _scope: ScopeDep,
    after: Annotated[
        int | None, Query(ge=0, le=_NUMBER, description="Begin after this record.")
    ] = None,
) -> StreamingResponse:
    """Return the trail as JSON lines, oldest first: a start, records, and signed checkpoints.

    `moorage audit verify` reads it.
    """
    return StreamingResponse(_lines(hub.store, hub.installation, after), media_type=_LINES)


_LINES = "application/x-ndjson"


@router.get(
    "/checkpoints", operation_id="listAuditCheckpoints", summary="What was signed, and by which key"
)
async def list_checkpoints(hub: HubDep, _scope: ScopeDep) -> AuditCheckpoints:
    """List the daily signatures. Kept elsewhere they show whether the end was cut off later."""
    lines = [
        audit.checkpoint_line(one, hub.installation)
        for one in await audit.list_checkpoints(hub.store)
    ]
    for line in lines:
        del line["type"]
    return AuditCheckpoints(items=[AuditCheckpoint.model_validate(line) for line in lines])


@router.get(
    "/records/{number}",
    operation_id="getAuditRecord",
    response_model_exclude_none=True,
    summary="One act and what followed",
)
async def get_record(
    number: Annotated[int, Path(ge=1, le=_NUMBER)], hub: HubDep, _scope: ScopeDep
) -> AuditAct:
    """Return an act with the generation and plan it made, and the machines made afterwards."""
    entry = await audit.find_entry(hub.store, number)
    if entry is None:
        raise NotFoundError(f"there is no audit record {number}: never written, or let go by age")
    followed = await _followed(hub.store, entry)
    return AuditAct.model_validate({**_shown(entry), "followed": followed})


async def _followed(store: SqlStore, entry: audit.AuditEntry) -> Followed:
    after = entry.after or {}
    generation = (after.get("metadata") or {}).get("generation")
    found = Followed(
        generation=generation if isinstance(generation, int) else None,
        plan=after["plan"] if isinstance(after.get("plan"), str) else None,
    )
    cluster = _cluster_of(entry)
    if entry.outcome != "ok" or cluster is None:
        return found
    subject = await store.find(Cluster, entry.project, cluster)
    if subject is None:
        return found
    until = await audit.next_moment(store, entry)
    machines = await store.list(Machine, project=entry.project, owner=subject.metadata.uid)
    found.machines = [
        FollowingMachine(
            name=one.metadata.name,
            created_at=one.metadata.created_at,
            vm=one.status.vm,
            clone_task=one.status.clone_task,
        )
        for one in machines
        if _is_between(one.metadata.created_at, entry.at, until)
    ]
    return found


def _cluster_of(entry: audit.AuditEntry) -> str | None:
    if entry.kind == Cluster.kind_name():
        return entry.name
    if entry.kind == NodePool.kind_name():
        spec = (entry.after or entry.before or {}).get("spec") or {}
        return str(spec["cluster"]) if "cluster" in spec else None
    return None


def _is_between(moment: datetime | None, first: datetime, until: datetime | None) -> bool:
    return moment is not None and first <= moment and (until is None or moment < until)


async def _lines(store: SqlStore, installation: str, after: int | None) -> AsyncIterator[bytes]:
    async for line in audit.export(store, installation, after=after):
        yield json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _shown(entry: audit.AuditEntry) -> dict[str, Any]:
    return {name: value for name, value in entry._asdict().items() if name != "previous"}
