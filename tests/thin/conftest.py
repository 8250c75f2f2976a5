"""The gateway's controllers before a simulated vCenter whose VMs behave like nodes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from pyVim.task import WaitForTask
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
        with self._as_somebody() as index:
            WaitForTask(vim.VirtualMachine(moref, index._stub).ResetVM_Task())

    def power_off_and_destroy(self, name: str) -> None:
        """Delete a machine's VM, as an administrator of vCenter might by mistake."""
        with self._as_somebody() as index:
            vm = index.FindByInventoryPath(f"/dc1/vm/clusters/{name}")
            WaitForTask(vm.PowerOffVM_Task())
            WaitForTask(vm.Destroy_Task())


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
