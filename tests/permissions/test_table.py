"""The table against sources that are not its own: pyVmomi's types, the lab's tables, the code."""

import re
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from moorage.permissions import (
    CLUSTER_FOLDER_ROWS,
    EVERY_ROW,
    GRANTED_ON,
    ROWS,
    ZONE_TAG_ROWS,
    Feature,
    On,
    privileges_granted_on,
    renames,
    rows_for,
    shown_name,
)
from moorage_lab.places import lab_dir

ROOT = Path(__file__).parents[2]
SET_BY_US = ("InstanceUuid", "NumCPUs", "MemoryMB")
"""Fields of VirtualMachineConfigSpec with one privilege each; devices and extraConfig are in
``test_proof``."""


@pytest.mark.parametrize(
    "method",
    [vim.VirtualMachine.PowerOnVM_Task, vim.VirtualMachine.PowerOffVM_Task],
    ids=lambda method: method.info.wsdlName,
)
def test_a_method_that_names_its_privilege_has_it_in_the_table(method: Any) -> None:
    privileges = {row.privilege for row in ROWS if method.info.wsdlName in row.calls}

    assert method.info.privId in privileges


def test_each_field_of_a_clone_has_the_privilege_that_the_labs_source_names() -> None:
    lines = (lab_dir() / "vcenter/internal/authz/fields.tsv").read_text().splitlines()
    said = dict(line.split("\t")[:2] for line in lines if line and not line.startswith("#"))
    ours = {row.privilege for row in ROWS if "CloneVM_Task" in row.calls}

    assert {said[field] for field in SET_BY_US} <= ours


def test_every_method_of_ours_that_changes_something_has_a_row_and_no_other() -> None:
    code = "".join(file.read_text() for file in (ROOT / "src/moorage/vsphere").glob("*.py"))
    called = set(re.findall(r"\.(\w+_Task|ShutdownGuest)\(", code))

    assert called == {call for row in EVERY_ROW for call in row.calls if call.endswith("_Task")}


def test_every_row_cites_a_book_and_a_page() -> None:
    for row in EVERY_ROW:
        book, _, page = row.source.partition(", ")
        assert book in ("Security", "Web Services API"), row
        assert page, row
        assert "pyVmomi" not in row.source


def test_a_role_holds_the_privileges_of_all_that_its_object_passes_on_to() -> None:
    assert privileges_granted_on(On.DATASTORE) == ("Datastore.AllocateSpace",)
    assert "VirtualMachine.Interact.PowerOn" in privileges_granted_on(On.FOLDER)
    assert privileges_granted_on(On.COMPUTE_CLUSTER) == ("Host.Inventory.EditCluster",)
    assert privileges_granted_on(On.COMPUTE_CLUSTER, rows_for("", (Feature.CLUSTERS,))) == ()
    assert all(row.on in GRANTED_ON for row in EVERY_ROW)


def test_a_later_feature_only_adds_rows() -> None:
    alone = rows_for("6.7.3", (Feature.CLUSTERS,))
    assert {row.feature for row in alone} == {Feature.CLUSTERS}
    assert set(alone) < set(ROWS) == set(rows_for("6.7.3"))
    assert rows_for("6.7.3", (Feature.CLUSTER_FOLDERS,)) == CLUSTER_FOLDER_ROWS
    assert rows_for("8.0.3.0", ()) == ()
    assert rows_for("8.0.3.0", (Feature.ZONE_TAGS,)) == ZONE_TAG_ROWS
    older = {row.privilege for row in rows_for("6.7.3", (Feature.ZONE_TAGS,))}
    assert {row.privilege for row in ZONE_TAG_ROWS} - older == {
        "InventoryService.Tagging.ObjectAttachable"
    }


def test_the_client_calls_a_privilege_by_the_name_of_its_release() -> None:
    privilege = "VirtualMachine.Inventory.Delete"

    assert shown_name(privilege, "6.7.3") == "Virtual machine > Inventory > Remove"
    assert shown_name(privilege, "7.0.3.0") == "Virtual machine > Edit inventory > Remove"
    assert shown_name(privilege, "8.0.3.0") == shown_name(privilege)
    assert [since for since, _ in renames(privilege)] == ["6.7", "7.0"]
    assert all(shown_name(row.privilege) for row in EVERY_ROW)
