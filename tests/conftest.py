"""Fixtures that many rings use: asyncio, a clock, and a store on each database."""

import signal
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import hypothesis
import psycopg
import pytest

from moorage.kit.clock import FakeClock
from moorage.store import SqlStore, open_store
from tests.postgres import postgres_server

_numbers = count(1)

# Hypothesis calls an example of over 200 ms a failure: on a busy machine that says nothing.
hypothesis.settings.register_profile("moorage", deadline=None)
hypothesis.settings.load_profile("moorage")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--postgres``."""
    parser.addoption(
        "--postgres",
        action="store_true",
        help="run the store's tests on a PostgreSQL server of our own too",
    )


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start, though a runner in the background ignores it.

    A signal that is ignored stays so in every child process; one that has a handler does not.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests on PostgreSQL out unless they were asked for."""
    if config.getoption("--postgres"):
        return
    left_out = [item for item in items if item.get_closest_marker("postgres")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("postgres")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def postgres_urls() -> Iterator[str]:
    """Start a server; ``{}`` in the URL is the database's name."""
    with postgres_server() as urls:
        yield urls


@pytest.fixture
def postgres_url(postgres_urls: str) -> Iterator[str]:
    """Make an empty database on PostgreSQL."""
    name = f"test_{next(_numbers)}"
    admin = postgres_urls.format("postgres").replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_urls.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/moorage.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database: SQLite, and with ``--postgres`` PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def store(database_url: str, clock: FakeClock) -> AsyncIterator[SqlStore]:
    """Open a store on each database."""
    opened = await open_store(database_url, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(sqlite_url: str, clock: FakeClock) -> AsyncIterator[SqlStore]:
    """Open a store where the database makes no difference."""
    opened = await open_store(sqlite_url, clock=clock)
    yield opened
    await opened.close()
