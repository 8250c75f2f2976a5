"""The rows of the features template-imports and -nfc are enough, and each is needed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from moorage.kit.errors import ForbiddenError
from moorage.kit.ids import new_uid
from moorage.permissions import (
    IMPORT_ROWS,
    LEASE_IMPORT_ROWS,
    STANDARD,
    Feature,
    On,
    Row,
    privileges_granted_on,
    rows_for,
)
from moorage.resources.permission import FindingState
from moorage.vsphere import Deployment, Transfer, VCenter
from moorage.vsphere.fetch import Incoming
from tests.ova import an_ova
from tests.permissions.conftest import connect
from tests.permissions.grants import PATHS, Admin
from tests.vsphere.harness import TARGET, Site, a_mark, is_found, until

pytestmark = pytest.mark.anyio

BOTH = (Feature.TEMPLATE_IMPORTS, Feature.LEASE_IMPORTS)
OVA = an_ova()


def wanted(feature: Feature) -> tuple[Feature, ...]:
    return (*STANDARD, feature)


def grant(admin: Admin, feature: Feature, *taken: Row) -> None:
    """Grant what the standard features and one more need, but for some rows."""
    admin.withdraw_all()
    rows = [row for row in rows_for(features=wanted(feature)) if row not in taken]
    for on, path in {**PATHS, On.ROOT: "/"}.items():
        admin.grant(path, privileges_granted_on(on, rows), propagate=on in {On.ROOT, On.FOLDER})


@contextmanager
def opened() -> Iterator[Incoming]:
    yield Incoming(len(OVA), iter([OVA]))


async def bring_in(vcenter: VCenter, feature: Feature, uid: str) -> None:
    """Import an OVA as the gateway does, up to its name."""
    sha256, mark = hashlib.sha256(OVA).hexdigest(), a_mark(uid, kind="Template")
    place = vcenter.originals.place(TARGET)
    if feature is Feature.LEASE_IMPORTS:
        name = f"moorage-import-{uid}"
        assert await vcenter.imports.leases.bring_in(
            name, uid, place, opened, sha256, Transfer(), mark
        )
        await rename(vcenter, uid)
        return
    await vcenter.imports.upload(uid, place.datastore, opened, sha256, Transfer())
    deployment = Deployment(
        name=f"moorage-import-{uid}",
        annotation=uid,
        folder=place.folder,
        resource_pool=place.resource_pool,
        datastore=place.datastore,
        network=place.network,
        networks=("nic0",),
    )
    assert await vcenter.imports.deploy(uid, deployment, mark)
    await vcenter.imports.remove_library(uid)
    await rename(vcenter, uid)


async def rename(vcenter: VCenter, uid: str) -> None:
    found = await until(lambda: is_found(vcenter, uid))
    await vcenter.imports.rename(found.vm, f"template-{uid[:8]}")


@pytest.mark.parametrize("feature", BOTH)
async def test_the_features_privileges_suffice(feature: Feature, site: Site, admin: Admin) -> None:
    grant(admin, feature)
    vcenter, uid = await connect(site), new_uid()

    await bring_in(vcenter, feature, uid)

    await until(lambda: f"template-{uid[:8]}" in site.vms())
    assert (await vcenter.access.check([TARGET], wanted(feature))).findings == []


@pytest.mark.parametrize(
    "row",
    [*IMPORT_ROWS, *LEASE_IMPORT_ROWS],
    ids=lambda row: f"{row.feature}: {row.privilege} on {row.on}",
)
async def test_each_privilege_is_needed_and_its_absence_is_named(
    row: Row, site: Site, admin: Admin
) -> None:
    grant(admin, row.feature, row)
    vcenter = await connect(site)

    result = await vcenter.access.check([TARGET], wanted(row.feature))

    assert {(one.state, one.privilege) for one in result.findings} == {
        (FindingState.MISSING, row.privilege)
    }
    with pytest.raises(ForbiddenError, match=row.privilege):
        await bring_in(vcenter, row.feature, new_uid())
