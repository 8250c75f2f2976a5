"""Which privilege each operation needs, on which object: the one table.

Each row cites the vendor's documentation. "Security" is the book *vSphere Security*, whose
appendix "Defined Privileges" has a page for each group of privileges with the objects that they
are required on, and whose chapter on permissions has "Required Privileges for Common Tasks".
"Web Services API" is the reference of that name: each method has a section on its privileges.
"Automation API" is the reference of the operations under ``/api``.
"""

from collections.abc import Collection, Iterable

from moorage.permissions.imports import IMPORT_ROWS, LEASE_IMPORT_ROWS
from moorage.permissions.names import release
from moorage.permissions.row import GRANTED_ON, STANDARD, Feature, On, Row, rows

_READ_BY_ALL = [kind for kind in On if kind not in (On.ROOT, On.DATACENTER, On.VM)]

_TASK = 'Security, Required Privileges for Common Tasks, "Deploy a virtual machine from a template"'
_POWER_ON = 'Security, Required Privileges for Common Tasks, "Power on a virtual machine"'
_CONFIG = "Security, Defined Privileges, Virtual Machine Configuration Privileges"
_INTERACT = "Security, Defined Privileges, Virtual Machine Interaction Privileges"
_INVENTORY = "Security, Defined Privileges, Virtual Machine Inventory Privileges"
_HOST_INVENTORY = "Security, Defined Privileges, Host Inventory Privileges"
_SNAPSHOTS = "Security, Defined Privileges, Virtual Machine Snapshot Management Privileges"
_PROVISIONING = "Security, Defined Privileges, Virtual Machine Provisioning Privileges"
_TAGGING = "Security, Defined Privileges, vSphere Tagging Privileges"
_TAG_OBJECTS = "Security, Permissions on Tag Objects"
_TAG_ASSOCIATION = "Automation API, cis tagging tag-association"
_READ = "Security, Using Roles to Assign Privileges, Read Only Role"
_RECONFIGURE = "Web Services API, ComputeResource ReconfigureComputeResource_Task"
_FOLDERS = "Security, Defined Privileges, Folder Privileges"
_API_FOLDER = "Web Services API, Folder"
_REMOVE_FOLDER = "UnregisterAndDestroy_Task"
_POLICIES = "Security, Defined Privileges, Profile-driven Storage Privileges"
_API_SPEC = "Web Services API, VirtualMachineConfigSpec"

