"""Which privilege each operation needs, on which object: one table for checks and for the docs.

Sources are the pages of the vSphere Web Services API reference (``CloneVM_Task`` and so on:
sections "Required privileges" and the properties of ``VirtualMachineConfigSpec``) and the page
"Defined privileges" of the vSphere Security guide.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class On(StrEnum):
    """What a privilege is needed on."""

    ROOT = "vCenter (root folder)"
    FOLDER = "VM folder"
    TEMPLATE = "template"
    RESOURCE_POOL = "resource pool"
    DATASTORE = "datastore"
    NETWORK = "network"
    VM = "the cluster's VMs (granted on their folder, propagating)"


@dataclass(frozen=True, slots=True)
class Privilege:
    """One privilege that one operation needs on one kind of object."""

    operation: str
    privilege: str
    on: On
    source: str
    """Page of the API reference that says so."""


def _rows(operation: str, source: str, needs: Iterable[tuple[str, On]]) -> tuple[Privilege, ...]:
    return tuple(Privilege(operation, privilege, on, source) for privilege, on in needs)


PRIVILEGES: tuple[Privilege, ...] = (
    *_rows(
        "log in, follow the inventory",
        "PropertyCollector.WaitForUpdatesEx, ViewManager.CreateContainerView",
        [
            ("System.Anonymous", On.ROOT),
            ("System.View", On.ROOT),
            ("System.Read", On.ROOT),
        ],
    ),
    *_rows(
        "look for a VM directly",
        "SearchIndex.FindByUuid, SearchIndex.FindChild",
        [("System.View", On.ROOT), ("System.Read", On.FOLDER)],
    ),
    *_rows(
        "clone",
        "VirtualMachine.CloneVM_Task",
        [
            ("VirtualMachine.Provisioning.DeployTemplate", On.TEMPLATE),
            ("VirtualMachine.Inventory.CreateFromExisting", On.FOLDER),
            ("Resource.AssignVMToPool", On.RESOURCE_POOL),
            ("Datastore.AllocateSpace", On.DATASTORE),
            ("Network.Assign", On.NETWORK),
        ],
    ),
    *_rows(
        "clone",
        "VirtualMachineConfigSpec (size, instance UUID, extraConfig, devices of a clone)",
        [
            ("VirtualMachine.Config.CPUCount", On.FOLDER),
            ("VirtualMachine.Config.Memory", On.FOLDER),
            ("VirtualMachine.Config.Settings", On.FOLDER),
            ("VirtualMachine.Config.AdvancedConfig", On.FOLDER),
            ("VirtualMachine.Config.EditDevice", On.FOLDER),
            ("VirtualMachine.Config.AddRemoveDevice", On.FOLDER),
            ("VirtualMachine.Config.DiskExtend", On.FOLDER),
        ],
    ),
    *_rows(
        "power on",
        "VirtualMachine.PowerOnVM_Task",
        [("VirtualMachine.Interact.PowerOn", On.VM)],
    ),
    *_rows(
        "power off, shut down the guest",
        "VirtualMachine.PowerOffVM_Task, VirtualMachine.ShutdownGuest",
        [("VirtualMachine.Interact.PowerOff", On.VM)],
    ),
    *_rows(
        "reset",
        "VirtualMachine.ResetVM_Task",
        [("VirtualMachine.Interact.Reset", On.VM)],
    ),
    *_rows(
        "clear user data, ask the node helper",
        "VirtualMachine.ReconfigVM_Task (extraConfig)",
        [("VirtualMachine.Config.AdvancedConfig", On.VM)],
    ),
    *_rows(
        "set the instance UUID again",
        "VirtualMachine.ReconfigVM_Task (instanceUuid, extraConfig)",
        [
            ("VirtualMachine.Config.Settings", On.VM),
            ("VirtualMachine.Config.AdvancedConfig", On.VM),
        ],
    ),
    *_rows(
        "destroy",
        "ManagedEntity.Destroy_Task",
        [
            ("VirtualMachine.Inventory.Delete", On.VM),
            ("VirtualMachine.Inventory.Delete", On.FOLDER),
        ],
    ),
)
"""Every privilege that is used now."""


def privileges_on(on: On) -> tuple[str, ...]:
    """Return all privileges that one kind of object needs: the contents of a role for it."""
    return tuple(sorted({row.privilege for row in PRIVILEGES if row.on is on}))


def as_markdown() -> str:
    """Return the reference page's table."""
    lines = ["| operation | privilege | on | said by |", "|---|---|---|---|"]
    lines += [
        f"| {row.operation} | `{row.privilege}` | {row.on} | {row.source} |" for row in PRIVILEGES
    ]
    return "\n".join(lines) + "\n"
