"""Clusters from one gateway to another: moved, taken from a dead one, their secrets resealed."""

from fastapi import APIRouter
from pydantic import Field

from moorage.auth import Verb
from moorage.controllers.hub.moves import (
    Group,
    cancel_move,
    check_can_move,
    check_target,
    everything_of,
    group_of,
    start_move,
    transfer,
)
from moorage.engine.store import Store
from moorage.hub.admission import sealing_key_id
from moorage.hub.auditing import AuditNote, record
from moorage.hub.deps import DryRun, HubDep, ScopeDep
from moorage.hub.problems import Problem
from moorage.hub.strict import StrictRoute
from moorage.hub.writes import write
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError
from moorage.kit.seal import SealedEnvelope
from moorage.resources import (
    Assignment,
    Cluster,
    ClusterKeys,
    Gateway,
    Metadata,
    ResealedKeys,
    Secret,
)
from moorage.resources.cluster import ClusterName
from moorage.resources.clusterkeys import ResealedKeysSpec
from moorage.resources.gateway import assignment_name
from moorage.resources.meta import Model, Name

router = APIRouter(
    prefix="/v1", tags=["moves"], route_class=StrictRoute, responses={"4XX": {"model": Problem}}
)

DECLARED_DEAD = "DeclaredDead"


class ClusterNamed(Model):
    """Which cluster."""

    project: Name
    cluster: ClusterName


class MoveRequest(ClusterNamed):
    """Where a cluster shall go."""

    gateway: Name
    with_users: bool = False
    """Take along every cluster that shares a cloud account or an IP pool with it."""


class Moving(Model):
    """What changes hands together."""

    from_gateway: Name
    gateway: Name
    clusters: list[str]
    """``project/name``."""
    ip_pools: list[Name]
    accounts: list[Name]


class DeathNotice(Model):
    """Which gateway is lost, and who takes over what it had."""

    gateway: Name
    successor: Name


class SealedKeys(Model):
    """The sealed keys of one cluster."""

    project: Name
    name: ClusterName
    uid: str = Field(max_length=64)
    """Of the cluster."""
    sealed: SealedEnvelope


class SealedSecret(Model):
    """The sealed password of a cloud account."""

    name: Name
    sealed: SealedEnvelope


class Sealed(Model):
    """What is sealed to a gateway. Only it and the recovery key can open this."""

    keys: list[SealedKeys] = Field(default_factory=list, max_length=10_000)
    secrets: list[SealedSecret] = Field(default_factory=list, max_length=10_000)


@router.post("/moves", operation_id="moveCluster", summary="Move a cluster to another gateway")
async def move_cluster(
    body: MoveRequest,
    hub: HubDep,
    scope: ScopeDep,
    dry_run: DryRun = False,
) -> Moving:
    """Have its gateway stop all work on it; once that is so, the other one takes it over.

    IP pools and the cloud account go along. 409 when others use them too and ``withUsers`` is
    not said. The dry run answers what would move.
    """
    project, name = body.project, body.cluster
    async with write(hub, scope.actor, Verb.UPDATE, "Move", name, dry_run=dry_run) as (store, note):
        cluster = await store.get(Cluster, project, name)
        old = cluster.metadata.route
        if body.gateway == old:
            raise ConflictError(f"{cluster} is at gateway {old} already")
        group = await group_of(store, old, {f"{project}/{name}"})
        others = sorted("/".join(one.key) for one in group.clusters if one.key != cluster.key)
        if others and not body.with_users:
            raise ConflictError(
                f"{cluster} shares its cloud account or an IP pool with {', '.join(others)}: "
                "they can only move together, say `withUsers: true`"
            )
        await check_can_move(store, group, old)
        await check_target(store, group, body.gateway)
        await start_move(store, group, body.gateway)
        answer = _describe(group, old, body.gateway)
        note.project, note.after = project, answer.document()
    return answer


@router.post("/moves/cancel", operation_id="cancelMove", summary="Cancel a move", status_code=204)
async def cancel(
    body: ClusterNamed,
    hub: HubDep,
    scope: ScopeDep,
) -> None:
    """Let the old gateway go on, with all that was to move; 409 when there is no move."""
    project, name = body.project, body.cluster
    async with write(hub, scope.actor, Verb.UPDATE, "Move", name, dry_run=False) as (store, note):
        note.project = project
        cluster = await store.get(Cluster, project, name)
        assignment = await store.get(
            Assignment, "", assignment_name(cluster.kind, cluster.metadata.uid)
        )
        if not assignment.spec.move:
            raise ConflictError(
                f"{cluster} is not moving: it is at gateway {cluster.metadata.route}"
            )
        note.before = assignment.document()
        await cancel_move(store, assignment.spec.move)


