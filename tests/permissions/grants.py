"""An administrator of the lab's vCenter who gives the least user roles and takes them away."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import yaml
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from moorage.kit.ids import new_uid
from moorage.permissions import GRANTED_ON, On, privileges_granted_on, rows_for
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory

USER = "least@vsphere.local"
NO_ACCESS = -5
BARE = "templates/bare"
"""A template without a network card, beside the one of the default inventory."""
PATHS = {  # what the tests' target names, in the default inventory
    On.COMPUTE_CLUSTER: "/dc1/host/cc1",
    On.RESOURCE_POOL: "/dc1/host/cc1/Resources",
    On.FOLDER: "/dc1/vm/clusters",
    On.TEMPLATE: "/dc1/vm/templates/ubuntu-2404-kube-v1.34.4",
    On.DATASTORE: "/dc1/datastore/ds1",
    On.NETWORK: "/dc1/network/nodes",
    On.SWITCH: "/dc1/network/dvs1",
}


def inventory() -> dict[str, Any]:
    """Return the default inventory with a user who has no permission yet."""
    spec: dict[str, Any] = yaml.safe_load(default_inventory().read_text())
    password = spec["users"][0]["password"]
    spec["users"].append({"name": USER, "password": password, "permissions": []})
    return spec


@dataclass
class Admin:
    """Grants, by inventory path. Use it in a `with` block."""

    process: VCenterProcess
    _service: Any = field(init=False)

    def __enter__(self) -> Self:
        self._service = SmartConnect(
            host=self.process.host,
            port=self.process.port,
            user=self.process.user,
            pwd=self.process.password,
            sslContext=ssl.create_default_context(cafile=str(self.process.ca_file)),
        )
        return self

    def __exit__(self, *_: object) -> None:
        Disconnect(self._service)

    def find(self, path: str) -> Any:
        """Return the object at an inventory path."""
        content = self._service.RetrieveContent()
        if path == "/":
            return content.rootFolder
        found = content.searchIndex.FindByInventoryPath(path)
        assert found is not None, path
        return found

    def sweep(self) -> None:
        """Delete what earlier tests have left in the folder."""
        for vm in self.find(PATHS[On.FOLDER]).childEntity:
            if vm.runtime.powerState == "poweredOn":
                WaitForTask(vm.PowerOffVM_Task())
            WaitForTask(vm.Destroy_Task())

    def take_card_out(self, template: str) -> None:
        """Leave a template without a network card."""
        vm = self.find(template)
        vm.MarkAsVirtualMachine(self.find(PATHS[On.RESOURCE_POOL]))
        changes = [
            vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
            for device in vm.config.hardware.device
            if isinstance(device, vim.vm.device.VirtualEthernetCard)
        ]
        WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changes)))
        vm.MarkAsTemplate()

    def grant(self, path: str, privileges: Iterable[str], *, propagate: bool) -> None:
        """Give the user a new role with exactly these privileges (and ``System.*``)."""
        name = f"role-{new_uid()}"
        role = self._manager.AddAuthorizationRole(name, sorted(privileges))
        self._set(path, role, propagate=propagate)

    def hide(self, path: str) -> None:
        """Give the user the role No access."""
        self._set(path, NO_ACCESS, propagate=True)

    def withdraw(self, path: str) -> None:
        """Take the user's own permission on an object away."""
        self._manager.RemoveEntityPermission(self.find(path), USER, isGroup=False)

    def withdraw_all(self) -> None:
        """Take every permission of the user away."""
        for one in self._manager.RetrieveAllPermissions():
            if one.principal == USER:
                self._manager.RemoveEntityPermission(one.entity, USER, isGroup=False)

    def grant_table(self) -> None:
        """Grant exactly what the table says, in the places that it says."""
        self.withdraw_all()
        for on, path in PATHS.items():
            self.grant_on(on, path)
        self.grant_on(On.TEMPLATE, f"/dc1/vm/{BARE}")

    def grant_on(self, on: On, path: str) -> None:
        """Grant what the table says for one kind of object."""
        rows = [row for row in rows_for() if GRANTED_ON[row.on] is on]
        propagate = any(row.propagate for row in rows)
        self.grant(path, privileges_granted_on(on, rows), propagate=propagate)

    def _set(self, path: str, role: int, *, propagate: bool) -> None:
        permission = vim.AuthorizationManager.Permission(
            principal=USER, group=False, roleId=role, propagate=propagate
        )
        self._manager.SetEntityPermissions(self.find(path), [permission])

    @property
    def _manager(self) -> Any:
        return self._service.RetrieveContent().authorizationManager
