"""A VM folder for each cluster: made once, removed when it is empty.

Its name, which is made from the cluster's UID, is the lock: vCenter refuses a second one. What
bears the name already is the cluster's only if nothing of others is in it.
"""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from pyVmomi import vim

from moorage.kit.errors import InvalidError, TerminalError, UnavailableError
from moorage.vsphere.effects import Effects
from moorage.vsphere.properties import Want, moref, morefs, retrieve
from moorage.vsphere.resolve import Resolver
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.tasks import SHOWN, Tasks
from moorage.vsphere.types import Target, TaskState

log = structlog.get_logger(__name__)

_SHOWN_WITHIN_S = 10.0
"""A folder that vCenter has answered is in the inventory after this long, or gone again."""


@dataclass(frozen=True, slots=True)
class ClusterFolder:
    """The folder of a cluster."""

    moref: str
    path: str
    """Inventory path; empty while the inventory does not show the folder yet."""


class Folders:
    """Makes and removes the folders of clusters."""

    def __init__(self, session: Session, stream: Stream, tasks: Tasks, effects: Effects) -> None:
        self._session = session
        self._stream = stream
        self._tasks = tasks
        self._effects = effects
        self._made: dict[str, tuple[str, float]] = {}
        """UID of a cluster -> its folder, and when vCenter said so."""
        self._removals: dict[str, tuple[str, str]] = {}
        """UID of a cluster -> its folder and the task that removes it."""

    async def ensure(
        self, target: Target, name: str, cluster: str, recorded: str | None
    ) -> ClusterFolder:
        """Return the cluster's folder, wherever it is by now; make it if there is none.

        Costs nothing once it is there. May be repeated at any time: the second is never made.

        Args:
            target: Names the folder that it belongs into.
            name: Made from the cluster's UID.
            cluster: UID of the cluster.
            recorded: Moref of the folder, if it was made before.

        Raises:
            InvalidError: There is no such datacenter or folder.
            TerminalError: ``FolderTaken``: what has the name is not the cluster's.
            UnavailableError: The inventory is not complete, so that nobody knows.
        """
        made, at = self._made.get(cluster, (None, 0.0))
        for one in (made, recorded):
            if one is not None and (place := self._stream.places.get(one)) is not None:
                return ClusterFolder(one, f"/{self._stream.places.path(place)}")
        if made is not None and time.monotonic() - at < _SHOWN_WITHIN_S:
            return ClusterFolder(made, "")
        parent = self._parent(target)
        what = f"make folder {name} in {target.folder}"
        one = await self._effects.under_lease(what, partial(self._make, parent, name, cluster))
        self._made[cluster] = one, time.monotonic()
        place = self._stream.places.get(one)
        return ClusterFolder(one, f"/{self._stream.places.path(place)}" if place else "")

    def would_be(self, target: Target, name: str, recorded: str | None) -> tuple[str, bool]:
        """Return the path of the cluster's folder, and whether it has to be made; from memory.

        Raises ``InvalidError`` for no such datacenter or folder, and ``UnavailableError``.
        """
        places = self._stream.places
        if recorded is not None and (there := places.get(recorded)) is not None:
            return f"/{places.path(there)}", False
        parent = places.get(self._parent(target))
        return f"/{places.path(parent)}/{name}" if parent is not None else name, True

    async def remove(self, target: Target, name: str, cluster: str, recorded: str | None) -> bool:
        """Remove the cluster's folder if it is empty; what holds anything stays.

        It is unregistered rather than destroyed: a VM that somebody moves there in this very
        moment keeps its disks.

        Returns:
            Whether nothing more is to be done. If not, ask again.

        Raises:
            MoorageError: What made the removal fail, once.
        """
        removal = self._removals.pop(cluster, None)
        if removal is not None:
            one, task = removal
            if not self._stream.inventory.synced.is_set() or self._stream.places.get(one):
                state = self._tasks.get(task)
                if state is not None and state.error is not None:
                    raise state.error
                if state is not None and state.state is TaskState.RUNNING:
                    self._removals[cluster] = removal
                    return False
            self._tasks.forget(task)
        try:
            parent = "" if recorded else self._parent(target)
        except InvalidError:  # where it would be there is nothing, and none was recorded
            return True
        work = partial(self._remove, parent, name, recorded, cluster)
        started = await self._effects.under_lease(f"remove folder {name}", work)
        if started is not None:
            self._removals[cluster] = started
        else:
            self._made.pop(cluster, None)
        return started is None

    def _parent(self, target: Target) -> str:
        if not self._stream.inventory.synced.is_set():
            raise UnavailableError(
                f"the inventory of vCenter {self._session.endpoint.host} is not complete: "
                f"{self._stream.inventory.why_not}"
            )
        resolver = Resolver(self._stream.places, (), target)
        place = resolver.resolve_folder()
        if place is None:
            raise InvalidError("the placement cannot be used", tuple(resolver.faults))
        return place.moref

    def _make(self, parent: str, name: str, cluster: str) -> str:
        try:
            return str(moref(self._session.ref(vim.Folder, parent).CreateFolder(name)))
        except vim.fault.DuplicateName as fault:
            holder: Any = fault.object
        if not isinstance(holder, vim.Folder):
            raise TerminalError(
                "FolderTaken", f"the name {name} is taken by {moref(holder)}, which is no folder"
            )
        one = str(moref(holder))
        strangers = [
            child for child in self._children(one) or () if not self._is_of(child, cluster)
        ]
        if strangers:
            raise TerminalError(
                "FolderTaken",
                f"folder {name} ({one}) is there already and holds what is not of this cluster: "
                f"{', '.join(strangers)}. Move that elsewhere, or rename the folder",
            )
        return one

    def _remove(
        self, parent: str, name: str, recorded: str | None, cluster: str
    ) -> tuple[str, str] | None:
        one = recorded
        if one is None:
            found: Any = self._session.content.searchIndex.FindChild(
                self._session.ref(vim.Folder, parent), name
            )
            one = str(moref(found)) if isinstance(found, vim.Folder) else None
        children = self._children(one) if one is not None else None
        if one is None or children is None:
            return None
        if children:
            log.warning("folder left", folder=name, moref=one, holds=children, cluster=cluster)
            return None
        task = str(moref(self._session.ref(vim.Folder, one).UnregisterAndDestroy_Task()))
        self._tasks.track(task, cluster, f"remove folder {name}", SHOWN)
        return one, task

    def _children(self, folder: str) -> list[str] | None:
        """Return the morefs of what is in a folder; ``None`` when there is no such folder."""
        want = Want(vim.Folder, [folder], ["childEntity", "name"])
        values = retrieve(self._session, [want]).get(folder)
        return None if values is None else list(morefs(values.get("childEntity")))

    def _is_of(self, vm: str, cluster: str) -> bool:
        seen = self._stream.inventory.get(vm)
        return seen is not None and seen.owner is not None and seen.owner.cluster == cluster
