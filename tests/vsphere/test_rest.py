"""Sessions over REST: one for all who make calls at the same time, and none that is left."""

import pytest

from moorage.kit.errors import UnavailableError
from moorage.vsphere.library import ContentLibrary
from tests.vsphere.harness import Site

pytestmark = pytest.mark.anyio
UID = "33333333-3333-4333-8333-333333333333"


async def test_calls_at_the_same_time_share_one_session(site: Site) -> None:
    vcenter = await site.connect()

    def twice() -> None:
        with vcenter._rest.open() as first, vcenter._rest.open() as second:
            assert ContentLibrary(first).find(UID) == ContentLibrary(second).find(UID) == []

    await vcenter._session.call("ask twice", twice)

    calls = site.calls()
    assert (calls["POST /api/session"], calls["DELETE /api/session"]) == (1, 1)


async def test_a_session_that_vcenter_has_ended_is_not_used_again(site: Site) -> None:
    vcenter = await site.connect()

    def after_its_end() -> None:
        with vcenter._rest.open() as first:
            site.process.control.expire_sessions()
            with pytest.raises(UnavailableError, match="ended the REST session"):
                ContentLibrary(first).find(UID)
            with vcenter._rest.open() as second:
                assert ContentLibrary(second).find(UID) == []

    await vcenter._session.call("ask again", after_its_end)

    entries = site.process.control.ledger().of_kind("RestSession")
    assert len(entries) == 2
    assert all(one.gone is not None for one in entries)
