"""Server-sent events of one kind: what there is, and then each change as it is committed.

``ADDED`` is the first time that this stream shows an object, ``MODIFIED`` every later time, and
``DELETED`` that it is gone or no longer matches the selector. ``BOOKMARK`` tells how far the
stream has come; it follows every burst of changes, and comes when nothing happens. Resume from
the last bookmark by ``resourceVersion`` or the standard ``Last-Event-ID``; when that history is
not known the answer is 410: list again.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from moorage.auth import Reach
from moorage.engine.store import Change, Changes, Tombstone
from moorage.hub.context import Hub
from moorage.hub.problems import GoneError
from moorage.hub.sight import cluster_labels
from moorage.resources import Cluster, Resource
from moorage.resources.selector import Requirement, matches

R = TypeVar("R", bound=Resource)

_PAGE = 500


@dataclass(slots=True)
class Watch(Generic[R]):
    """One client's stream."""

    hub: Hub
    kind: type[R]
    project: str | None
    selector: tuple[Requirement, ...]
    since: int | None
    """Version to resume from; ``None`` begins with everything that is there."""
    show: Callable[[R], str]
    """Returns the object as JSON text."""
    sees: Callable[[str], bool]
    """Whether this client may see an object of that name at all."""
    reach: Reach
    """Which clusters, and parts of them, this client may see."""
    still_allowed: Callable[[], Awaitable[bool]]
    _shown: dict[str, int] = field(default_factory=dict)
    """UID -> version last sent."""
    _moved: bool = False
    """A cluster's labels may be others now: what its parts are to this client is not known."""
    _position: int = 0
    """Every change up to this version has been sent."""

    async def check(self) -> None:
        """Raise ``GoneError`` when the history after ``since`` is not there.

        Nor is it for who sees clusters by their labels: what was deleted has none any more.
        """
        if self.since is None:
            return
        if not self.reach.is_everything:
            raise GoneError(
                "your rights depend on clusters' labels, so a stream cannot be resumed: list again "
                "and watch without `resourceVersion`"
            )
        newest = await self.hub.store.version()
        if self.since > newest:
            raise GoneError(
                f"version {self.since} is not known (this hub is at {newest}; was it restored from "
                "a backup?): list again and watch from there"
            )

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the stream until the client leaves, its right ends or the hub stops."""
        hub, settings = self.hub, self.hub.settings
        started = checked = hub.clock.steady()
        async with hub.store.watch() as changes:
            async for chunk in self._catch_up():
                yield chunk
            yield self._bookmark()
            while not hub.stopping.is_set():
                chunks = await self._next(changes)
                now = hub.clock.steady()
                if now - checked >= settings.bookmark_every.total_seconds() or not chunks:
                    checked = now
                    over = now - started > settings.watch_lifetime.total_seconds()
                    if over or not await self.still_allowed():
                        return
                for chunk in chunks:
                    yield chunk
                if self._moved:
                    return
                yield self._bookmark()

    async def _catch_up(self) -> AsyncIterator[bytes]:
        if self.since is None:
            self._position = await self.hub.store.version()
            after: tuple[str, str] | None = None
            while True:
                page = await self.hub.store.list(
                    self.kind,
                    project=self.project,
                    limit=_PAGE,
                    after=after,
                    within=self.reach.parts,
                )
                for resource in page:
                    if chunk := self._put(resource):
                        yield chunk
                if len(page) < _PAGE:
                    return
                after = page[-1].key
        else:
            self._position = self.since
            for chunk in await self._replay():
                yield chunk

    async def _replay(self) -> list[bytes]:
        chunks: list[bytes | None] = []
        while True:
            changed = await self.hub.store.changed_since(self._position, limit=_PAGE)
            for item in changed:
                if isinstance(item, Tombstone):
                    self._position = item.resource_version
                    if item.kind == self.kind.kind_name():
                        chunks.append(self._deleted(item.uid, item.project, item.name))
                else:
                    self._position = item.metadata.resource_version
                    if isinstance(item, self.kind):
                        chunks.append(await self._put_reached(item))
            if len(changed) < _PAGE:
                return [chunk for chunk in chunks if chunk]

    async def _next(self, changes: Changes) -> list[bytes]:
        """Return what the next changes mean for this client; nothing after a silence.

        What waits is taken together: only then does the position move, because changes of one
        object are made one while they wait and so may overtake those of another.
        """
        batch: list[Change] = []
        silence = self.hub.settings.bookmark_every.total_seconds()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_stopping, tasks.cancel_scope)
            with anyio.move_on_after(silence):
                batch = [await anext(changes), *changes.drain()]
            tasks.cancel_scope.cancel()
        if any(change.is_resync for change in batch):
            return await self._replay()
        self._moved = not self.reach.is_everything and any(
            change.kind == Cluster.kind_name() and change.spec_changed and not change.deleted
            for change in batch
            if self.kind is not Cluster
        )
        chunks = [
            await self._one(change) for change in batch if change.kind == self.kind.kind_name()
        ]
        self._position = max([self._position, *(change.resource_version for change in batch)])
        return [chunk for chunk in chunks if chunk]

    async def _cancel_when_stopping(self, scope: anyio.CancelScope) -> None:
        await self.hub.stopping.wait()
        scope.cancel()

    async def _one(self, change: Change) -> bytes | None:
        if not self._in_scope(change.project, change.name):
            return None
        if change.deleted:
            return self._deleted(change.uid, change.project, change.name)
        resource = await self.hub.store.find(self.kind, change.project, change.name)
        return await self._put_reached(resource) if resource is not None else None

    async def _put_reached(self, resource: R) -> bytes | None:
        """Show a resource if its cluster is reached; else it is gone for this client."""
        if not self.reach.is_everything:
            labels = await cluster_labels(self.hub.store, resource)
            if not self.reach.includes(labels):
                return self._deleted(resource.metadata.uid, *resource.key)
        return self._put(resource)

    def _in_scope(self, project: str, name: str) -> bool:
        return (self.project is None or project == self.project) and self.sees(name)

    def _put(self, resource: R) -> bytes | None:
        uid, version = resource.metadata.uid, resource.metadata.resource_version
        if not self._in_scope(*resource.key):
            return None
        known = self._shown.get(uid)
        if known is not None and known >= version:
            return None
        if not matches(self.selector, resource.metadata.labels):
            return self._deleted(uid, *resource.key)
        self._shown[uid] = version
        return _event("ADDED" if known is None else "MODIFIED", self.show(resource))

    def _deleted(self, uid: str, project: str, name: str) -> bytes | None:
        shown = self._shown.pop(uid, None) is not None
        if not self._in_scope(project, name) or not (shown or self.since is not None):
            return None  # this client has never heard of it
        metadata = {"name": name, "uid": uid}
        if project:
            metadata["project"] = project
        document = {"kind": self.kind.kind_name(), "metadata": metadata}
        return _event("DELETED", json.dumps(document, separators=(",", ":")))

    def _bookmark(self) -> bytes:
        metadata = {"resourceVersion": self._position}
        document = {"kind": self.kind.kind_name(), "metadata": metadata}
        text = json.dumps(document, separators=(",", ":"))
        return f"id: {self._position}\n".encode() + _event("BOOKMARK", text)


def _event(kind: str, text: str) -> bytes:
    return f'event: {kind}\ndata: {{"type":"{kind}","object":{text}}}\n\n'.encode()