ROWS: tuple[Row, ...] = (
    *rows(
        "follow the inventory",
        ("CreateContainerView", "WaitForUpdatesEx", "RetrievePropertiesEx"),
        [("System.Read", kind, _READ) for kind in _READ_BY_ALL],
    ),
    *rows(
        "clone",
        ("CloneVM_Task",),
        [
            (
                "VirtualMachine.Provisioning.DeployTemplate",
                On.TEMPLATE,
                f"{_TASK}; {_PROVISIONING}, Deploy template",
            ),
            (
                "VirtualMachine.Inventory.CreateFromExisting",
                On.FOLDER,
                f"{_TASK}; {_INVENTORY}, Create from existing",
            ),
            ("VirtualMachine.Config.AddNewDisk", On.FOLDER, f"{_TASK}; {_CONFIG}, Add new disk"),
            (
                "Resource.AssignVMToPool",
                On.RESOURCE_POOL,
                f"{_TASK}; Security, Defined Privileges, Resource Privileges",
            ),
            (
                "Datastore.AllocateSpace",
                On.DATASTORE,
                f"{_TASK}; Automation API, vcenter VM clone",
            ),
            (
                "Network.Assign",
                On.NETWORK,
                f"{_TASK}; Security, Defined Privileges, Network Privileges",
            ),
        ],
    ),
    *rows(
        "clone: size and identity",
        ("CloneVM_Task",),
        [
            (
                "VirtualMachine.Config.CPUCount",
                On.FOLDER,
                f"{_CONFIG}, Change CPU count; {_API_SPEC}, numCPUs",
            ),
            (
                "VirtualMachine.Config.Memory",
                On.FOLDER,
                f"{_CONFIG}, Change Memory; {_API_SPEC}, memoryMB",
            ),
            (
                "VirtualMachine.Config.Settings",
                On.FOLDER,
                f"{_CONFIG}, Change Settings; {_API_SPEC}, instanceUuid",
            ),
            (
                "VirtualMachine.Config.AdvancedConfig",
                On.FOLDER,
                f"{_CONFIG}, Advanced configuration; {_API_SPEC}, extraConfig",
            ),
        ],
    ),
    *rows(
        "clone: network card",
        ("CloneVM_Task",),
        [("VirtualMachine.Config.EditDevice", On.FOLDER, f"{_CONFIG}, Modify device settings")],
    ),
    *rows(
        "clone with other network cards than the template has",
        ("CloneVM_Task",),
        [
            (
                "VirtualMachine.Config.AddRemoveDevice",
                On.FOLDER,
                f"{_CONFIG}, Add or remove device; {_API_SPEC}, deviceChange",
            )
        ],
    ),
    *rows(
        "clone with a larger disk (diskGib)",
        ("CloneVM_Task",),
        [
            (
                "VirtualMachine.Config.DiskExtend",
                On.FOLDER,
                f"{_CONFIG}, Extend virtual disk; {_API_SPEC}, deviceChange",
            )
        ],
    ),
    *rows(
        "clone with an extra disk on a datastore of its own (extraDisks)",
        ("CloneVM_Task",),
        [("Datastore.AllocateSpace", On.DATASTORE, f"{_API_FOLDER} CreateVM_Task: of each disk")],
    ),
    *rows(
        "clone with reservations, limits or shares (cpuAllocation, memoryAllocation)",
        ("CloneVM_Task",),
        [("VirtualMachine.Config.Resource", On.FOLDER, f"{_CONFIG}, Change resource; {_API_SPEC}")],
    ),
    *rows(
        "power on",
        ("PowerOnVM_Task",),
        [
            (
                "VirtualMachine.Interact.PowerOn",
                On.VM,
                f"{_POWER_ON}; {_INTERACT}, Power on",
            )
        ],
    ),
    *rows(
        "clear user data, ask the node helper",
        ("ReconfigVM_Task",),
        [
            (
                "VirtualMachine.Config.AdvancedConfig",
                On.VM,
                f"{_CONFIG}, Advanced configuration; {_API_SPEC}, extraConfig",
            )
        ],
    ),
    *rows(
        "set the identity again, take a cluster over",
        ("ReconfigVM_Task",),
        [
            (
                "VirtualMachine.Config.Settings",
                On.VM,
                f"{_CONFIG}, Change Settings; {_API_SPEC}, instanceUuid",
            )
        ],
    ),
    *rows(
        "delete a running machine",
        ("PowerOffVM_Task",),
        [("VirtualMachine.Interact.PowerOff", On.VM, f"{_INTERACT}, Power off")],
    ),
    *rows(
        "delete a machine",
        ("Destroy_Task",),
        [
            (
                "VirtualMachine.Inventory.Delete",
                kind,
                f"{_INVENTORY}, Remove: needed on the object and on its parent",
            )
            for kind in (On.VM, On.FOLDER)
        ],
    ),
    *rows(
        "keep machines apart by rules of DRS",
        ("ReconfigureComputeResource_Task",),
        [
            (
                "Host.Inventory.EditCluster",
                On.COMPUTE_CLUSTER,
                f"{_HOST_INVENTORY}, Modify cluster; {_RECONFIGURE}",
            )
        ],
        Feature.ANTI_AFFINITY,
    ),
    *rows(
        "take the snapshot of a template's replica",
        ("CreateSnapshot_Task",),
        [("VirtualMachine.State.CreateSnapshot", On.VM, f"{_SNAPSHOTS}, Create snapshot")],
        Feature.REPLICAS,
    ),
    *rows(
        "mark a template's replica as template",
        ("MarkAsTemplate",),
        [
            (
                "VirtualMachine.Provisioning.MarkAsTemplate",
                On.VM,
                f"{_PROVISIONING}, Mark as template",
            )
        ],
        Feature.REPLICAS,
    ),
    *rows(
        "clone a template's replica",
        ("CloneVM_Task",),
        [
            (
                "VirtualMachine.Provisioning.DeployTemplate",
                On.VM,
                f"{_TASK}; {_PROVISIONING}, Deploy template",
            )
        ],
        Feature.REPLICAS,
    ),
)
"""Every privilege of the standard features. A later one adds rows with its own ``feature``."""

