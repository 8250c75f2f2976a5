"""A control plane is replaced while the gateway dies: each time one goes and one comes."""

import random

import pytest

from tests.faults.conftest import Place
from tests.faults.kills import Kill, Step, Victim
from tests.faults.kinds import a_kill
from tests.faults.lives import PATIENCE_S, await_ready
from tests.faults.points import Point
from tests.faults.site import Site

PASSAGES = {Point.VCENTER_AFTER: 5, Point.API_SERVER_AFTER: 15, Point.COMMIT_AFTER: 30}
"""Passages that a gateway comes to while a single control plane is replaced are at most these."""
NAME = "again"


def replace(site: Site) -> None:
    """Ask until it is taken up; return when the old one is gone and the cluster is Ready."""
    (old,) = site.machines()
    taken: list[bool] = []

    def is_gone() -> bool:
        if old not in site.machines():
            return True
        if not taken and site.can("machines", "delete", old, "--yes", "--timeout-s", "3"):
            taken.append(True)
        return False

    site.until(is_gone, f"{old} is replaced", PATIENCE_S)
    await_ready(site, NAME, 1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_control_plane_is_replaced_once_whenever_the_gateway_dies(place: Place) -> None:
    site, chance = place.get(), random.Random(7)  # noqa: S311 - the same kills every time
    site.apply(NAME, 0)
    await_ready(site, NAME, 1)
    reached = 0

    for point, most in PASSAGES.items():
        kill = Kill(Step.UP, Victim.GATEWAY, point, chance.randint(1, most))
        a_kill(site, kill).strike()
        replace(site)
        reached += site.gateway.board.state()[1]
        site.gateway.board.disarm()

        assert len(site.machines()) == 1, kill
        assert len(site.nodes()) == len(site.listed()) == 1, kill
        assert len(site.held()) == 2, f"{kill}: its own address, and that of the API"

    site.ask("clusters", "delete", NAME, "--yes")
    site.until(lambda: not site.listed() and not site.machines(), "nothing is left", PATIENCE_S)
    assert reached >= 2, "hardly anything has died, so that little was shown"
