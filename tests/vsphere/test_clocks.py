"""Our clock against vCenter's: known from the login, asked again only when in doubt."""

from datetime import timedelta

from moorage.vsphere import VCenter
from tests.clocks import ShiftedClock
from vsphere.harness import Site

HOURS = timedelta(hours=2)


async def connected(site: Site, clock: ShiftedClock) -> VCenter:
    return await site.connect_only(clock=clock)


async def test_clocks_that_agree_cost_no_call(site: Site) -> None:
    vcenter = await connected(site, ShiftedClock())
    for _ in range(20):
        assert await vcenter.clocks.disagreement() is None
    assert "CurrentTime" not in site.calls()


async def test_a_clock_that_was_off_at_the_login_is_told(site: Site) -> None:
    vcenter = await connected(site, ShiftedClock(-HOURS))
    said = await vcenter.clocks.disagreement()
    assert said is not None
    assert "is 120 min behind vCenter" in said
    assert "NTP" in said


async def test_one_question_serves_all_and_a_mended_clock_needs_none(site: Site) -> None:
    clock = ShiftedClock()
    vcenter = await connected(site, clock)
    clock.shift = HOURS
    # What the login told lies long back, in what is remembered: it is asked for once more.
    vcenter.clocks._peer.heard_at = clock.steady() - 1000
    for _ in range(5):
        said = await vcenter.clocks.disagreement()
        assert said is not None
        assert "is 120 min ahead of vCenter" in said
    assert site.calls()["CurrentTime"] == 1

    clock.shift = timedelta()
    assert await vcenter.clocks.disagreement() is None
    assert site.calls()["CurrentTime"] == 1


async def test_what_is_remembered_is_not_believed_against_vcenter(site: Site) -> None:
    """Steady clocks drift, and vCenter's may be set: it is asked before anything is held."""
    clock = ShiftedClock()
    vcenter = await connected(site, clock)
    peer = vcenter.clocks._peer
    peer.heard(clock.now() - HOURS, since=clock.steady())
    peer.heard_at = clock.steady() - 1000
    assert peer.is_skewed

    assert await vcenter.clocks.disagreement() is None

    assert site.calls()["CurrentTime"] == 1


async def test_it_is_asked_again_after_an_hour(site: Site) -> None:
    clock = ShiftedClock()
    vcenter = await connected(site, clock)
    vcenter.clocks._peer.heard_at = clock.steady() - 3601
    assert await vcenter.clocks.disagreement() is None
    assert await vcenter.clocks.disagreement() is None
    assert site.calls()["CurrentTime"] == 1
