"""The rows of the feature cluster-folders are enough, and each is needed."""

from dataclasses import replace

import anyio
import pytest

from moorage.kit.errors import ForbiddenError
from moorage.kit.ids import new_uid
from moorage.permissions import (
    CLUSTER_FOLDER_ROWS,
    STANDARD,
    Feature,
    On,
    Row,
    grants_for,
    privileges_granted_on,
    rows_for,
    wanted_features,
)
from moorage.resources.permission import CheckTarget, FindingState
from moorage.vsphere import VCenter
from tests.permissions.conftest import connect
from tests.permissions.grants import PATHS, Admin
from tests.vsphere.harness import TARGET, Site, a_mark, a_request, clone_and_wait, until

pytestmark = pytest.mark.anyio

WANTED = (*STANDARD, Feature.CLUSTER_FOLDERS)


def grant(admin: Admin, *taken: Row) -> None:
    """Grant what the standard features and this one need of the VM folder, but for some rows."""
    rows = [row for row in rows_for(features=WANTED) if row not in taken]
    admin.grant(PATHS[On.FOLDER], privileges_granted_on(On.FOLDER, rows), propagate=True)


async def make(vcenter: VCenter, cluster: str) -> str:
    """Make the folder of a cluster and return its path."""
    name = f"web-{cluster[:10]}"
    with anyio.fail_after(60):
        while not (  # noqa: ASYNC110 - the stream's thread has no event for this
            made := await vcenter.folders.ensure(TARGET, name, cluster, None)
        ).path:
            await anyio.sleep(0.05)
    return made.path


async def remove(vcenter: VCenter, cluster: str) -> None:
    with anyio.fail_after(60):
        name = f"web-{cluster[:10]}"
        while not await vcenter.folders.remove(TARGET, name, cluster, None):  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_the_features_privileges_suffice(site: Site, admin: Admin) -> None:
    grant(admin)
    vcenter, cluster = await connect(site), new_uid()

    path = await make(vcenter, cluster)
    target = await vcenter.resolve(replace(TARGET, folder=path))
    request = a_request(target)
    vm = await clone_and_wait(vcenter, replace(request, mark=a_mark(request.uid, cluster=cluster)))
    await vcenter.destroy(vm)
    await until(lambda: vm.name not in site.vms())
    await remove(vcenter, cluster)

    assert path not in [one["path"] for one in site.process.control.inventory()["folders"]]
    assert (await vcenter.access.check([TARGET], WANTED)).findings == []


@pytest.mark.parametrize("row", CLUSTER_FOLDER_ROWS, ids=lambda row: row.privilege)
async def test_each_privilege_is_needed_and_its_absence_is_named(
    row: Row, site: Site, admin: Admin
) -> None:
    cluster = new_uid()
    grant(admin)
    vcenter = await connect(site)
    if "CreateFolder" not in row.calls:
        await make(vcenter, cluster)
    grant(admin, row)

    result = await vcenter.access.check([TARGET], WANTED)

    assert [(one.state, one.privilege, one.object) for one in result.findings] == [
        (FindingState.MISSING, row.privilege, PATHS[On.FOLDER])
    ]
    act = make if "CreateFolder" in row.calls else remove
    with pytest.raises(ForbiddenError, match=row.privilege):
        await act(vcenter, cluster)
    grant(admin)
    await remove(vcenter, cluster)


def test_roles_hold_them_only_where_a_place_wants_such_folders() -> None:
    place = {
        "datacenter": "dc1", "folder": "clusters", "template": "t", "compute_cluster": "cc1",
        "datastore": "ds1", "network": "nodes",
    }  # fmt: skip
    found = []
    for wants in (False, True):
        target = CheckTarget.model_validate({**place, "folder_per_cluster": wants})
        rows = rows_for(features=wanted_features([target]))
        grants = {grant.on: grant.privileges for grant in grants_for([target], rows)}
        found.append("Folder.Create" in grants[On.FOLDER])

    assert found == [False, True]
