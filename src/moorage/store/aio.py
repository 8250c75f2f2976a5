"""An asynchronous engine on SQLAlchemy's own bridge, without its ORM.

``sqlalchemy.ext.asyncio`` is the same thin layer, but loading it loads the whole ORM, which we
do not use: 6 MiB and a fifth of the start in every process.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, CursorResult, Dialect, Engine, Executable, create_engine
from sqlalchemy.util import greenlet_spawn

T = TypeVar("T")


class AsyncConnection:
    """A connection whose driver waits in the event loop, not in a thread."""

    def __init__(self, connection: Connection) -> None:
        self._sync = connection

    def set_durable(self, durable: bool) -> None:
        """Do nothing: a server decides that for itself."""

    async def begin(self) -> None:
        """Begin a transaction."""
        await greenlet_spawn(self._sync.begin)

    async def commit(self) -> None:
        """Commit it."""
        await greenlet_spawn(self._sync.commit)

    async def rollback(self) -> None:
        """Roll it back."""
        await greenlet_spawn(self._sync.rollback)

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; the drivers' adapters have fetched all rows when it returns."""
        return await greenlet_spawn(self._sync.execute, statement, parameters)

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Run a synchronous function on the connection."""
        return await greenlet_spawn(function, self._sync)

    async def invalidate(self) -> None:
        """Say that it is broken: the pool makes another one."""
        await greenlet_spawn(self._sync.invalidate)

    async def close(self) -> None:
        """Give it back to the pool."""
        await greenlet_spawn(self._sync.close)


class AsyncEngine:
    """A pool of connections to one database.

    Args:
        url: Of a database with an asynchronous driver.
        creator: Makes a connection of the driver, where the URL does not say enough.
        options: Those of ``sqlalchemy.create_engine``.
    """

    def __init__(
        self, url: URL, *, creator: Callable[[], Awaitable[Any]] | None = None, **options: Any
    ) -> None:
        if creator is not None:

            def connect() -> Any:
                driver: Any = self.sync.dialect.dbapi
                return driver.connect(async_creator_fn=creator)

            options["creator"] = connect
        self.sync: Engine = create_engine(url, _is_async=True, **options)

    @property
    def url(self) -> URL:
        """The database's URL, with its password."""
        return self.sync.url

    @property
    def dialect(self) -> Dialect:
        """How the database is spoken to."""
        return self.sync.dialect

    async def connect(self) -> AsyncConnection:
        """Take a connection from the pool."""
        return AsyncConnection(await greenlet_spawn(self.sync.connect))

    async def dispose(self) -> None:
        """Close all connections of the pool."""
        await greenlet_spawn(self.sync.dispose)