ZONE_TAG_ROWS: tuple[Row, ...] = (
    *rows(
        "read region and zone tags",
        ("list-attached-tags-on-objects", "tag get", "category get"),
        [
            ("System.Read", On.ROOT, f"{_TAG_OBJECTS}; {_READ}"),
            *(
                ("System.Read", kind, f"{_READ}; {_TAG_ASSOCIATION}, list-attached-tags-on-objects")
                for kind in (On.DATACENTER, On.COMPUTE_CLUSTER)
            ),
        ],
        Feature.ZONE_TAGS,
    ),
    *rows(
        "make region and zone tags",
        ("category create", "tag create"),
        [
            (
                "InventoryService.Tagging.CreateCategory",
                On.ROOT,
                f"{_TAGGING}, Create vSphere Tag Category; {_TAG_OBJECTS}",
            ),
            (
                "InventoryService.Tagging.CreateTag",
                On.ROOT,
                f"{_TAGGING}, Create vSphere Tag; {_TAG_OBJECTS}",
            ),
        ],
        Feature.ZONE_TAGS,
    ),
    *rows(
        "attach region and zone tags",
        ("attach",),
        [
            (
                "InventoryService.Tagging.AttachTag",
                On.ROOT,
                f"{_TAGGING}, Assign or Unassign vSphere Tag; {_TAG_OBJECTS}",
            )
        ],
        Feature.ZONE_TAGS,
    ),
    *rows(
        "attach region and zone tags",
        ("attach",),
        [
            (
                "InventoryService.Tagging.ObjectAttachable",
                kind,
                f"{_TAGGING}, Assign or Unassign vSphere Tag on Object",
            )
            for kind in (On.DATACENTER, On.COMPUTE_CLUSTER)
        ],
        Feature.ZONE_TAGS,
        since=(7, 0),
    ),
)
"""Privileges for region and zone tags, which nothing else needs."""


CLUSTER_FOLDER_ROWS: tuple[Row, ...] = (
    *rows(
        "make a folder for a cluster (folderPerCluster)",
        ("CreateFolder",),
        [("Folder.Create", On.FOLDER, f"{_FOLDERS}, Create folder; {_API_FOLDER} CreateFolder")],
        Feature.CLUSTER_FOLDERS,
    ),
    *rows(
        "delete the folder of a cluster (folderPerCluster)",
        (_REMOVE_FOLDER,),
        [
            (
                "Folder.Delete",
                On.FOLDER,
                f"{_FOLDERS}, Delete folder, on object and parent; {_API_FOLDER} {_REMOVE_FOLDER}",
            )
        ],
        Feature.CLUSTER_FOLDERS,
    ),
)
"""Privileges for a folder of each cluster's own, which nothing else needs."""

STORAGE_POLICY_ROWS: tuple[Row, ...] = (
    *rows(
        "find a storage policy and its datastores, clone by it (storagePolicy)",
        ("PbmQueryProfile", "PbmRetrieveContent", "PbmQueryMatchingHub", "CloneVM_Task"),
        [("StorageProfile.View", On.ROOT, f"{_POLICIES}, View: needed on the root vCenter")],
        Feature.STORAGE_POLICIES,
    ),
)
"""Privileges for machines that follow a storage policy, which nothing else needs."""

EVERY_ROW = (
    *ROWS,
    *CLUSTER_FOLDER_ROWS,
    *STORAGE_POLICY_ROWS,
    *IMPORT_ROWS,
    *LEASE_IMPORT_ROWS,
    *ZONE_TAG_ROWS,
)
"""All rows of all features."""


def rows_for(api_version: str = "", features: Collection[Feature] = STANDARD) -> tuple[Row, ...]:
    """Return the rows that matter to some features at one release; all releases by default."""
    at = release(api_version)
    return tuple(row for row in EVERY_ROW if row.since <= at and row.feature in features)


def privileges_granted_on(on: On, rows: Iterable[Row] = ROWS) -> tuple[str, ...]:
    """Return what a role for one kind of object holds, by id.

    ``System.*`` is left out: it is in every role that vCenter lets one make.
    """
    return tuple(
        sorted(
            {
                row.privilege
                for row in rows
                if GRANTED_ON[row.on] is on and not row.privilege.startswith("System.")
            }
        )
    )
