"""The row of the feature storage-policies is enough, and it is needed."""

from dataclasses import replace

import pytest

from moorage.kit.errors import ForbiddenError
from moorage.permissions import (
    STANDARD,
    STORAGE_POLICY_ROWS,
    Feature,
    On,
    Row,
    govc_script,
    grants_for,
    privileges_granted_on,
    rows_for,
    terraform_module,
    wanted_features,
)
from moorage.resources.permission import CheckTarget, FindingState
from tests.permissions.conftest import connect
from tests.permissions.grants import USER, Admin
from tests.vsphere.harness import TARGET, Site, a_request, clone_and_wait

pytestmark = pytest.mark.anyio

WANTED = (*STANDARD, Feature.STORAGE_POLICIES)
ON_POLICY = replace(TARGET, storage_policy="shared")


def grant(admin: Admin) -> None:
    names = privileges_granted_on(On.ROOT, STORAGE_POLICY_ROWS)
    admin.grant("/", names, propagate=False)


async def test_the_privilege_suffices(site: Site, admin: Admin) -> None:
    grant(admin)
    vcenter = await connect(site)

    each = await vcenter.estate.each_datastore(replace(ON_POLICY, datastore=""))
    vm = await clone_and_wait(vcenter, a_request(await vcenter.resolve(ON_POLICY)))
    result = await vcenter.access.check([ON_POLICY], WANTED)

    assert [one.datastore for one in each] == ["/dc1/datastore/ds1"], "ds2 is not seen"
    assert set(site.vms()[vm.name]["policies"].values()) == {"shared"}
    assert result.findings == []


@pytest.mark.parametrize("row", STORAGE_POLICY_ROWS, ids=lambda row: row.privilege)
async def test_its_absence_is_named_and_nothing_is_made(row: Row, site: Site, admin: Admin) -> None:
    grant(admin)
    vcenter = await connect(site)
    target = await vcenter.resolve(ON_POLICY)
    admin.withdraw("/")
    vcenter.estate.forget()

    result = await vcenter.access.check([replace(ON_POLICY, datastore="")], WANTED)

    assert (FindingState.MISSING, row.privilege, "/") in [
        (one.state, one.privilege, one.object) for one in result.findings
    ]
    with pytest.raises(ForbiddenError, match=r"StorageProfile\.View"):
        await vcenter.resolve(ON_POLICY)
    with pytest.raises(ForbiddenError, match=r"StorageProfile\.View"):
        await vcenter.clone(a_request(target))


def test_roles_reach_all_datastores_where_only_a_policy_is_named() -> None:
    place = CheckTarget(
        datacenter="dc1", folder="clusters", template="t", compute_cluster="cc1",
        storage_policy="gold", network="nodes",
    )  # fmt: skip
    features = wanted_features([place])

    grants = grants_for([place], rows_for(features=features))

    assert Feature.STORAGE_POLICIES in features
    found = {one.on: (one.path, one.privileges, one.propagate) for one in grants}
    assert found[On.DATASTORE] == ("/dc1/datastore", ("Datastore.AllocateSpace",), True)
    assert found[On.ROOT] == ("/", ("StorageProfile.View",), False)
    assert "allow moorage-vcenter false /\n" in govc_script(grants, USER)
    assert 'path = "/dc1/datastore"' in terraform_module(grants, USER)
