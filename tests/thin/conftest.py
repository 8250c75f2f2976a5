"""The gateway's controllers before a simulated vCenter whose VMs behave like nodes."""

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from moorage.controllers.gateway.build import Work
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory
from tests.reconcile.conftest import World


class ThinWorld(World):
    """A gateway whose VMs become nodes."""

    @property
    def work(self) -> Work:
        """The controllers, and what they share."""
        return self._work

    def reset_vm(self, moref: str) -> None:
        """Press a VM's reset button, as an administrator of vCenter would."""
        vcenter = self.vcenter
        service = SmartConnect(
            host=vcenter.host,
            port=vcenter.port,
            user=vcenter.user,
            pwd=vcenter.password,
            sslContext=ssl.create_default_context(cafile=str(vcenter.ca_file)),
        )
        try:
            task = vim.VirtualMachine(moref, service._stub).ResetVM_Task()
            while task.info.state not in ("success", "error"):
                time.sleep(0.01)
            assert task.info.state == "success", task.info.error
        finally:
            Disconnect(service)


@pytest.fixture
def vcenter() -> Iterator[VCenterProcess]:
    inventory = yaml.safe_load(default_inventory().read_text())
    templates = inventory["datacenters"][0]["templates"]
    # Its name says nothing of its version: only the node itself can tell.
    templates.append({**templates[0], "name": "golden", "image": "1.33.1"})
    templates[-1].pop("kubernetesVersion")
    with VCenterProcess.start(inventory, guests="thin") as process:
        yield process


@pytest.fixture
async def world(vcenter: VCenterProcess, tmp_path: Path) -> AsyncIterator[ThinWorld]:
    async with ThinWorld.running(vcenter, tmp_path) as world:
        yield world
