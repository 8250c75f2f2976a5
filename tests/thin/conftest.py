"""The gateway's controllers before a simulated vCenter whose VMs behave like nodes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moorage_lab.api import VCenterProcess
from tests.reconcile.conftest import World


@pytest.fixture
def vcenter() -> Iterator[VCenterProcess]:
    with VCenterProcess.start(guests="thin") as process:
        yield process


@pytest.fixture
async def world(vcenter: VCenterProcess, tmp_path: Path) -> AsyncIterator[World]:
    world = World(vcenter, tmp_path / "gateway.db")
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
