"""What cannot be seen is not gone: no second VM, no address given back, while nobody can tell."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.conftest import Place
from tests.faults.judge import Strangers, Verdict, Witness, judge
from tests.faults.kills import Step
from tests.faults.kinds import Fault
from tests.faults.lives import await_nothing, await_ready, live
from tests.faults.site import FOLDER, Site

PATIENCE_S = 180.0


@dataclass(frozen=True)
class Blurred:
    """A life in which one thing makes it hard to see, from one step on."""

    name: str
    step: Step
    strike: Callable[[Site], None]
    workers: tuple[int, int, int] = (1, 2, 0)
    replay: str = "(see the test)"

    def faults(self, site: Site, step: Step) -> list[Fault]:
        return [Fault(0.0, self.name, lambda: self.strike(site))] if step is self.step else []


def _move_all(site: Site) -> None:
    for moref in site.nodes().values():
        site.vcenter.control.move_vm(moref, "/dc1/vm")
    site.gateway.kill()


def _cut(site: Site) -> None:
    site.vcenter.control.fault("WaitForUpdatesEx", "truncate", count=3)
    site.gateway.kill()


def _hide(site: Site) -> Callable[[], None]:
    control, user = site.vcenter.control, site.vcenter.user
    control.grant(user, "NoAccess", FOLDER)
    return lambda: control.withdraw(user, FOLDER)


def _never_sync(site: Site) -> Callable[[], None]:
    control = site.vcenter.control
    control.set_limits(updatesPerAnswer=1)
    control.fault("WaitForUpdatesEx", "delay", seconds=5, count=1000)

    def see() -> None:
        control.set_limits(updatesPerAnswer=0)
        control.clear_faults()

    return see


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "plan",
    [
        Blurred("moved-before-up", Step.UP, _move_all),
        Blurred("moved-before-down", Step.DOWN, _move_all),
        Blurred("moved-before-delete", Step.DELETE, _move_all),
        Blurred("cut-in-create", Step.CREATE, _cut),
        Blurred("cut-in-delete", Step.DELETE, _cut),
    ],
    ids=lambda plan: plan.name,
)
def test_a_moved_vm_and_cut_updates_make_no_second_vm(place: Place, plan: Blurred) -> None:
    told: list[str] = []

    found = live(place.get(), plan, told.append)

    if not found.is_clean:
        place.leave()
    assert found.is_clean, "\n".join(told)
    assert found.kills == 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("blur", [_hide, _never_sync], ids=["hidden", "first-sync-not-complete"])
def test_nothing_is_deleted_that_a_new_gateway_cannot_see(
    place: Place, blur: Callable[[Site], Callable[[], None]]
) -> None:
    site, name = place.get(), "unseen"
    before, strangers = Witness.look(site), Strangers(site)
    site.apply(name, 1)
    await_ready(site, name, 2)
    nodes, claims = site.nodes(), site.claims()
    assert len(nodes) == 2
    assert len(claims) == 3, "two nodes and the endpoint"
    clones = site.vcenter.control.counters()["calls"].get("CloneVM_Task", 0)

    see = blur(site)
    site.gateway.kill()
    site.ask("clusters", "delete", name, "--yes")
    site.until(
        lambda: (
            [one["status"] for one in site.conditions("Machine", "VMDestroyed")]
            == ["False", "False"]
        ),
        "the gateway has looked for both VMs",
        PATIENCE_S,
    )

    assert site.nodes() == nodes
    assert site.claims() == claims
    see()
    await_nothing(site, before)
    found, told = Verdict(), list[str]()
    judge(site, found, told, strangers, before)
    assert found.is_clean, told
    assert site.vcenter.control.counters()["calls"].get("CloneVM_Task", 0) == clones
