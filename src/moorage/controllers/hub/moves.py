"""Clusters and IP pools from one gateway to another: who moves together, when, and how."""

import json
from dataclasses import dataclass
from typing import Any

from moorage.controllers.hub.handover import give_account, give_subject, hand_over
from moorage.engine import Change, Context, Controller, HeldLease, Result, Store, Watch, split_key
from moorage.kit.errors import ConflictError
from moorage.kit.ids import new_uid
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    Gateway,
    Handover,
    IPAddress,
    IPPool,
    Resource,
    Template,
)
from moorage.resources.gateway import MovedAway, assignment_name
from moorage.resources.spans import overlap

_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """What can only change hands together: none of it may be shared by two gateways."""

    clusters: tuple[Cluster, ...]
    ip_pools: tuple[IPPool, ...]
    accounts: tuple[CloudAccount, ...]

    @property
    def subjects(self) -> tuple[Cluster | IPPool, ...]:
        """What has an assignment."""
        return (*self.clusters, *self.ip_pools)


async def group_of(store: Store, gateway: str, names: set[str]) -> Group:
    """Return what has to move with some clusters of a gateway (``project/name``), these included.

    An IP pool and a cloud account belong to one gateway: they go along, and so does every other
    cluster that uses one of them.
    """
    clusters = await store.list(Cluster, route=gateway)
    pools = [one for one in await store.list(IPPool) if one.spec.gateway == gateway]
    accounts = [one for one in await store.list(CloudAccount) if one.spec.gateway == gateway]
    holders: dict[str, set[str]] = {}
    for address in await store.list(IPAddress, route=gateway):
        if address.spec.released_at is not None:
            continue
        holders.setdefault(address.spec.cluster, set()).add(address.spec.pool)
    secret_of = {one.metadata.name: one.spec.secret for one in accounts}

    def uses(cluster: Cluster) -> set[str]:
        key = "/".join(cluster.key)
        named = cluster.spec.ip_pools() | holders.get(key, set())
        account = cluster.spec.account
        return {f"pool {name}" for name in named} | {
            f"account {account}",
            f"secret {secret_of.get(account, account)}",
        }

    moving, shared = set(names), set[str]()
    while True:
        chosen = [one for one in clusters if "/".join(one.key) in moving or shared & uses(one)]
        grown = {word for one in chosen for word in uses(one)}
        if grown == shared:
            break
        moving, shared = {"/".join(one.key) for one in chosen}, grown
    return Group(
        tuple(chosen),
        tuple(one for one in pools if f"pool {one.metadata.name}" in shared),
        tuple(one for one in accounts if f"secret {one.spec.secret}" in shared),
    )


async def everything_of(store: Store, gateway: str) -> Group:
    """Return all that a gateway has."""
    return Group(
        tuple(await store.list(Cluster, route=gateway)),
        tuple(one for one in await store.list(IPPool) if one.spec.gateway == gateway),
        tuple(one for one in await store.list(CloudAccount) if one.spec.gateway == gateway),
    )


async def start_move(store: Store, group: Group, to: str) -> None:
    """Ask the gateway that has them to stop all work on the group's clusters and pools."""
    await _mark(store, group, to, new_uid())


async def cancel_move(store: Store, move: str) -> None:
    """Let the gateway go on; possible until the hub has given the group away."""
    for assignment in await store.list(Assignment):
        if move and assignment.spec.move == move:
            assignment.spec.moving_to, assignment.spec.move = None, ""
            await store.put_spec(assignment)


async def check_can_move(store: Store, group: Group, old: str) -> None:
    """Raise ``ConflictError`` when a group cannot be given away, or moves already."""
    position = await _link_position(store, old) or {}
    if Handover.kind_name() not in position.get("kinds", []):
        raise ConflictError(
            f"gateway {old} is of a release that cannot give clusters away, or was never here: "
            "upgrade it, or declare it dead"
        )
    accounts = {account.metadata.name for account in group.accounts}
    for template in await store.list(Template):
        if template.spec.account in accounts and not template.status.is_true("Ready"):
            raise ConflictError(
                f"{template} of cloud account {template.spec.account} is not ready: wait until it "
                "is, or delete it"
            )
    for subject in group.subjects:
        name = assignment_name(subject.kind, subject.metadata.uid)
        assignment = await store.get(Assignment, "", name)
        if assignment.spec.moving_to is not None:
            raise ConflictError(
                f"{subject} moves to gateway {assignment.spec.moving_to} already: cancel that first"
            )
        if assignment.status.acknowledged_epoch < assignment.spec.epoch:
            raise ConflictError(
                f"gateway {old} has not yet taken {subject} over itself: wait until it has"
            )


