"""The one stream of changes from a vCenter: WaitForUpdatesEx in a thread of its own.

One PropertyCollector, three filters: all VMs (a few keyed properties), the estate around them,
and our running tasks. Whatever breaks (session, token, connection, vCenter itself), everything is
built again and synced again, and what was deleted meanwhile is noticed by comparing.
"""

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from pyVmomi import vim, vmodl

from moorage.kit.errors import MoorageError
from moorage.vsphere.inventory import Inventory, Model
from moorage.vsphere.places import PATHS, Place, Places, changed_place, make_place
from moorage.vsphere.properties import Collector, Values, Want, check_missing, retrieve
from moorage.vsphere.session import Session
from moorage.vsphere.tasks import PATHS as TASK_PATHS
from moorage.vsphere.tasks import PATHS_WITHOUT_ERROR, Tasks
from moorage.vsphere.types import Counters

log = structlog.get_logger(__name__)

OnChange = Callable[[frozenset[str]], None]

_FRESH_FOR_S = 10.0
"""How long after an effect waits stay short: then another effect is likely."""
_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 15.0
_TYPES = {
    "Folder": vim.Folder,
    "Datacenter": vim.Datacenter,
    "ComputeResource": vim.ComputeResource,
    "ResourcePool": vim.ResourcePool,
    "HostSystem": vim.HostSystem,
    "Datastore": vim.Datastore,
    "Network": vim.Network,
}
_UNSET = ("remove", "indirectRemove")


class Pace:
    """A token bucket: some returns at once, then so many a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._tokens, self._at = float(burst), time.monotonic()

    def delay(self) -> float:
        """Take one token; returns how long to wait before using it."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        return max(0.0, -self._tokens / self._rate)


