"""What the check says, what it costs, and what it says of an older vCenter."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from moorage.permissions import ROWS, On, Subject, judge
from moorage.resources.permission import FindingState
from moorage_lab.api import VCenterProcess
from tests.permissions.conftest import connect
from tests.permissions.grants import PATHS, Admin, inventory
from tests.vsphere.harness import TARGET, Site, a_request, clone_and_wait


def calls(site: Site) -> dict[str, int]:
    counted = site.calls()
    counted.pop("WaitForUpdatesEx", None)
    return counted


async def test_it_asks_once_whatever_the_number_of_places(site: Site, admin: Admin) -> None:
    assert admin
    vcenter = await connect(site)
    site.process.control.reset_counters()

    result = await vcenter.access.check(
        [TARGET, TARGET, replace(TARGET, datastore="ds2"), replace(TARGET, folder="absent")]
    )

    assert calls(site) == {"HasPrivilegeOnEntities": 1, "RetrievePropertiesEx": 1}
    assert len({(one.kind, one.object) for one in result.objects}) == len(result.objects)
    assert {one.object for one in result.findings} >= {"ds2", "absent"}


async def test_an_object_that_is_only_passed_through_lacks_everything(
    site: Site, admin: Admin
) -> None:
    vcenter = await connect(site)
    vm = await clone_and_wait(vcenter, a_request(await vcenter.resolve(TARGET)))
    admin.withdraw(PATHS[On.FOLDER])
    own = {row.privilege for row in ROWS if row.on is On.VM}
    admin.grant(f"{PATHS[On.FOLDER]}/{vm.name}", own, propagate=False)
    vcenter = await connect(site)
    site.process.control.reset_counters()

    result = await vcenter.access.check([TARGET])

    assert {(one.state, one.object) for one in result.findings} == {
        (FindingState.MISSING, PATHS[On.FOLDER])
    }
    assert {one.privilege for one in result.findings} == {
        row.privilege for row in ROWS if row.on is On.FOLDER
    }
    assert calls(site)["HasPrivilegeOnEntities"] == 2  # the first answer names the folder


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("6.7.3", "Virtual machine > Inventory > Create from existing"),
        ("7.0.3", "Virtual machine > Edit inventory > Create from existing"),
    ],
)
async def test_an_older_vcenter_answers_too_and_names_are_those_of_its_client(
    version: str, shown: str
) -> None:
    arguments = ("--api-version", version)
    with (
        VCenterProcess.start(inventory(), arguments=arguments) as process,
        Admin(process) as admin,
    ):
        for on, path in PATHS.items():
            admin.grant_on(on, path)
        kept = {row.privilege for row in ROWS if row.on in (On.FOLDER, On.VM)}
        kept -= {"VirtualMachine.Inventory.CreateFromExisting"}
        admin.grant(PATHS[On.FOLDER], kept - {"System.Read"}, propagate=True)
        async with AsyncExitStack() as stack:
            vcenter = await connect(Site(process, stack))
            result = await vcenter.access.check([TARGET])

    assert result.api_version.startswith(version)
    assert [one.shown for one in result.findings] == [shown]


def test_missing_stands_before_unknown_and_each_object_is_told_once() -> None:
    hidden = Subject(On.DATACENTER, "dc9", why="there is dc1")
    seen = Subject(On.DATASTORE, "/dc1/datastore/ds1", "datastore-1", "Datastore")

    result = judge([hidden, seen, seen], {"datastore-1": {"System.Read"}}, ROWS, "8.0.3.0")

    missing, unknown = result.findings
    assert (missing.state, missing.privilege) == (FindingState.MISSING, "Datastore.AllocateSpace")
    assert (unknown.state, unknown.privilege) == (FindingState.UNKNOWN, "System.Read")
    assert set(unknown.needed_for) == {row.operation for row in ROWS}
    assert unknown.message == "there is dc1"
    assert result.checked == 2
