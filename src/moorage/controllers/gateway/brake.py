"""The deletion brake: more deletions in an hour than usual wait for a word from beside vCenter.

Whoever takes the hub over can ask for every deletion. What is counted, and what was approved, is
therefore kept in the gateway's own store only; nothing that the hub sends can change it.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel

from moorage.engine import Store
from moorage.kit.clock import Clock
from moorage.resources import Cluster, Machine
from moorage.resources.phase import DELETION_HELD

CLUSTERS_PER_HOUR = 5
MACHINES_PER_HOUR = 50
LOOK_AGAIN_S = 5.0
"""An approval is written by another process, so it is looked for."""

_WINDOW = timedelta(hours=1)
_KEPT = timedelta(days=1)
"""A permission lasts this long: a deletion that takes longer is counted once more."""
_NAME = "deletionBrake"


class _Permission(BaseModel):
    uid: str
    at: datetime
    clusters: int
    machines: int


class _State(BaseModel):
    permitted: list[_Permission] = []
    approved: dict[str, datetime] = {}
    """UIDs that were approved beside vCenter, and when."""
    tripped_at: datetime | None = None
    """Since then nothing more is permitted: not one an hour, or the rest would only take longer."""

    def knows(self, *uids: str) -> bool:
        return any(uid in self.approved for uid in uids) or any(
            one.uid in uids for one in self.permitted
        )

    def forget(self, before: datetime) -> None:
        self.permitted = [one for one in self.permitted if one.at >= before]
        self.approved = {uid: at for uid, at in self.approved.items() if at >= before}


class DeletionBrake:
    """Permits so many deletions an hour, then none until the held ones are approved."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        clusters_per_hour: int = CLUSTERS_PER_HOUR,
        machines_per_hour: int = MACHINES_PER_HOUR,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = (clusters_per_hour, machines_per_hour)
        self._steady: dict[str, float] = {}
        """When this process gave each permission, by a clock that nobody sets."""

    async def hold_cluster(self, cluster: Cluster) -> str | None:
        """Say why the deletion of a cluster has to wait, if it has to.

        It is permitted with all of its machines, so that no cluster is left half deleted.
        """
        uid = cluster.metadata.uid
        if await self._knows(uid):
            return None
        machines = await self._store.list(Machine, owner=uid)
        made = sum(1 for machine in machines if _was_made(machine))
        return await self._hold(uid, clusters=1, machines=made) if made else None

    async def hold_machine(self, machine: Machine) -> str | None:
        """Say why the deletion of one machine has to wait, if it has to."""
        if not _was_made(machine):
            return None
        owner = machine.metadata.owner
        if await self._knows(machine.metadata.uid, owner.uid if owner else ""):
            return None
        cluster = await self._store.find(Cluster, machine.metadata.project, machine.spec.cluster)
        if cluster is not None and cluster.is_deleting:
            return await self.hold_cluster(cluster)
        return await self._hold(machine.metadata.uid, clusters=0, machines=1)

    def _was_just_now(self, uid: str) -> bool:
        """Tell what the wall clock hides once somebody has set it forward."""
        given = self._steady.get(uid)
        if given is None:
            return False
        if self._clock.steady() - given < _WINDOW.total_seconds():
            return True
        del self._steady[uid]
        return False

    async def _knows(self, *uids: str) -> bool:
        return (await _load(self._store)).knows(*uids)

    async def _hold(self, uid: str, *, clusters: int, machines: int) -> str | None:
        async with self._store.transaction() as store:
            state, now = await _load(store), self._clock.now()
            if state.knows(uid):
                return None
            state.forget(now - _KEPT)
            recent = [
                one
                for one in state.permitted
                if one.at > now - _WINDOW or self._was_just_now(one.uid)
            ]
            would_be = (
                sum(one.clusters for one in recent) + clusters,
                sum(one.machines for one in recent) + machines,
            )
            if state.tripped_at is None:
                if all(count <= most for count, most in zip(would_be, self._limits, strict=True)):
                    asked = _Permission(uid=uid, at=now, clusters=clusters, machines=machines)
                    state.permitted.append(asked)
                    await _save(store, state)
                    self._steady[uid] = self._clock.steady()
                    return None
                state.tripped_at = now
                await _save(store, state)
        most_clusters, most_machines = self._limits
        return (
            f"more than {most_clusters} clusters or {most_machines} machines would be deleted "
            "within an hour: nothing is deleted until somebody approves it on the gateway's "
            "machine with `moorage-gateway deletions approve`"
        )


async def approve(store: Store, uids: list[str], now: datetime, *, release: bool) -> None:
    """Let these deletions go on; with ``release`` the count begins anew too."""
    async with store.transaction() as inside:
        state = await _load(inside)
        state.approved.update(dict.fromkeys(uids, now))
        if release:
            state.tripped_at = None
            state.permitted = [
                one.model_copy(update={"clusters": 0, "machines": 0}) for one in state.permitted
            ]
        await _save(inside, state)


async def held_deletions(store: Store) -> list[Cluster | Machine]:
    """Return what waits for an approval; machines of a held cluster are not listed again."""
    clusters = [one for one in await store.list(Cluster) if _is_held(one)]
    uids = {cluster.metadata.uid for cluster in clusters}
    machines = [one for one in await store.list(Machine) if _is_held(one)]
    alone = [
        one for one in machines if one.metadata.owner is None or one.metadata.owner.uid not in uids
    ]
    return [*clusters, *alone]


def _was_made(machine: Machine) -> bool:
    """Tell whether there may be a VM: what was never made needs no leave to go."""
    return machine.status.vm is not None or machine.status.clone_task is not None


def _is_held(resource: Cluster | Machine) -> bool:
    claims = resource.status.conditions
    return resource.is_deleting and any(claim.reason == DELETION_HELD for claim in claims)


async def _load(store: Store) -> _State:
    text = await store.get_value(_NAME)
    return _State.model_validate_json(text) if text else _State()


async def _save(store: Store, state: _State) -> None:
    await store.set_value(_NAME, state.model_dump_json())
