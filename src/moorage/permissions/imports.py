"""Which privileges imports of OVAs need: part of the table, whose page says what the books are."""

from moorage.permissions.row import Feature, On, Row, rows

_CONFIG = "Security, Defined Privileges, Virtual Machine Configuration Privileges"
_INVENTORY = "Security, Defined Privileges, Virtual Machine Inventory Privileges"
_LIBRARY = "Security, Defined Privileges, Content Library Privileges"
_VAPP = "Security, Defined Privileges, vApp Privileges"
_IMPORT = "Web Services API, ResourcePool ImportVApp"
_CREATE_VM = "Web Services API, Folder CreateVM_Task (which ImportVApp refers to)"
_RENAME = "Web Services API, ManagedEntity Rename_Task"

IMPORT_ROWS: tuple[Row, ...] = (
    *rows(
        "send an OVA to a content library of its own, and delete that",
        ("local-library create", "library item create", "update-session create", "file add"),
        [
            (
                "ContentLibrary.CreateLocalLibrary",
                On.ROOT,
                f"{_LIBRARY}, Create local library",
            ),
            ("ContentLibrary.AddLibraryItem", On.ROOT, f"{_LIBRARY}, Add library item"),
            ("ContentLibrary.UpdateSession", On.ROOT, f"{_LIBRARY}, Update files"),
            (
                "ContentLibrary.DeleteLocalLibrary",
                On.ROOT,
                f"{_LIBRARY}, Delete local library",
            ),
        ],
        Feature.TEMPLATE_IMPORTS,
    ),
    *rows(
        "deploy an OVA from its content library",
        ("ovf library-item deploy",),
        [
            ("VApp.Import", On.FOLDER, f"{_VAPP}, Import; {_IMPORT}"),
            ("VApp.Import", On.RESOURCE_POOL, f"{_VAPP}, Import; {_IMPORT}"),
            ("VirtualMachine.Inventory.Create", On.FOLDER, f"{_INVENTORY}, Create new"),
        ],
        Feature.TEMPLATE_IMPORTS,
    ),
    *rows(
        "give an imported template its name",
        ("Rename_Task",),
        [
            (
                "VirtualMachine.Config.Rename",
                On.VM,
                f"{_CONFIG}, Rename; {_RENAME}",
            )
        ],
        Feature.TEMPLATE_IMPORTS,
    ),
)
"""Privileges for imports of OVAs, which nothing else needs."""

LEASE_IMPORT_ROWS: tuple[Row, ...] = (
    *rows(
        "import an OVA by an NFC lease",
        (
            "CreateImportSpec",
            "ImportVApp",
            "HttpNfcLeaseProgress",
            "HttpNfcLeaseComplete",
            "HttpNfcLeaseAbort",
        ),
        [
            ("VApp.Import", On.FOLDER, f"{_VAPP}, Import; {_IMPORT}, folder"),
            ("VApp.Import", On.RESOURCE_POOL, f"{_VAPP}, Import; {_IMPORT}"),
            (
                "VirtualMachine.Inventory.Create",
                On.FOLDER,
                f"{_INVENTORY}, Create new; {_CREATE_VM}",
            ),
        ],
        Feature.LEASE_IMPORTS,
    ),
    *rows(
        "give a template imported by an NFC lease its name",
        ("Rename_Task",),
        [("VirtualMachine.Config.Rename", On.VM, f"{_CONFIG}, Rename; {_RENAME}")],
        Feature.LEASE_IMPORTS,
    ),
)
"""Privileges for imports of OVAs by NFC leases: nothing on the vCenter as a whole."""