@router.post(
    "/moves/declare-dead",
    operation_id="declareGatewayDead",
    summary="Give everything that a lost gateway had to another one",
)
async def declare_dead(
    body: DeathNotice,
    hub: HubDep,
    scope: ScopeDep,
    dry_run: DryRun = False,
) -> Moving:
    """Do not wait for the old one: its successor fences it in vCenter, by a higher epoch.

    What the old one made and had not yet told the hub is not known to the successor: it shows
    such VMs (condition ``AdoptionNeeded``) and does not touch them.
    """
    name = body.gateway
    async with write(hub, scope.actor, Verb.UPDATE, "Gateway", name, dry_run=dry_run) as (
        store,
        note,
    ):
        gateway = await store.get(Gateway, "", name)
        if body.successor == name:
            raise ConflictError(f"{gateway} cannot be its own successor")
        group = await everything_of(store, name)
        await check_target(store, group, body.successor)
        for assignment in await store.list(Assignment):
            if assignment.spec.moving_to == name:
                await cancel_move(store, assignment.spec.move)
        await transfer(store, group, name, body.successor)
        answer = _describe(group, name, body.successor)
        gateway = await store.get(Gateway, "", name)
        gateway.status.set_condition(
            DECLARED_DEAD,
            "True",
            "ByAdministrator",
            f"{scope.principal.username} gave all of it to gateway {body.successor}",
            now=hub.clock.now(),
        )
        await store.put_status(gateway)
        note.after = answer.document()
    return answer


@router.get(
    "/moves/sealed/{name}",
    operation_id="getSealed",
    summary="Get what is sealed to a gateway, to be opened with the recovery key",
)
async def get_sealed(name: Name, hub: HubDep, scope: ScopeDep) -> Sealed:
    """Return sealed envelopes whole: worth nothing without a gateway's key or the recovery key."""
    await hub.store.get(Gateway, "", name)
    await record(
        hub, scope.principal, scope.actor.source, AuditNote("get", "Sealed", "", name), "ok"
    )
    return Sealed(
        keys=[
            SealedKeys(
                project=one.metadata.project,
                name=one.spec.cluster,
                uid=one.metadata.owner.uid,
                sealed=one.spec.sealed,
            )
            for one in await hub.store.list(ClusterKeys, route=name)
            if one.metadata.owner is not None
        ],
        secrets=[
            SealedSecret(name=one.metadata.name, sealed=one.spec.sealed)
            for one in await hub.store.list(Secret)
            if one.spec.gateway == name
        ],
    )


@router.post(
    "/moves/resealed/{name}",
    operation_id="putResealed",
    summary="Hand over what was sealed to a gateway with the recovery key",
    status_code=204,
)
async def put_resealed(
    name: Name,
    body: Sealed,
    hub: HubDep,
    scope: ScopeDep,
) -> None:
    """Store envelopes that have got this gateway as one recipient more, and are else the same."""
    async with write(hub, scope.actor, Verb.UPDATE, "Sealed", name, dry_run=False) as (store, note):
        gateway = await store.get(Gateway, "", name)
        if gateway.status.sealing_key is None:
            raise ConflictError(f"{gateway} has not enrolled yet")
        key_id = sealing_key_id(gateway.status.sealing_key)
        for keys in body.keys:
            await _put_keys(store, keys, name, key_id)
        for given in body.secrets:
            secret = await store.get(Secret, "", given.name)
            _check_same(str(secret), secret.spec.sealed, given.sealed, key_id)
            secret.spec.sealed = given.sealed
            await store.put_spec(secret)
        note.after = {
            "clusters": [f"{one.project}/{one.name}" for one in body.keys],
            "secrets": [one.name for one in body.secrets],
        }


async def _put_keys(store: Store, given: SealedKeys, gateway: str, key_id: str) -> None:
    stored = await store.get(ClusterKeys, given.project, given.name)
    cluster = await store.get(Cluster, given.project, given.name)
    if cluster.metadata.uid != given.uid:
        raise NotFoundError(f"{cluster} is another one by now: read what is sealed again")
    _check_same(str(stored), stored.spec.sealed, given.sealed, key_id)
    resealed = await store.find(ResealedKeys, *cluster.key)
    if resealed is not None and resealed.metadata.owner != cluster.owner():
        await store.delete(resealed)
        resealed = None
    spec = ResealedKeysSpec(cluster=given.name, gateway=gateway, sealed=given.sealed)
    if resealed is None:
        project, name = cluster.key
        meta = Metadata(name=name, project=project, owner=cluster.owner(), route=gateway)
        await store.create(ResealedKeys(metadata=meta, spec=spec))
        return
    resealed.spec, resealed.metadata.route = spec, gateway
    await store.put_spec(resealed)


def _check_same(what: str, before: SealedEnvelope, after: SealedEnvelope, key_id: str) -> None:
    if (before.context, before.ciphertext) != (after.context, after.ciphertext):
        raise ConflictError(f"{what} was sealed anew meanwhile: read what is sealed again")
    if key_id not in {key.recipient for key in after.keys}:
        raise InvalidError(f"{what} is not sealed to the key that the gateway has now")


def _describe(group: Group, old: str, to: str) -> Moving:
    return Moving(
        from_gateway=old,
        gateway=to,
        clusters=sorted("/".join(one.key) for one in group.clusters),
        ip_pools=sorted(one.metadata.name for one in group.ip_pools),
        accounts=sorted(one.metadata.name for one in group.accounts),
    )
