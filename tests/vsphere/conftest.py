"""A simulated vCenter for each test."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from vsphere.harness import Site


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def process() -> Iterator[VCenterProcess]:
    with VCenterProcess.start() as running:
        yield running


@pytest.fixture
async def site(process: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(process, stack)


@pytest.fixture
def estate() -> Iterator[VCenterProcess]:
    """A vCenter with more of everything."""
    with VCenterProcess.start(lab_dir() / "inventories" / "mixed.yaml") as running:
        yield running


@pytest.fixture
async def mixed(estate: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(estate, stack)
