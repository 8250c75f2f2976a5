"""The table of privileges, against what pyVmomi's own type information says."""

import re
from pathlib import Path

import pytest
from pyVmomi import vim

from moorage.vsphere.privileges import PRIVILEGES, On, as_markdown, privileges_on

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "method",
    [
        vim.VirtualMachine.PowerOnVM_Task,
        vim.VirtualMachine.PowerOffVM_Task,
        vim.VirtualMachine.ResetVM_Task,
        vim.VirtualMachine.ShutdownGuest,
        vim.SearchIndex.FindByUuid,
        vim.SearchIndex.FindChild,
        vim.view.ViewManager.CreateContainerView,
    ],
    ids=lambda method: method.info.wsdlName,
)
def test_a_method_that_names_its_privilege_has_it_in_the_table(method: object) -> None:
    info = method.info  # type: ignore[attr-defined]

    rows = [row for row in PRIVILEGES if info.wsdlName in row.source]

    assert info.privId in {row.privilege for row in rows}


def test_every_method_of_ours_that_changes_something_has_a_row() -> None:
    code = "".join(file.read_text() for file in (ROOT / "src/moorage/vsphere").glob("*.py"))
    called = set(re.findall(r"\.(\w+_Task|ShutdownGuest)\(", code))

    assert called == {
        "CloneVM_Task",
        "Destroy_Task",
        "PowerOffVM_Task",
        "PowerOnVM_Task",
        "ReconfigVM_Task",
        "ResetVM_Task",
        "ShutdownGuest",
    }
    sources = " ".join(row.source for row in PRIVILEGES)
    assert all(method in sources for method in called)


def test_a_role_for_each_kind_of_object_can_be_made_from_it() -> None:
    assert privileges_on(On.DATASTORE) == ("Datastore.AllocateSpace",)
    assert "VirtualMachine.Inventory.Delete" in privileges_on(On.VM)


def test_the_reference_page_is_made_from_the_table() -> None:
    page = (ROOT / "docs/reference/privileges.md").read_text()

    assert page.endswith(as_markdown()), "write as_markdown() into the page again"
