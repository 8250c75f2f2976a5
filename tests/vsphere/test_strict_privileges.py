"""The account with the documented privileges and no others, against a vCenter that checks them."""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage.kit.errors import ForbiddenError
from moorage.resources.account import Trust
from moorage.vsphere import VM, Endpoint, Unknown, VCenter
from moorage.vsphere.privileges import PRIVILEGES, On, privileges_on
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from vsphere.harness import (
    TARGET,
    Site,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    until,
)

pytestmark = pytest.mark.anyio
USER = "least@vsphere.local"
ROLES = {  # where an installer grants what the reference page lists, by kind of object
    "/": {On.ROOT},
    "/dc1/vm/clusters": {On.FOLDER, On.VM},
    "/dc1/vm/templates": {On.TEMPLATE},
    "/dc1/host/cc1/Resources": {On.RESOURCE_POOL},
    "/dc1/datastore/ds1": {On.DATASTORE},
    "/dc1/network/nodes": {On.NETWORK},
}


def inventory(withheld: str = "") -> dict[str, Any]:
    """The default inventory with a user who has exactly the documented privileges."""
    spec: dict[str, Any] = copy.deepcopy(
        yaml.safe_load(Path(lab_dir() / "inventories" / "default.yaml").read_text())
    )
    held = {
        path: sorted({one for on in kinds for one in privileges_on(on)} - {withheld})
        for path, kinds in ROLES.items()
    }
    spec["roles"] = [{"name": path, "privileges": names} for path, names in held.items()]
    spec["users"].append(
        {
            "name": USER,
            "password": spec["users"][0]["password"],
            "permissions": [{"on": path, "role": path} for path in held],
        }
    )
    return spec


@pytest.fixture
def process() -> Iterator[VCenterProcess]:
    with VCenterProcess.start(inventory()) as running:
        yield running


@pytest.fixture
async def site(process: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(process, stack)


async def connect(site: Site) -> VCenter:
    trust = Trust(ca_bundle=site.process.ca_file.read_text())
    return await site.connect(endpoint=Endpoint(site.process.address, USER, trust))


async def test_the_documented_privileges_suffice_for_a_whole_life(site: Site) -> None:
    vcenter = await connect(site)
    target = await vcenter.resolve(TARGET)

    vm = await clone_and_wait(vcenter, a_request(target, disk_gib=30))
    linked = await clone_and_wait(vcenter, a_request(target))
    vm = await power_on_and_wait(vcenter, vm)
    await vcenter.power_off(vm)
    await until(lambda: site.vms()[vm.name]["power"] == "poweredOff")
    assert vm.owner is not None
    found = await until(lambda: is_found(vcenter, vm.owner.uid))
    await vcenter.destroy(found.vm)
    await until(lambda: vm.name not in site.vms())

    assert linked.name in site.vms()


NEEDED_TO_CLONE = sorted(
    {row.privilege for row in PRIVILEGES if row.operation == "clone"}
    - {"VirtualMachine.Config.AddRemoveDevice", "VirtualMachine.Config.DiskExtend"}
)


@pytest.mark.parametrize("withheld", NEEDED_TO_CLONE)
async def test_what_is_missing_is_named(withheld: str) -> None:
    with VCenterProcess.start(inventory(withheld)) as process:
        async with AsyncExitStack() as stack:
            site = Site(process, stack)
            vcenter = await connect(site)
            target = await vcenter.resolve(TARGET)

            with pytest.raises(ForbiddenError, match=withheld):
                await vcenter.clone(a_request(target))


Act = Callable[[VCenter, VM], Awaitable[object]]


@pytest.mark.parametrize(
    ("withheld", "act"),
    [
        ("VirtualMachine.Interact.PowerOn", VCenter.power_on),
        ("VirtualMachine.Interact.PowerOff", VCenter.power_off),
        ("VirtualMachine.Interact.Reset", VCenter.reset),
        ("VirtualMachine.Inventory.Delete", VCenter.destroy),
    ],
)
async def test_every_privilege_of_a_machine_is_needed(withheld: str, act: Act) -> None:
    with VCenterProcess.start(inventory(withheld)) as process:
        async with AsyncExitStack() as stack:
            site = Site(process, stack)
            least = await connect(site)
            vm = await clone_and_wait(least, a_request(await least.resolve(TARGET)))
            if withheld.endswith(("PowerOff", "Reset")):  # it has to run for that
                vm = await power_on_and_wait(least, vm)

            with pytest.raises(ForbiddenError, match=withheld):
                await act(least, vm)


async def test_a_machine_whose_folder_is_hidden_is_unknown_not_absent(site: Site) -> None:
    vcenter = await connect(site)
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    for path in ("/dc1/vm/clusters", "/dc1/host/cc1/Resources"):
        site.process.control.grant(USER, "NoAccess", path)
    await until(lambda: is_found(vcenter, request.uid) is None)
    presence = await vcenter.prove_absent(request.uid, vm.moref, vm.folder, vm.name)

    assert isinstance(presence, Unknown)
    site.process.control.grant(USER, "/dc1/vm/clusters", "/dc1/vm/clusters")
    await until(lambda: is_found(vcenter, request.uid))
