"""The port through which the engine, and all above it, reach stored resources.

The implementation is ``moorage.store``; nothing here knows of a database. All writes go through
a lease or a version where two could write; none of these calls reaches past the own database.
What is written inside a pass, resources and values, is written under that pass's lease: once it
is lost, every write raises ``LeaseLostError``.
"""

import builtins
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from moorage.kit.errors import MoorageError
from moorage.resources import Resource

R = TypeVar("R", bound=Resource)

RESYNC_KIND = "*"
"""``Change.kind`` that tells a watcher to list again: changes were too many, or went by unseen."""


class LeaseLostError(MoorageError):
    """Somebody else works on this key now: stop, and write nothing."""


class Change(NamedTuple):
    """What watchers get, after the commit. It says that something changed, never what it is now."""

    kind: str
    project: str
    name: str
    uid: str
    resource_version: int
    deleted: bool
    route: str
    spec_changed: bool
    """Anything but ``status`` changed; true for a creation and a deletion too."""
    owner_uid: str

    @property
    def key(self) -> str:
        """``project/name``: the key under which controllers queue it."""
        return f"{self.project}/{self.name}"

    @property
    def is_resync(self) -> bool:
        """Tell whether the watcher has to list again, because changes went by unseen."""
        return self.kind == RESYNC_KIND


RESYNC = Change(RESYNC_KIND, "", "", "", 0, False, "", True, "")


class Changes(Protocol):
    """What a watch yields, for ``async for``. Changes of one resource that wait are made one."""

    def __aiter__(self) -> AsyncIterator[Change]: ...

    async def __anext__(self) -> Change: ...

    def drain(self) -> builtins.list[Change]:
        """Return at once what waits, and take it off."""
        ...


class Tombstone(NamedTuple):
    """What is left of a deleted resource, so that its deletion can be told to others."""

    kind: str
    project: str
    name: str
    uid: str
    resource_version: int
    route: str


class Lease(NamedTuple):
    """The right to work on one key for a time. ``token`` is its fence."""

    controller: str
    key: str
    token: str
    attempts: int
    """How often it has failed in a row."""


class QueueDepth(NamedTuple):
    """What waits for one controller."""

    controller: str
    due: int
    """How many keys could be leased now."""
    oldest: datetime
    """When the one that waits longest became due."""


