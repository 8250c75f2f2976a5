"""What the vSphere Client calls each privilege, by release.

From the pages of "Defined Privileges" in the book *vSphere Security* of 6.7, 7.0 and 8.0: the one
of 8.0 names each privilege's id beside the Client's name.
"""

from typing import Final

NEWEST: Final = (8, 0)
_SEPARATOR = " > "
_VM = ("Virtual machine",)

_Shown = tuple[str, ...]

_Names = dict[tuple[int, int], _Shown]
_CONFIG: dict[str, _Names] = {
    f"VirtualMachine.Config.{word}": {
        (6, 7): (*_VM, "Configuration", shown),
        (7, 0): (*_VM, "Change Configuration", shown),
    }
    for word, shown in (
        ("AddNewDisk", "Add new disk"),
        ("AddRemoveDevice", "Add or remove device"),
        ("AdvancedConfig", "Advanced configuration"),
        ("CPUCount", "Change CPU count"),
        ("DiskExtend", "Extend virtual disk"),
        ("EditDevice", "Modify device settings"),
        ("Memory", "Change Memory"),
        ("Rename", "Rename"),
        ("Resource", "Change resource"),
        ("Settings", "Change Settings"),
    )
}
_TAGGING: dict[str, _Names] = {
    f"InventoryService.Tagging.{word}": {since: ("vSphere Tagging", shown)}
    for word, shown, since in (
        ("AttachTag", "Assign or Unassign vSphere Tag", (6, 7)),
        ("CreateCategory", "Create vSphere Tag Category", (6, 7)),
        ("CreateTag", "Create vSphere Tag", (6, 7)),
        ("ObjectAttachable", "Assign or Unassign vSphere Tag on Object", (7, 0)),
    )
}
_LIBRARY: dict[str, _Names] = {
    f"ContentLibrary.{word}": {(6, 7): ("Content library", shown)}
    for word, shown in (
        ("AddLibraryItem", "Add library item"),
        ("CreateLocalLibrary", "Create local library"),
        ("DeleteLocalLibrary", "Delete local library"),
        ("UpdateSession", "Update files"),
    )
}
_NAMES: dict[str, _Names] = {
    **_CONFIG,
    **_LIBRARY,
    **_TAGGING,
    "System.Read": {(6, 7): ("Read-only (in every role)",)},
    "Datastore.AllocateSpace": {(6, 7): ("Datastore", "Allocate space")},
    "Folder.Create": {(6, 7): ("Folder", "Create folder")},
    "Folder.Delete": {(6, 7): ("Folder", "Delete folder")},
    "Host.Inventory.EditCluster": {(6, 7): ("Host", "Inventory", "Modify cluster")},
    "Network.Assign": {(6, 7): ("Network", "Assign network")},
    "Resource.AssignVMToPool": {(6, 7): ("Resource", "Assign virtual machine to resource pool")},
    "VApp.Import": {(6, 7): ("vApp", "Import")},
    "StorageProfile.View": {
        (6, 7): ("Profile-driven storage", "Profile-driven storage view"),
        (8, 0): ("VM storage policies", "View VM storage policies"),
    },
    "VirtualMachine.Interact.PowerOn": {
        (6, 7): (*_VM, "Interaction", "Power On"),
        (7, 0): (*_VM, "Interaction", "Power on"),
    },
    "VirtualMachine.Interact.PowerOff": {
        (6, 7): (*_VM, "Interaction", "Power Off"),
        (7, 0): (*_VM, "Interaction", "Power off"),
    },
    "VirtualMachine.Inventory.Create": {
        (6, 7): (*_VM, "Inventory", "Create new"),
        (7, 0): (*_VM, "Edit inventory", "Create new"),
    },
    "VirtualMachine.Inventory.CreateFromExisting": {
        (6, 7): (*_VM, "Inventory", "Create from existing"),
        (7, 0): (*_VM, "Edit inventory", "Create from existing"),
    },
    "VirtualMachine.Inventory.Delete": {
        (6, 7): (*_VM, "Inventory", "Remove"),
        (7, 0): (*_VM, "Edit inventory", "Remove"),
    },
    "VirtualMachine.Provisioning.DeployTemplate": {
        (6, 7): (*_VM, "Provisioning", "Deploy template"),
    },
    "VirtualMachine.Provisioning.MarkAsTemplate": {
        (6, 7): (*_VM, "Provisioning", "Mark as template"),
    },
    "VirtualMachine.State.CreateSnapshot": {
        (6, 7): (*_VM, "Snapshot management", "Create snapshot"),
    },
}
"""Privilege -> first release with this name -> groups and name, from the outside in."""


def release(api_version: str) -> tuple[int, int]:
    """Return the release of an API version such as ``7.0.3.0``; the newest for an unclear one."""
    major, _, rest = api_version.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else NEWEST


def shown_name(privilege: str, api_version: str = "") -> str:
    """Return the name in the vSphere Client, such as ``Network > Assign network``.

    Args:
        privilege: Id from the table.
        api_version: Of the vCenter; the newest names by default.
    """
    at = release(api_version)
    names = _NAMES[privilege]
    known = max(since for since in names if since <= max(at, min(names)))
    return _SEPARATOR.join(names[known])


def renames(privilege: str) -> tuple[tuple[str, str], ...]:
    """Return all names with the releases that they begin with, the oldest first."""
    return tuple(
        (f"{major}.{minor}", _SEPARATOR.join(names))
        for (major, minor), names in sorted(_NAMES[privilege].items())
    )
