"""Whose turn it is to be cloned: as many as vCenter bears, shared fairly between clusters.

A free place goes to the cluster that has the fewest clones in flight, of equals to the one that
was served longest ago; inside a cluster control planes come before workers. So a cluster that
asks for three machines does not wait for another's thousand.

Whoever is called keeps its place for a while: a pass has to find the time to use it. A machine
that does not come (deleted, or worked on by another replica) loses it to the next.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Gauge

from moorage.kit.errors import UnavailableError
from moorage.vsphere.limits import Limits
from moorage.vsphere.types import Rank

CLONES = Gauge(
    "moorage_vcenter_clones",
    "Clones by vCenter: running there, or waiting here for their turn.",
    ["server", "state"],
)

PLACE_KEPT_S: Final = 30.0
"""How long a place is kept for a machine that was called."""


class BusyError(UnavailableError):
    """As many clones are running as this vCenter, host or datastore is asked to do at a time."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One machine that is to be cloned, and what that keeps busy."""

    uid: str
    cluster: str = ""
    """UID of the cluster."""
    rank: Rank = Rank.WORKER
    datastore: str = ""
    """Moref of the target; empty when it is not known, as for a clone of an earlier process."""
    hosts: frozenset[str] = frozenset()
    """Morefs of the template's host, which reads, and of the target's, where we choose it."""
    session: int = 0
    """Whose: accounts of one vCenter share its places, and each gives up its own at its end."""


