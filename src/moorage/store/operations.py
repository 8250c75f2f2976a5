"""The engine's port, method by method, over units that read or write."""

import builtins
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import select

from moorage.engine.store import Change, Lease, QueueDepth, Tombstone
from moorage.kit.clock import Clock
from moorage.kit.errors import NotFoundError
from moorage.resources import Resource
from moorage.store import resource_read, resource_write, tables
from moorage.store.codec import decode, where_is
from moorage.store.database import Unit
from moorage.store.fanout import Subscription
from moorage.store.queue_memory import MemoryQueue
from moorage.store.queue_sql import SqlQueue
from moorage.store.selector import Within
from moorage.store.view import View, bring_up_to_date

R = TypeVar("R", bound=Resource)
V = TypeVar("V", bound=View)


class SqlOperations(ABC):
    """What can be done both in a transaction and outside of one (each call is one then)."""

    def __init__(
        self, clock: Clock, *, is_mirror: bool, by_server: bool, memory: MemoryQueue | None
    ) -> None:
        self.clock = clock
        self.is_mirror = is_mirror
        self.by_server = by_server
        self.memory = memory
        self.queue: MemoryQueue | SqlQueue = memory or SqlQueue(
            clock,
            by_server=by_server,
            reading=self.reading,
            writing=lambda: self.writing(durable=False, guarded=False),
        )
        """Shared by all processes, or in the memory of the only one."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Unit]:
        """Open a unit that reads; for the other modules of this package."""

    @abstractmethod
    def writing(
        self, *, ordered: bool = False, durable: bool = True, guarded: bool = True
    ) -> AbstractAsyncContextManager[Unit]:
        """Open a unit that writes.

        Args:
            ordered: It writes resources or audit entries, which have an order.
            durable: It must survive a power cut.
            guarded: Inside a pass, raise ``LeaseLostError`` unless the pass's lease is held.
        """

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager["SqlOperations"]:
        """Open a transaction, or join the open one."""

    @abstractmethod
    def views(self) -> dict[type[View], View]:
        """Return the views of this store that were ever asked for; for this module."""

    async def view(self, kind: type[V]) -> V:
        """Return the view of that class, up to date; use it at once, for it goes on changing.

        Raises ``RuntimeError`` in a transaction that has written already.
        """
        found = self.views().setdefault(kind, kind())
        assert isinstance(found, kind)  # noqa: S101 - for the type checker
        async with self.reading() as unit:
            await bring_up_to_date(unit, found)
        return found

    @abstractmethod
    def watch(self) -> AbstractAsyncContextManager[Subscription]:
        """Watch all changes from now on; watch first, then list."""

    async def get(self, kind: type[R], project: str, name: str) -> R:
        """Return one resource; raises ``NotFoundError``."""
        found = await self.find(kind, project, name)
        if found is None:
            raise NotFoundError(f"{kind.kind_name()} {where_is(project, name)} does not exist")
        return found

    async def find(self, kind: type[R], project: str, name: str) -> R | None:
        """Return one resource, or ``None``."""
        async with self.reading() as unit:
            row = await resource_read.by_name(unit, kind.kind_name(), project, name)
        return None if row is None else decode(kind, row)

    async def find_uid(self, kind: type[R], uid: str) -> R | None:
        """Return the resource of that UID, or ``None``."""
        async with self.reading() as unit:
            row = await resource_read.by_uid(unit, kind.kind_name(), uid)
        return None if row is None else decode(kind, row)

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
        within: Within = (),
    ) -> builtins.list[R]:
        """Return resources in the order of ``(project, name)``; see ``engine.store``.

        ``within``: only clusters that these choices of label selectors reach, and their parts.
        """
        query = resource_read.page_query(
            kind.kind_name(),
            project=project,
            labels=labels,
            selector=selector,
            owner=owner,
            route=route,
            limit=limit,
            after=after,
            within=within,
        )
        async with self.reading() as unit:
            rows = await resource_read.fetch(unit, query)
        return [decode(kind, row) for row in rows]

    async def overview(
        self,
        kind: type[Resource],
        *,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        after: tuple[str, str] | None = None,
    ) -> builtins.list[Change]:
        """Return every resource of a kind as a change; the documents are not read."""
        async with self.reading() as unit:
            return await resource_read.overview(
                unit, kind.kind_name(), labels=labels, limit=limit, after=after
            )

    async def count(
        self, kind: type[Resource], *, project: str | None = None, route: str | None = None
    ) -> int:
        """Return how many resources of a kind there are, of this project or gateway only."""
        async with self.reading() as unit:
            return await resource_read.count(unit, kind.kind_name(), project=project, route=route)

    async def changed_since(
        self, version: int, *, route: str | None = None, spec_only: bool = False, limit: int = 500
    ) -> builtins.list[Resource | Tombstone]:
        """Return what changed after ``version``, oldest first; see ``engine.store``."""
        async with self.reading() as unit:
            return await resource_read.changed_since(
                unit, version, route=route, spec_only=spec_only, limit=limit
            )

    async def version(self) -> int:
        """Return the newest version that was given."""
        async with self.reading() as unit:
            return await resource_read.read_version(unit)

    async def create(self, resource: R) -> R:
        """Store a new resource; raises ``ConflictError``."""
        async with self.writing(ordered=True) as unit:
            return await resource_write.create(unit, resource, self.clock.now())

    async def put_spec(self, resource: R, *, if_version: int | None = None) -> R:
        """Write all but the status; see ``engine.store``."""
        async with self.writing(ordered=True) as unit:
            return await resource_write.put_spec(unit, resource, if_version)

    async def put_status(self, resource: Resource, *, lease: Lease | None = None) -> int:
        """Write the status, under the lease; see ``engine.store``."""
        async with self.writing(ordered=True) as unit:
            if lease is not None:
                await self.queue.check(unit, lease)
            return await resource_write.put_status(unit, resource)

    async def request_deletion(
        self, kind: type[R], project: str, name: str, *, if_version: int | None = None
    ) -> R | None:
        """Ask for deletion; see ``engine.store``."""
        async with self.writing(ordered=True) as unit:
            return await resource_write.request_deletion(
                unit, kind, project, name, if_version, self.clock.now()
            )

    async def remove_finalizer(self, resource: Resource, finalizer: str) -> None:
        """Take one finalizer off; see ``engine.store``."""
        async with self.writing(ordered=True) as unit:
            await resource_write.remove_finalizer(
                unit, resource, finalizer, is_mirror=self.is_mirror, now=self.clock.now()
            )

    async def delete(self, resource: Resource) -> None:
        """Delete at once, leaving a tombstone."""
        async with self.writing(ordered=True) as unit:
            row = await resource_read.by_uid(unit, resource.kind, resource.metadata.uid)
            if row is not None:
                await resource_write.remove(unit, row, self.clock.now())

    async def discard(self, resource: Resource) -> None:
        """Take a resource out without a tombstone; see ``engine.store``."""
        async with self.writing(ordered=True) as unit:
            row = await resource_read.by_uid(unit, resource.kind, resource.metadata.uid)
            if row is not None:
                await resource_write.discard(unit, row)

    async def put_mirror(self, resource: Resource, *, keep_status: bool = False) -> bool:
        """Store a resource of the other side as given; see ``engine.store``."""
        async with self.writing(ordered=True) as unit:
            return await resource_write.put_mirror(
                unit, resource, keep_status=keep_status, now=self.clock.now()
            )

    async def get_value(self, name: str) -> str | None:
        """Return a small value by name."""
        query = select(tables.value.c.value).where(tables.value.c.name == name)
        async with self.reading() as unit:
            found: str | None = (await unit.execute(query)).scalar_one_or_none()
        return found

    async def set_value(self, name: str, value: str) -> None:
        """Store a small value by name."""
        async with self.writing() as unit:
            statement = unit.insert(tables.value).values(name=name, value=value)
            await unit.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
            )

    async def enqueue(self, controller: str, key: str, due: datetime) -> None:
        """Make a key due; see ``engine.store``."""
        await self.queue.enqueue_many([(controller, key)], due)

    async def enqueue_many(self, items: Iterable[tuple[str, str]], due: datetime) -> None:
        """Make many keys due at once."""
        await self.queue.enqueue_many(items, due)

    async def lease(self, controller: str, *, limit: int, ttl: timedelta) -> builtins.list[Lease]:
        """Take keys that are due."""
        return await self.queue.lease(controller, limit=limit, ttl=ttl)

    async def finish(self, lease: Lease, *, due: datetime | None) -> None:
        """Give a lease back after success."""
        await self.queue.finish(lease, due)

    async def fail(self, lease: Lease, *, due: datetime) -> None:
        """Give a lease back after a failure."""
        await self.queue.fail(lease, due)

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back unfinished."""
        await self.queue.release(leases)

    async def extend(self, leases: Iterable[Lease], ttl: timedelta) -> set[Lease]:
        """Hold leases for longer; return those that were not lost."""
        return await self.queue.extend(leases, ttl)

    async def leased(self, controllers: Iterable[str]) -> set[tuple[str, str]]:
        """Return the leases that have not ended."""
        return await self.queue.leased(controllers)

    async def next_due(self, controllers: Iterable[str]) -> datetime | None:
        """Return when the next key can be leased."""
        return await self.queue.next_due(controllers)

    async def queue_depths(self) -> builtins.list[QueueDepth]:
        """Return what waits, by controller."""
        return await self.queue.depths()

    async def prune_tombstones(self, before: datetime) -> int:
        """Forget deletions older than ``before``: no gateway may have been away for so long."""
        async with self.writing(ordered=True) as unit:
            return await resource_write.prune_tombstones(unit, before)