async def check_target(store: Store, group: Group, to: str) -> None:
    """Raise ``ConflictError`` when a gateway cannot take the group."""
    gateway = await store.find(Gateway, "", to)
    position = await _link_position(store, to)
    if gateway is None or not gateway.status.enrolled or position is None:
        raise ConflictError(
            f"gateway {to} has not enrolled and connected yet: see `moorage gateways list`"
        )
    if Handover.kind_name() not in position.get("kinds", []):
        raise ConflictError(
            f"gateway {to} is of a release that cannot take clusters over: upgrade it first"
        )
    for pool in group.ip_pools:
        spans = pool.spec.spans()
        for other in await store.list(IPPool):
            if other.spec.gateway == to and overlap(spans, other.spec.spans()):
                raise ConflictError(
                    f"{pool} overlaps {other} of gateway {to}: addresses would be given out twice"
                )


async def transfer(store: Store, group: Group, old: str, to: str) -> None:
    """Give a group to another gateway under the next epoch. Call it in a transaction.

    The order of the writes is the order in which the new gateway learns of them: what it takes
    over comes first, so that nothing is chosen or claimed a second time.
    """
    moved: list[MovedAway] = []
    for subject in group.subjects:
        name = assignment_name(subject.kind, subject.metadata.uid)
        assignment = await store.get(Assignment, "", name)
        spec = assignment.spec
        spec.epoch += 1
        spec.gateway, spec.moving_to, spec.move = to, None, ""
        await hand_over(store, subject, assignment)
        moved.append(_moved(subject, spec.epoch))
    for account in group.accounts:
        account.metadata.epoch += 1
        moved.append(_moved(account, account.metadata.epoch))
        await give_account(store, account, to)
    for subject in group.subjects:
        await give_subject(store, subject, to)
    gateway = await store.find(Gateway, "", old)
    if gateway is not None and gateway.status.enrolled:
        uids = {one.uid for one in moved}
        kept = [one for one in gateway.status.moved_away if one.uid not in uids]
        gateway.status.moved_away = [*kept, *moved]
        gateway.status.clusters = len(await store.list(Cluster, route=old))
        await store.put_status(gateway)


class MoveReconciler:
    """Gives a group away once its gateway has stopped and the mirror is complete."""

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name."""
        return Assignment

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:  # noqa: ARG002
        """Look at the whole group of one assignment."""
        async with ctx.store.transaction() as store:
            found = await store.find(Assignment, *split_key(key))
            if found is None:
                return Result("gone")
            if found.spec.moving_to is None:
                await _collect(store, found)
                return Result("done")
            return await self._go_on(store, found)

    async def _go_on(self, store: Store, found: Assignment) -> Result:
        old, to, move = found.spec.gateway, found.spec.moving_to, found.spec.move
        members = [one for one in await store.list(Assignment, route=old) if one.spec.move == move]
        if to is None or await store.find(Gateway, "", to) is None:
            await cancel_move(store, move)
            return Result("done")
        names = {
            f"{one.spec.subject_project}/{one.spec.subject_name}"
            for one in members
            if one.spec.subject_kind == "Cluster"
        }
        group = await group_of(store, old, names)
        if len(group.subjects) != len(members):
            # Made since the move was asked for, on something that moves; or gone since.
            await _mark(store, group, to, move)
        stopped = all(one.status.stopped_move == move for one in members)
        if not stopped or len(group.subjects) > len(members):
            return Result("waiting")
        position = await _link_position(store, old) or {}
        if position.get("sequence", 0) < max(one.status.mirror_sequence for one in members):
            return Result("waiting", after=_LOOK_AGAIN_S)
        await transfer(store, group, old, to)
        return Result("done")


def move_controllers() -> list[Controller[Any]]:
    """Return the controller of moves."""
    watches = (Watch(Assignment, _itself),)
    return [Controller("moves", MoveReconciler(), env=None, watches=watches, concurrency=1)]


def _itself(change: Change) -> list[str]:
    """A gateway's acknowledgement is a change of status only."""
    return [change.key]


async def _mark(store: Store, group: Group, to: str, move: str) -> None:
    for subject in group.subjects:
        name = assignment_name(subject.kind, subject.metadata.uid)
        assignment = await store.get(Assignment, "", name)
        assignment.spec.moving_to, assignment.spec.move = to, move
        await store.put_spec(assignment)


async def _collect(store: Store, assignment: Assignment) -> None:
    """Delete what was handed over, once the new gateway works with it."""
    if assignment.status.acknowledged_epoch < assignment.spec.epoch:
        return
    for handover in await store.list(Handover, owner=assignment.spec.subject_uid):
        await store.delete(handover)


async def _link_position(store: Store, gateway: str) -> dict[str, Any] | None:
    """Return how far the hub has stored what a gateway sent, and which kinds it can take."""
    text = await store.get_value(f"link.up.{gateway}")
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def _moved(subject: Cluster | IPPool | CloudAccount, epoch: int) -> MovedAway:
    project, name = subject.key
    return MovedAway(
        kind=subject.kind, project=project, name=name, uid=subject.metadata.uid, epoch=epoch
    )