class Store(Protocol):
    """Resources, their changes, and the queue of work on them.

    What is returned is the caller's own: nobody else sees what it does to it.
    """

    async def get(self, kind: type[R], project: str, name: str) -> R:
        """Return one resource; raises ``NotFoundError``."""
        ...

    async def find(self, kind: type[R], project: str, name: str) -> R | None:
        """Return one resource, or ``None``."""
        ...

    async def find_uid(self, kind: type[R], uid: str) -> R | None:
        """Return the resource of that UID, or ``None``."""
        ...

    async def list(
        self,
        kind: type[R],
        *,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        selector: str | None = None,
        owner: str | None = None,
        route: str | None = None,
        limit: int | None = None,
        after: tuple[str, str] | None = None,
    ) -> builtins.list[R]:
        """Return resources in the order of ``(project, name)``.

        Args:
            kind: What to list.
            project: Only of this project; ``None`` means all.
            labels: Only those that bear all of these.
            selector: Kubernetes label selector, such as ``a=b,c!=d,e in (x,y),f,!g``;
                raises ``InvalidError`` when it cannot be read.
            owner: Only those owned by this UID.
            route: Only those of this gateway.
            limit: Length of a page.
            after: ``(project, name)`` of the last resource of the page before.
        """
        ...

    async def overview(
        self,
        kind: type[Resource],
        *,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        after: tuple[str, str] | None = None,
    ) -> builtins.list[Change]:
        """Return every resource as if it had just been created; the documents are not read.

        In the order and pages of ``list``, but much quicker. With ``labels`` only those that bear
        all of these.
        """
        ...

    async def count(
        self, kind: type[Resource], *, project: str | None = None, route: str | None = None
    ) -> int:
        """Return how many resources of a kind there are, of this project or gateway only."""
        ...

    async def create(self, resource: R) -> R:
        """Store a new resource and return it with UID (kept if given), version and generation 1.

        Raises ``ConflictError`` when the name or the UID is taken.
        """
        ...

    async def put_spec(self, resource: R, *, if_version: int | None = None) -> R:
        """Write spec, labels, owner, finalizers, route and epoch; never status.

        ``generation`` moves only when the spec changed; nothing is written when nothing changed.
        The finalizers of a deleting resource are left alone. Raises ``ConflictError`` when
        ``if_version`` is not the stored version, and ``NotFoundError`` when the resource is gone
        or has another UID now.
        """
        ...

    async def put_status(self, resource: Resource, *, lease: Lease | None = None) -> int:
        """Write the status of the resource of that UID; no write when it is equal.

        Returns the stored ``resource_version``. The resource may have a newer spec by now.

        Raises ``LeaseLostError`` when the lease no longer holds, even if there is nothing to
        write, and ``NotFoundError`` when the resource is gone.
        """
        ...

    async def request_deletion(
        self, kind: type[R], project: str, name: str, *, if_version: int | None = None
    ) -> R | None:
        """Ask for deletion. Without finalizers the resource goes at once: then ``None``.

        May be repeated: the first moment stays.
        """
        ...

    async def remove_finalizer(self, resource: Resource, finalizer: str) -> None:
        """Take one finalizer off. A deleting resource goes with its last one; may be repeated.

        In a mirroring store an intent resource stays without finalizers: its hub deletes it.
        """
        ...

    async def delete(self, resource: Resource) -> None:
        """Delete at once, leaving a tombstone; nothing happens when that UID is gone already."""
        ...

    async def discard(self, resource: Resource) -> None:
        """Take a resource out of this store without a tombstone: it lives on elsewhere.

        Nobody is told that it was deleted, but for the watchers of this store.
        """
        ...

    async def put_mirror(self, resource: Resource, *, keep_status: bool = False) -> bool:
        """Store a resource of the other side as given, with our own version; for the link.

        Args:
            resource: UID, generation, finalizers, deletion and all else are taken over.
            keep_status: Leave the status that is stored here, if there is one.

        Returns:
            False when it was equal already, and nothing was written.
        """
        ...

    async def changed_since(
        self, version: int, *, route: str | None = None, spec_only: bool = False, limit: int = 500
    ) -> builtins.list[Resource | Tombstone]:
        """Return what changed after ``version``, oldest change first, one entry a resource.

        No change is ever missed: when a version can be read, all lower ones can. With
        ``spec_only`` changes of status do not count, and ``metadata.resource_version`` of what
        is returned is the version of the last other change: in either case go on from there.
        """
        ...

    async def version(self) -> int:
        """Return the newest version that was given."""
        ...

    def transaction(self) -> AbstractAsyncContextManager["Store"]:
        """Open a transaction: all or nothing. Nested use joins the outer one.

        It keeps other writers waiting, so nothing in it may wait for a network.
        """
        ...

    def watch(self) -> AbstractAsyncContextManager[Changes]:
        """Watch all changes from now on. To miss none: watch first, then list.

        A watcher that falls far behind gets ``RESYNC`` instead of what it missed.
        """
        ...

    async def get_value(self, name: str) -> str | None:
        """Return a small value by name, such as the installation's id."""
        ...

    async def set_value(self, name: str, value: str) -> None:
        """Store a small value by name."""
        ...

    async def enqueue(self, controller: str, key: str, due: datetime) -> None:
        """Have the controller look at the key when ``due``, or earlier if that was asked for.

        During a lease it is remembered: the key is due again after the lease. The queue may be
        no part of a transaction: then a key stays due though nothing was written.
        """
        ...

    async def enqueue_many(self, items: Iterable[tuple[str, str]], due: datetime) -> None:
        """Enqueue many ``(controller, key)`` in one transaction."""
        ...

    async def lease(self, controller: str, *, limit: int, ttl: timedelta) -> builtins.list[Lease]:
        """Take up to ``limit`` keys that are due and that nobody holds, longest due first."""
        ...

    async def finish(self, lease: Lease, *, due: datetime | None) -> None:
        """Give a lease back after success; ``None``: not due again until it is enqueued.

        Raises ``LeaseLostError``.
        """
        ...

    async def fail(self, lease: Lease, *, due: datetime) -> None:
        """Give a lease back after a failure: counts one attempt more. Raises ``LeaseLostError``."""
        ...

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back unfinished: due at once, attempts as they were. Lost ones are left."""
        ...

    async def extend(self, leases: Iterable[Lease], ttl: timedelta) -> set[Lease]:
        """Hold leases until ``ttl`` from now, in one write; return those that were not lost."""
        ...

    async def leased(self, controllers: Iterable[str]) -> set[tuple[str, str]]:
        """Return ``(controller, key)`` of the leases of these controllers that have not ended."""
        ...

    async def next_due(self, controllers: Iterable[str]) -> datetime | None:
        """Return when the next key of these controllers can be leased; may lie in the past."""
        ...

    async def queue_depths(self) -> builtins.list[QueueDepth]:
        """Return what waits, by controller; those with nothing due are left out."""
        ...
