"""DRS rules that keep machines apart: read when one is to be changed, changed many at a time.

A rule is ours by its name, which is made from the cluster's UID. Nothing is streamed: what this
process has read or changed is remembered for some minutes, and read again before a rule that is
there is changed. One change runs at a time in each compute cluster; what is wanted meanwhile goes
into the next one, whichever clusters of ours want it.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import structlog
from pyVmomi import vim, vmodl

from moorage.kit.errors import MoorageError, NotFoundError, UnavailableError
from moorage.planning.apart import FEWEST, is_rule_name
from moorage.vsphere.access import held_privileges
from moorage.vsphere.effects import Effects
from moorage.vsphere.faults import fault_name
from moorage.vsphere.places import CLUSTER, Place
from moorage.vsphere.properties import Want, moref, retrieve
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.tasks import AT_ONCE, Tasks
from moorage.vsphere.types import VM, TaskState

log = structlog.get_logger(__name__)

PRIVILEGE = "Host.Inventory.EditCluster"
_RULES = "configurationEx.rule"
_DRS = ("configurationEx.drsConfig.enabled", "configurationEx.drsConfig.defaultVmBehavior")
_BELIEVED_S = 600.0
_PATIENCE_S = 60.0
"""A change of which nothing is heard for as long is looked at again."""

Members = frozenset[str]
"""Morefs of a rule's VMs."""
_NONE: Members = frozenset()


@dataclass(frozen=True, slots=True)
class _Rule:
    key: int
    members: Members


@dataclass(slots=True)
class _Change:
    """One ``ReconfigureComputeResource_Task``."""

    wanted: Mapping[str, Members]
    began: float
    task: str | None = None


@dataclass(slots=True)
class _Cluster:
    """What is known of one compute cluster."""

    may_edit: bool = False
    automated: bool = False
    """DRS is fully automated."""
    rules: dict[str, Members] = field(default_factory=dict)
    """Ours, of all clusters, by name."""
    wanted: dict[str, Members] = field(default_factory=dict)
    """Not yet asked of vCenter."""
    waiting: set[str] = field(default_factory=set)
    """UIDs that want to hear of the end of a change."""
    change: _Change | None = None
    failed: dict[str, MoorageError] = field(default_factory=dict)
    one_by_one: bool = False
    """The last change was refused: one rule that is refused must not keep the others back."""


