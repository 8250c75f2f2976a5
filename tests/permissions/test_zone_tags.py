"""The rows of the feature zone-tags are enough, and each is needed; the lab judges by itself."""

from itertools import count

import pytest

from moorage.kit.errors import ForbiddenError, InvalidError
from moorage.permissions import STANDARD, ZONE_TAG_ROWS, Feature, On, Row, rows_for
from moorage.resources.permission import FindingState
from moorage.vsphere import Categories, VCenter
from moorage.vsphere.zoning import Wish
from tests.permissions.conftest import connect
from tests.permissions.grants import PATHS, Admin
from tests.vsphere.harness import TARGET, Site

pytestmark = pytest.mark.anyio

WANTED = (*STANDARD, Feature.ZONE_TAGS)
WHERE = {On.ROOT: "/", On.DATACENTER: "/dc1", On.COMPUTE_CLUSTER: PATHS[On.COMPUTE_CLUSTER]}
_numbers = count()


def grant(admin: Admin, rows: tuple[Row, ...]) -> None:
    """Grant the standard rows, and of the feature those that are given."""
    for on, path in WHERE.items():
        own = {row.privilege for row in rows if row.on is on}
        if not own:
            continue
        if on is On.COMPUTE_CLUSTER:
            own |= {row.privilege for row in rows_for() if row.on in (on, On.HOST)}
        privileges = {one for one in own if not one.startswith("System.")}
        admin.grant(path, privileges, propagate=on is On.COMPUTE_CLUSTER)


def fresh() -> Categories:
    """Return categories that no other test has made."""
    number = next(_numbers)
    return Categories(region=f"region-{number}", zone=f"zone-{number}")


def wishes(vcenter: VCenter, categories: Categories) -> list[Wish]:
    return vcenter.zoning.wishes({"dc1": "eu"}, {"cc1": "eu-a"}, categories)


async def make(vcenter: VCenter, categories: Categories) -> None:
    await vcenter.zoning.change(wishes(vcenter, categories), apply=True)


async def test_the_features_privileges_suffice(site: Site, admin: Admin) -> None:
    grant(admin, ZONE_TAG_ROWS)
    vcenter = await connect(site)
    categories = fresh()

    await make(vcenter, categories)

    (told,) = await vcenter.zones.read([TARGET], categories)
    assert (told.region.value, told.zone.value, told.unread) == ("eu", "eu-a", ())
    assert (await vcenter.access.check([TARGET], WANTED)).findings == []


async def test_who_does_not_ask_for_tags_is_not_told_of_their_privileges(
    site: Site, admin: Admin
) -> None:
    assert admin
    vcenter = await connect(site)

    assert (await vcenter.access.check([TARGET])).findings == []
    named = {one.privilege for one in (await vcenter.access.check([TARGET], WANTED)).findings}
    assert named >= {row.privilege for row in ZONE_TAG_ROWS} - {"System.Read"}


def named(row: Row) -> str:
    return f"{row.privilege} on {row.on}"


MAKES = [row for row in ZONE_TAG_ROWS if row.privilege != "System.Read"]


@pytest.mark.parametrize("row", MAKES, ids=named)
async def test_each_privilege_is_needed_and_its_absence_is_named(
    row: Row, site: Site, admin: Admin
) -> None:
    grant(admin, tuple(one for one in ZONE_TAG_ROWS if one is not row))
    vcenter = await connect(site)

    result = await vcenter.access.check([TARGET], WANTED)

    (finding,) = result.findings
    assert (finding.state, finding.privilege) == (FindingState.MISSING, row.privilege)
    assert (finding.kind, finding.object) == (row.on.value, WHERE[row.on])
    assert finding.needed_for == [row.operation]
    with pytest.raises(ForbiddenError, match=row.privilege):
        await make(vcenter, fresh())


@pytest.mark.parametrize("on", [On.ROOT, On.DATACENTER], ids=str)
async def test_each_place_has_to_be_read(on: On, site: Site, admin: Admin) -> None:
    grant(admin, ZONE_TAG_ROWS)
    vcenter = await connect(site)
    categories = fresh()
    await make(vcenter, categories)
    grant(admin, ())
    admin.withdraw(WHERE[on])
    vcenter.zones.forget()

    (told,) = await vcenter.zones.read([TARGET], categories)
    result = await vcenter.access.check([TARGET], WANTED)

    assert told.region.value == ""
    assert "System.Read" in {one.privilege for one in result.findings if one.kind == on.value}
    if on is On.DATACENTER:
        assert (told.zone.value, told.unread) == ("eu-a", ("/dc1",))
        with pytest.raises(InvalidError, match="may not read its tags"):
            await make(vcenter, fresh())