class Turns:
    """Places for clones in one vCenter, for all who clone there. Safe in any thread.

    Args:
        limits: How many at a time.
        on_turn: Gets the UIDs that are called after they had to wait.
        server: Label of the metrics.
        now: Steady seconds.
    """

    def __init__(
        self,
        limits: Limits,
        on_turn: Callable[[frozenset[str]], None] = lambda _: None,
        server: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._on_turn = on_turn
        self._now = now
        self._lock = threading.Lock()
        self._running: dict[str, Claim] = {}
        self._called: dict[str, tuple[Claim, float]] = {}
        """Those for whom a place is kept, and until when."""
        self._waiting: dict[str, dict[str, Claim]] = {}
        """By cluster, in the order in which they came."""
        self._waits_in: dict[str, str] = {}
        """UID of who waits -> cluster."""
        self._served: dict[str, int] = {}
        """When each cluster that has work was last served, as a count."""
        self._count = 0
        self._running_shown = CLONES.labels(server, "running")
        self._waiting_shown = CLONES.labels(server, "waiting")
        self._shown = (0, 0)

    # What passes ask

    def running(self, cluster: str) -> list[str]:
        """Return the UIDs of a cluster whose clones are not known to have ended."""
        with self._lock:
            return [one.uid for one in self._running.values() if one.cluster == cluster]

    def counts(self) -> tuple[int, int]:
        """Return how many clones are in flight, and how many machines wait for theirs."""
        with self._lock:
            return len(self._in_flight()), len(self._waits_in)

    def why_wait(self, uid: str) -> str | None:
        """Say why a machine that has asked waits; ``None`` when it is called, or did not ask."""
        with self._lock:
            called = self._free_late_places()
            cluster = self._waits_in.get(uid)
            why = None
            if cluster is not None:
                why = self._why(self._waiting[cluster][uid])
        self._tell(called)
        return why

    def ask(self, claim: Claim) -> str | None:
        """Keep a place for a machine, or say why it waits; it is called when there is one."""
        with self._lock:
            called = self._free_late_places()
            why = self._ask(claim)
            self._show()
        self._tell(called - {claim.uid})
        return why

    def take(self, claim: Claim) -> None:
        """Begin to clone; raises ``BusyError``, and the machine waits, when it is not its turn."""
        with self._lock:
            called = self._free_late_places()
            why = self._ask(claim)
            if why is None:
                self._called.pop(claim.uid, None)
                self._running[claim.uid] = claim
            self._show()
        self._tell(called - {claim.uid})
        if why is not None:
            raise BusyError(why)

    def note_running(self, claim: Claim) -> None:
        """Count a clone that somebody else has begun, such as an earlier process."""
        with self._lock:
            self._drop(claim.uid)
            self._running[claim.uid] = claim
            self._show()

    def end(self, *uids: str) -> None:
        """Give up the places of machines that are cloned, or shall not be any more."""
        with self._lock:
            held = [self._drop(uid) for uid in uids]
            called = self._call() if any(held) else frozenset()
            self._show()
        self._tell(called)

    def leave(self, uid: str) -> None:
        """Stop waiting, and give up a place that is kept; a clone that runs still counts."""
        if uid not in self._running:
            self.end(uid)

    def close(self, session: int) -> None:
        """Give up all places of one session: others may have them."""
        with self._lock:
            waiting = [one for mine in self._waiting.values() for one in mine.values()]
            every = [*self._in_flight(), *waiting]
        self.end(*(claim.uid for claim in every if claim.session == session))

    # Inside the lock

    def _ask(self, claim: Claim) -> str | None:
        uid = claim.uid
        if uid in self._running:
            return None
        if uid in self._called:
            if self._called[uid][0] == claim:
                self._called[uid] = claim, self._now() + PLACE_KEPT_S
                return None
            del self._called[uid]  # it is to go elsewhere now
        # All who wait were looked at when a place became free last: none of them fits now.
        why = self._why(claim)
        if why is None:
            self._drop(uid)
            self._keep_place(claim)
        else:
            if self._waits_in.get(uid, claim.cluster) != claim.cluster:
                self._drop(uid)
            self._waiting.setdefault(claim.cluster, {})[uid] = claim
            self._waits_in[uid] = claim.cluster
        return why

    def _keep_place(self, claim: Claim) -> None:
        self._count += 1
        self._served[claim.cluster] = self._count
        self._called[claim.uid] = claim, self._now() + PLACE_KEPT_S

    def _drop(self, uid: str) -> bool:
        """Forget a machine; tells whether it had a place."""
        cluster = self._waits_in.pop(uid, None)
        if cluster is not None:
            del self._waiting[cluster][uid]
            if not self._waiting[cluster]:
                del self._waiting[cluster]
        had_called = self._called.pop(uid, None) is not None
        return self._running.pop(uid, None) is not None or had_called

    def _free_late_places(self) -> frozenset[str]:
        now = self._now()
        late = [uid for uid, (_, until) in self._called.items() if until < now]
        for uid in late:
            del self._called[uid]
        return self._call() if late else frozenset()

    def _call(self) -> frozenset[str]:
        """Keep the free places for those whose turn it is; returns them."""
        called = set()
        while (claim := self._next()) is not None:
            self._drop(claim.uid)
            self._keep_place(claim)
            called.add(claim.uid)
        busy = {claim.cluster for claim in self._in_flight()} | self._waiting.keys()
        self._served = {one: at for one, at in self._served.items() if one in busy}
        return frozenset(called)

    def _next(self) -> Claim | None:
        in_flight = self._in_flight()
        if len(in_flight) >= self._limits.clones:
            return None
        counts: dict[str, int] = {}
        for claim in in_flight:
            counts[claim.cluster] = counts.get(claim.cluster, 0) + 1

        def order(cluster: str) -> tuple[int, int]:
            return counts.get(cluster, 0), self._served.get(cluster, 0)

        fits: dict[tuple[str, frozenset[str]], bool] = {}

        def has_room(claim: Claim) -> bool:
            where = claim.datastore, claim.hosts
            if where not in fits:
                fits[where] = self._why(claim) is None
            return fits[where]

        for cluster in sorted(self._waiting, key=order):
            fitting = (one for one in self._waiting[cluster].values() if has_room(one))
            first = min(fitting, key=lambda one: one.rank, default=None)
            if first is not None:
                return first
        return None

    def _in_flight(self) -> list[Claim]:
        return [*self._running.values(), *(claim for claim, _ in self._called.values())]

    def _why(self, claim: Claim) -> str | None:
        """Say which limit is in the way of one more; ``None`` when none is."""
        limits, in_flight = self._limits, self._in_flight()
        if len(in_flight) >= limits.clones:
            return _busy(len(in_flight), "in this vCenter", limits.clones)
        if claim.datastore:
            count = sum(one.datastore == claim.datastore for one in in_flight)
            if count >= limits.clones_per_datastore:
                return _busy(count, "to this datastore", limits.clones_per_datastore)
        for host in claim.hosts:
            count = sum(host in one.hosts for one in in_flight)
            if count >= limits.clones_per_host:
                return _busy(count, "on this host", limits.clones_per_host)
        return None

    def _show(self) -> None:
        running = len(self._running)
        waiting = len(self._waits_in) + len(self._called)
        self._running_shown.inc(running - self._shown[0])
        self._waiting_shown.inc(waiting - self._shown[1])
        self._shown = running, waiting

    def _tell(self, uids: frozenset[str]) -> None:
        if uids:
            self._on_turn(uids)


def _busy(count: int, where: str, limit: int) -> str:
    return (
        f"{count} clones are running {where}, and no more than {limit} are asked of it at a time: "
        "this one is called when its turn comes"
    )
