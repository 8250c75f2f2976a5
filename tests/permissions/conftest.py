"""One strict vCenter for all tests of a module; each gives its user the roles that it needs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from moorage.resources.account import Trust
from moorage.vsphere import Endpoint, VCenter
from moorage_lab.api import VCenterProcess
from tests.permissions.grants import BARE, USER, Admin, inventory
from tests.vsphere.harness import Site


@pytest.fixture(scope="module")
def process() -> Iterator[VCenterProcess]:
    spec = inventory()
    templates = spec["datacenters"][0]["templates"]
    templates.append({**templates[0], "name": BARE.rpartition("/")[2]})
    spec["storagePolicies"] = [{"name": "shared", "datastores": ["ds1", "ds2"]}]
    with VCenterProcess.start(spec) as running:
        with Admin(running) as admin:
            admin.take_card_out(f"/dc1/vm/{BARE}")
        yield running


@pytest.fixture
def admin(process: VCenterProcess) -> Iterator[Admin]:
    with Admin(process) as admin:
        admin.sweep()
        admin.grant_table()
        yield admin


@pytest.fixture
async def site(process: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(process, stack)


async def connect(site: Site) -> VCenter:
    """Connect as the user whose roles the tests change."""
    trust = Trust(ca_bundle=site.process.ca_file.read_text())
    return await site.connect(endpoint=Endpoint(site.process.address, USER, trust))