class Stream:
    """Owns the threads. ``on_change`` is called in the stream's thread with changed UIDs."""

    def __init__(
        self, session: Session, inventory: Inventory, tasks: Tasks, on_change: OnChange
    ) -> None:
        self.session = session
        self.inventory = inventory
        self.tasks = tasks
        self.places = Places()
        self.returns = 0
        self.restarts = 0
        self.true_at = -math.inf
        """``time.monotonic`` from which on nothing is known to be missing in the inventory."""
        self._fresh_until = -math.inf
        self._on_change = on_change
        self._limits = session.limits
        self._stop = threading.Event()
        self._again = threading.Event()
        self._collector: Any = None
        self._views: list[Any] = []
        self._task_view: Any = None
        self._generation = 0
        self._task_paths: tuple[str, ...] = TASK_PATHS
        self._threads = [
            threading.Thread(target=self._run, name="vsphere-stream", daemon=True),
            threading.Thread(target=self._run_tasks, name="vsphere-tasks", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def counters(self) -> Counters:
        """Return what was asked of vCenter so far, by whomever."""
        stub = self.session.stub
        return Counters(
            calls=dict(stub.calls),
            logins=self.session.logins,
            connections_opened=stub.connections_opened,
            stream_returns=self.returns,
            stream_restarts=self.restarts,
        )

    def nudge(self) -> None:
        """Try now instead of at the end of the back-off: something has changed for the better."""
        self._again.set()

    def keep_fresh(self) -> None:
        """Let the next waits be short for a while: somebody acts on what is known.

        A quiet wait and one whose answer is stuck look the same, so that only an answer says how
        new the inventory is.
        """
        self._fresh_until = time.monotonic() + _FRESH_FOR_S

    def stop(self) -> None:
        """End the threads: ``CancelWaitForUpdates`` lets the waiting call return at once."""
        self._stop.set()
        self._again.set()
        self.tasks.wake()
        collector = self._collector
        if collector is not None and self.session.generation == self._generation:
            with contextlib.suppress(MoorageError):
                self.session.run(
                    "end the inventory stream",
                    collector.CancelWaitForUpdates,
                    deadline=time.monotonic() + 5.0,
                )

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end."""
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    # The stream's thread

    def _run(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while not self._stop.is_set():
            try:
                self._open()
                self._follow()
            except MoorageError as error:
                backoff = self._down(error, backoff)
            except Exception as error:
                # Such as an answer that pyVmomi cannot read. A task's error is the one property
                # of any type at all: the next stream does without it.
                log.exception("inventory stream broke", server=self._server)
                self._task_paths = PATHS_WITHOUT_ERROR
                backoff = self._down(error, backoff)
        self.inventory.lost("the connection to vCenter was closed")

    def _down(self, error: Exception, backoff: float) -> float:
        """Say that nobody can tell now, and wait a while; returns the next back-off."""
        had_synced = self.inventory.synced.is_set()
        self.inventory.lost(f"the inventory stream is down: {error}")
        if self._stop.is_set():
            return backoff
        self.restarts += 1
        log.warning("inventory stream down", error=str(error), server=self._server)
        backoff = _FIRST_BACKOFF_S if had_synced else min(backoff * 2, _MAX_BACKOFF_S)
        # A refused password is not tried again: only another one ends that wait.
        wait_s = None if self.session.is_refused else random.uniform(0.5, 1.0) * backoff  # noqa: S311
        if wait_s is not None:
            wait_s = max(wait_s, self.session.breaker.asked_s)
        self._again.wait(wait_s)
        self._again.clear()
        return backoff

    def _tell(self, uids: frozenset[str]) -> None:
        try:
            self._on_change(uids)
        except Exception:
            log.exception("a listener failed", server=self._server)

    @property
    def _server(self) -> str:
        return self.session.endpoint.server

    def _open(self) -> None:
        self.session.run_beside(
            "open the inventory stream",
            self._build,
            deadline=time.monotonic() + self._limits.read_s,
        )

    def _build(self) -> None:
        session, content = self.session, self.session.content
        if self._collector is not None and self._generation == session.generation:
            self._discard()
        self._collector, self._views, self._task_view = None, [], None
        self._generation = session.generation
        collector = content.propertyCollector.CreatePropertyCollector()
        views = content.viewManager
        vms = views.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        estate = views.CreateContainerView(content.rootFolder, list(_TYPES.values()), True)
        tasks = views.CreateListView([])
        self._views = [vms, estate, tasks]
        self._collector = collector
        collector.CreateFilter(_filter(vms, {vim.VirtualMachine: [*self.inventory.paths]}), False)
        estate_paths = {_TYPES[kind]: ["name", "parent", *paths] for kind, paths in PATHS.items()}
        collector.CreateFilter(_filter(estate, estate_paths), False)
        collector.CreateFilter(_filter(tasks, {vim.Task: [*self._task_paths]}), False)
        self._task_view = tasks
        self.tasks.restart()

    def _discard(self) -> None:
        """Destroy what an earlier attempt left in the session that still lives."""
        for thing, destroy in (
            (self._collector, "DestroyPropertyCollector"),
            *((view, "DestroyView") for view in self._views),
        ):
            with contextlib.suppress(vmodl.fault.ManagedObjectNotFound):
                getattr(thing, destroy)()

    def _follow(self) -> None:
        model, places = self.inventory.begin(), Places()
        version, complete = "", False
        pace = Pace(self._limits.stream_rate, self._limits.stream_burst)
        while not self._stop.is_set():
            if complete and (delay := pace.delay()):
                self._stop.wait(delay)
            asked_at = time.monotonic()
            update = self._wait(version, at_once=not complete)
            if update is not None:
                version = update.version
            changed = self._apply(update, model, places, first=not complete)
            if not complete and (update is None or not update.truncated):
                complete, before, self.places = True, self.places, places
                changed = changed | self.inventory.complete(model)
                changed = changed | self._concerned(_shifted(before, places), places)
                log.info("inventory synced", server=self._server, kept=len(model.vms))
            if update is None or not update.truncated:
                self.true_at = asked_at
            if changed and complete:
                self._tell(changed)

    def _wait(self, version: str, *, at_once: bool) -> Any:
        wait_s = 0 if at_once else self._limits.stream_wait_s
        if time.monotonic() < self._fresh_until:
            wait_s = min(wait_s, self._limits.stream_fresh_s)
        options = Collector.WaitOptions(maxWaitSeconds=wait_s, maxObjectUpdates=self._limits.page)
        collector = self._collector
        update = self.session.run(
            "wait for changes of the inventory",
            lambda: collector.WaitForUpdatesEx(version, options),
            deadline=time.monotonic() + wait_s + self._limits.read_s,
        )
        self.returns += 1
        return update

    def _apply(self, update: Any, model: Model, places: Places, *, first: bool) -> frozenset[str]:
        changed: frozenset[str] = frozenset()
        refetch: list[str] = []
        shifted: set[str | None] = set()
        for filter_set in (update.filterSet if update is not None else None) or ():
            for one in filter_set.objectSet or ():
                check_missing(one.missingSet)
                moref_ = str(one.obj._moId)  # noqa: SLF001 - no public way to it
                kind = type(one.obj).__name__.rpartition(".")[2]
                values = {
                    change.name: None if change.op in _UNSET else change.val
                    for change in one.changeSet or ()
                }
                if kind == "Task":
                    changed |= self._task(moref_, str(one.kind), values)
                elif kind == "VirtualMachine":
                    found = self._vm(model, moref_, str(one.kind), values, first=first)
                    if found is None:
                        refetch.append(moref_)
                    else:
                        changed |= found
                else:
                    old = places.get(moref_)
                    _place(places, moref_, kind, str(one.kind), values)
                    shifted |= _shift(old, places.get(moref_))
        if shifted and not first:
            changed |= self._concerned(shifted, places)
        return changed | self._refetched(refetch, model) if refetch else changed

    def _concerned(
        self, compute_clusters: Collection[str | None], places: Places
    ) -> frozenset[str]:
        """Return the clusters with VMs where a host has come into service, or left it.

        As many hosts as there are decide who can be kept apart from whom.
        """
        hosts = {host.moref for above in compute_clusters if above for host in places.hosts(above)}
        return self.inventory.clusters_on(hosts) if hosts else frozenset()

    def _vm(
        self, model: Model, moref_: str, kind: str, values: Values, *, first: bool
    ) -> frozenset[str] | None:
        if kind == "leave":
            return self.inventory.leave(model, moref_)
        if kind == "enter":
            return self.inventory.enter(model, moref_, values, first=first)
        return self.inventory.modify(model, moref_, values)

    def _refetched(self, morefs: list[str], model: Model) -> frozenset[str]:
        """Fetch all of VMs that were nothing to us and have now got a mark."""
        want = Want(vim.VirtualMachine, morefs, [*self.inventory.paths])
        found = self.session.run(
            "read the properties of VMs",
            lambda: retrieve(self.session, [want]),
            deadline=time.monotonic() + self._limits.read_s,
        )
        changed: frozenset[str] = frozenset()
        for moref_, values in found.items():
            changed |= self.inventory.enter(model, moref_, values, first=False)
        return changed

    def _task(self, moref_: str, kind: str, values: Values) -> frozenset[str]:
        uid = self.tasks.uid(moref_)
        if kind == "leave" or uid is None:
            return frozenset()
        return frozenset({uid}) if self.tasks.push(moref_, values) else frozenset()

    # The tasks' thread

    def _run_tasks(self) -> None:
        while not self._stop.is_set():
            add, remove = self.tasks.due(self._stop.is_set)
            if add:
                self._watch_tasks(add, remove)

    def _watch_tasks(self, add: list[str], remove: list[str]) -> None:
        view = self._task_view
        if view is None or not self.inventory.synced.is_set():
            self.tasks.unwatched(add)
            return
        session = self.session

        def modify() -> list[str]:
            unresolved = view.ModifyListView(
                [session.ref(vim.Task, task) for task in add],
                [session.ref(vim.Task, task) for task in remove],
            )
            return [str(task._moId) for task in unresolved or ()]  # noqa: SLF001

        try:
            gone = session.run(
                "watch tasks", modify, deadline=time.monotonic() + self._limits.read_s
            )
        except Exception as error:  # noqa: BLE001 - this thread too must live on
            log.warning("tasks not watched", error=str(error), server=self._server)
            self.tasks.unwatched(add)
            return
        if lost := self.tasks.lose([task for task in gone if task in add]):
            self._tell(frozenset(lost))


def _filter(view: Any, paths: Mapping[Any, Collection[str]]) -> Any:
    through = Collector.TraversalSpec(
        name="view", type=type(view), path="view", skip=False, selectSet=[]
    )
    return Collector.FilterSpec(
        propSet=[
            Collector.PropertySpec(type=kind, all=False, pathSet=list(names))
            for kind, names in paths.items()
        ],
        objectSet=[Collector.ObjectSpec(obj=view, skip=True, selectSet=[through])],
    )


def _place(places: Places, moref_: str, kind: str, change: str, values: Values) -> None:
    old = places.get(moref_)
    if change == "leave":
        places.drop(moref_)
    elif change == "enter" or old is None:
        places.put(make_place(moref_, kind, values))
    else:
        places.put(changed_place(old, values))


def _shift(old: Place | None, new: Place | None) -> set[str | None]:
    """Return above what a host has come into service, or left it."""
    one = new or old
    if one is None or one.kind != "HostSystem":
        return set()
    is_same = (old is not None and old.is_usable()) == (new is not None and new.is_usable())
    return set() if is_same else {one.parent}


def _shifted(before: Places, after: Places) -> set[str | None]:
    """Return the same of two whole pictures; nothing of the first one."""
    hosts = {host.moref: host for host in before.of_kind(("HostSystem",))}
    if not hosts:
        return set()
    now = {host.moref: host for host in after.of_kind(("HostSystem",))}
    shifts = (_shift(hosts.get(one), now.get(one)) for one in hosts.keys() | now.keys())
    return set().union(*shifts)