class Rules:
    """Knows and changes the rules of all compute clusters that the account sees."""

    def __init__(self, session: Session, stream: Stream, tasks: Tasks, effects: Effects) -> None:
        self._session = session
        self._stream = stream
        self._tasks = tasks
        self._effects = effects
        self._lock = threading.Lock()
        self._turn = anyio.Lock()
        self._read_at = self._rights_at = -math.inf
        self._clusters: dict[str, _Cluster] = {}

    # From memory

    def compute_cluster(self, vm: VM) -> Place | None:
        """Return the compute cluster that a VM is in; ``None`` on a standalone host."""
        places = self._stream.places
        host = places.get(vm.host)
        above = places.get(host.parent) if host is not None else None
        return above if above is not None and places.is_compute_cluster(above.moref) else None

    def is_in(self, vm: VM, compute_cluster: str) -> bool:
        """Tell whether a VM is in that compute cluster."""
        place = self.compute_cluster(vm)
        return place is not None and place.moref == compute_cluster

    def usable_hosts(self, compute_cluster: str) -> int:
        """Return how many hosts of a compute cluster take VMs now."""
        return sum(1 for host in self._stream.places.hosts(compute_cluster) if host.is_usable())

    # What vCenter says

    async def keeps(self, compute_cluster: str) -> bool:
        """Tell whether a rule there would be kept: DRS is fully automated, and we may set one."""
        here = await self._known(compute_cluster)
        return here.automated and here.may_edit

    async def members(self, compute_cluster: str, name: str) -> Members:
        """Return the VMs of a rule as it was last known, or as it is being made now."""
        here = await self._known(compute_cluster)
        with self._lock:
            changing = here.change.wanted if here.change is not None else {}
            for said in (here.wanted, changing, here.rules):
                if name in said:
                    return said[name]
        return _NONE

    async def find(self, is_wanted: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Look for rules of ours by name, in vCenter itself.

        Returns compute cluster and name of each.
        """
        await self.learn(max_age_s=0.0)
        with self._lock:
            return [
                (compute_cluster, name)
                for compute_cluster, here in self._clusters.items()
                for name in here.rules
                if is_wanted(name)
            ]

    async def learn(self, *, max_age_s: float = _BELIEVED_S) -> None:
        """Read the rules of all compute clusters, DRS's settings, and what may be changed.

        Two calls at most. Who waits while another reads for it asks nothing.

        Args:
            max_age_s: Rules may be known for as long; privileges are believed for longer.
        """
        asked_at = time.monotonic()
        async with self._turn:
            if self._read_at >= asked_at - max_age_s:
                return
            began = time.monotonic()
            rights = self._rights_at < began - _BELIEVED_S
            work = partial(self._read, self._morefs(), rights=rights)
            found = await self._session.call("read DRS rules", work)
            with self._lock:
                self._clusters = {
                    one: self._merged(self._clusters.get(one), fresh, rights=rights)
                    for one, fresh in found.items()
                }
                self._read_at = began
                if rights:
                    self._rights_at = began

    def _morefs(self) -> list[str]:
        return [place.moref for place in self._stream.places.of_kind((CLUSTER,))]

    @staticmethod
    def _merged(old: _Cluster | None, fresh: _Cluster, *, rights: bool) -> _Cluster:
        if old is None:
            return fresh
        old.automated, old.rules = fresh.automated, fresh.rules
        if rights:
            old.may_edit = fresh.may_edit
        return old

    def _read(self, morefs: list[str], *, rights: bool) -> dict[str, _Cluster]:
        if not morefs:
            return {}
        want = Want(vim.ClusterComputeResource, morefs, [*_DRS, _RULES])
        values = retrieve(self._session, [want])
        held = self._held(values) if rights else {}
        found = {}
        for one, said in values.items():
            enabled, behaviour = (said.get(path) for path in _DRS)
            found[one] = _Cluster(
                may_edit=PRIVILEGE in held.get(one, ()),
                automated=bool(enabled) and str(behaviour) == "fullyAutomated",
                rules={name: rules[0].members for name, rules in _ours(said.get(_RULES)).items()},
            )
        return found

    def _held(self, morefs: Iterable[str]) -> Mapping[str, set[str]]:
        """Return which compute clusters may be edited; none where vCenter does not say."""
        wanted = {one: {PRIVILEGE} for one in morefs}
        try:
            return held_privileges(self._session, dict.fromkeys(wanted, CLUSTER), wanted)
        except vim.fault.NotAuthenticated:
            raise
        except vmodl.MethodFault as fault:
            log.warning("no word of privileges", fault=fault_name(fault))
            return {}

    def doubt(self) -> None:
        """Read everything again before it counts the next time."""
        self._read_at = -math.inf

    async def _known(self, compute_cluster: str) -> _Cluster:
        await self.learn()
        if compute_cluster not in self._clusters:  # new in vCenter, or seen just now
            self._rights_at = -math.inf
            await self.learn(max_age_s=0.0)
        # What cannot be read keeps to no rules of ours.
        return self._clusters.setdefault(compute_cluster, _Cluster())

    # Changes

    async def ensure(self, compute_cluster: str, wanted: Mapping[str, Members], uid: str) -> bool:
        """Make rules be as wanted.

        Args:
            compute_cluster: Where.
            wanted: By name (``planning.rule_name``) the VMs of a rule: at least two, or none for a
                rule that is to go.
            uid: Who hears of it when a change has ended.

        Returns:
            Whether it is so. If not, a change is on its way: ask again.

        Raises:
            MoorageError: What made the last change of one of them fail, once.
        """
        here = await self._known(compute_cluster)
        self._look(here)
        with self._lock:
            for name in wanted:
                if (error := here.failed.pop(name, None)) is not None:
                    raise error
            running = here.change.wanted if here.change is not None else None
            for name, members in wanted.items():
                here.wanted.pop(name, None)
                coming = here.rules.get(name, _NONE) if running is None else running.get(name)
                gone = not members and name in here.rules and running is None
                if coming != members or gone:
                    here.wanted[name] = members
            if running is None and not wanted.keys() & here.wanted.keys():
                return True
            here.waiting.add(uid)
            if running is not None:
                return False
            batch = dict(here.wanted)
            if here.one_by_one:
                name = next(name for name in wanted if name in batch)
                batch = {name: batch[name]}
            for name in batch:
                del here.wanted[name]
            here.change = change = _Change(batch, time.monotonic())
        try:
            await self._start(here, compute_cluster, change, uid)
        except BaseException:
            with self._lock:
                here.change = None
                here.one_by_one = True
                self._read_at = -math.inf
            raise
        self._look(here)
        return here.change is None

    async def _start(self, here: _Cluster, compute_cluster: str, change: _Change, uid: str) -> None:
        known = {
            name: frozenset(vm for vm in members if self._stream.inventory.get(vm) is not None)
            for name, members in change.wanted.items()
        }
        # A name that is new to us is taken by nobody, or else vCenter says so.
        fresh = not all(name not in here.rules and known[name] for name in known)

        def work() -> str | None:
            there: Mapping[str, list[_Rule]] = {}
            if fresh:
                want = Want(vim.ClusterComputeResource, [compute_cluster], [_RULES])
                values = retrieve(self._session, [want]).get(compute_cluster)
                if values is None:
                    raise NotFoundError(
                        f"compute cluster {compute_cluster} is no longer in vCenter"
                    )
                there = _ours(values.get(_RULES))
            specs = [
                spec
                for name, members in known.items()
                for spec in self._specs(name, members, there.get(name, []))
            ]
            if not specs:
                return None
            cluster = self._session.ref(vim.ClusterComputeResource, compute_cluster)
            task = cluster.ReconfigureComputeResource_Task(
                spec=vim.cluster.ConfigSpecEx(rulesSpec=specs), modify=True
            )
            started = moref(task) or ""
            self._tasks.track(started, uid, f"change DRS rules of {compute_cluster}", AT_ONCE)
            return started

        what = f"change DRS rules of {compute_cluster}"
        task = await self._effects.under_lease(what, work)
        with self._lock:
            change.task = task
            if task is None:
                self._done(here, change)

    def _specs(self, name: str, members: Members, there: list[_Rule]) -> Iterable[Any]:
        """Return what turns the rules of one name into the wanted one."""
        wanted = members if len(members) >= FEWEST else _NONE
        kept, surplus = (there[:1], there[1:]) if wanted else ([], there)
        for rule in surplus:
            yield vim.cluster.RuleSpec(operation="remove", removeKey=rule.key)
        if not wanted or (kept and kept[0].members == wanted):
            return
        info = vim.cluster.AntiAffinityRuleSpec(
            name=name,
            enabled=True,
            # A preference: a host can still be emptied for maintenance, and nothing stays down.
            mandatory=False,
            vm=[self._session.ref(vim.VirtualMachine, one) for one in sorted(wanted)],
        )
        if kept:
            info.key = kept[0].key
        yield vim.cluster.RuleSpec(operation="edit" if kept else "add", info=info)

    # The end of a change

    def changed(self) -> frozenset[str]:
        """Take note of tasks that have ended; returns who waits to hear of it."""
        woken: set[str] = set()
        for here in list(self._clusters.values()):
            self._look(here)
            with self._lock:
                if here.change is None:
                    woken |= here.waiting
                    here.waiting.clear()
        return frozenset(woken)

    def _look(self, here: _Cluster) -> None:
        """Take note of a change that has ended."""
        with self._lock:
            change = here.change
            if change is None or change.task is None:
                return
            task = self._tasks.get(change.task)
            overdue = time.monotonic() - change.began > _PATIENCE_S
            if task is not None and task.state is TaskState.RUNNING and not overdue:
                return
            if task is not None and task.state is TaskState.SUCCESS:
                self._done(here, change)
                return
            here.change = None
            self._read_at = -math.inf
            if task is not None and task.state is TaskState.ERROR:
                here.one_by_one = len(change.wanted) > 1 or here.one_by_one
                error = task.error or UnavailableError("the rules could not be changed")
                here.failed.update(dict.fromkeys(change.wanted, error))

    def _done(self, here: _Cluster, change: _Change) -> None:
        here.change, here.one_by_one = None, False
        for name, members in change.wanted.items():
            if members:
                here.rules[name] = members
            else:
                here.rules.pop(name, None)


def _ours(rules: Any) -> dict[str, list[_Rule]]:
    """Return anti-affinity rules with names that we make; those of others are left out."""
    found: dict[str, list[_Rule]] = {}
    for rule in rules or ():
        if isinstance(rule, vim.cluster.AntiAffinityRuleSpec) and is_rule_name(rule.name or ""):
            members = frozenset(str(moref(vm)) for vm in rule.vm)
            found.setdefault(rule.name or "", []).append(_Rule(rule.key or 0, members))
    return found
