"""What can break, when, and for how long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moorage_lab.errors import LabError
from tests.faults.kills import Kill, Step, Victim
from tests.faults.points import Point
from tests.faults.site import FOLDER, Site

if TYPE_CHECKING:
    from tests.faults.children import Child

_METHODS = ("CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "ReconfigVM_Task",
            "RetrievePropertiesEx", "FindAllByUuid", "WaitForUpdatesEx", "*")  # fmt: skip
_PASSAGES = {
    Step.CREATE: (20, 40, 250),
    Step.UP: (10, 20, 120),
    Step.DOWN: (10, 20, 80),
    Step.DELETE: (10, 2, 110),
}
"""About how often an undisturbed step passes a point: vCenter's, the API server's, commits."""
_HUB_POINTS = (Point.COMMIT_BEFORE, Point.COMMIT_AFTER)
_DATASTORE = "/dc1/datastore/ds1"


@dataclass
class Fault:
    """One thing that breaks, some time after a step has begun, and may be mended later."""

    after_s: float
    name: str
    strike: Callable[[], None]
    mend: Callable[[], None] | None = None
    lasts_s: float = 0.0


@dataclass
class Schedule:
    """Lets faults happen at their moments."""

    waiting: list[Fault]
    began: float = field(default_factory=time.monotonic)
    to_mend: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def look(self) -> None:
        """Strike and mend what is due."""
        now = time.monotonic() - self.began
        for fault in [one for one in self.waiting if one.after_s <= now]:
            self.waiting.remove(fault)
            fault.strike()
            if fault.mend is not None:
                self.to_mend.append((now + fault.lasts_s, fault.mend))
        for due in [one for one in self.to_mend if one[0] <= now]:
            self.to_mend.remove(due)
            due[1]()

    def end(self) -> None:
        """Mend all that is broken; nothing more strikes."""
        self.waiting.clear()
        while self.to_mend:
            self.to_mend.pop()[1]()


def a_fault(site: Site, chance: random.Random, step: Step) -> Fault:
    """Choose a fault for a step."""
    victims = {
        "gateway": (Victim.GATEWAY,),
        "hub": (Victim.HUB,),
        "both": (Victim.GATEWAY_FIRST, Victim.HUB_FIRST),
    }
    others = {
        "call": _a_lost_call,
        "vcenter": _vcenter_away,
        "unknown": _a_blurred_sight,
        "estate": _an_administrators_hand,
    }
    kinds = ("gateway", "gateway", "gateway", "hub", "both", "call", "call", "vcenter", "estate",
             "unknown")  # fmt: skip
    kind = chance.choice(kinds)
    if kind in victims:
        return a_kill(site, _any_kill(chance, step, victims[kind]))
    return others[kind](site, chance)


def a_kill(site: Site, kill: Kill) -> Fault:
    """Arm the point when the step begins, so that its passages are counted from there."""
    sides: dict[str, Child] = {side.name: side for side in (site.hub, site.gateway)}

    def strike() -> None:
        along = sides[kill.victim.along].pid if kill.victim.along else 0
        sides[kill.victim.first].board.arm(kill.point, kill.passage, along)

    return Fault(0.0, str(kill), strike)


def _any_kill(chance: random.Random, step: Step, victims: tuple[Victim, ...]) -> Kill:
    victim = chance.choice(victims)
    point = chance.choice(_HUB_POINTS if victim.first == "hub" else tuple(Point))
    passages = _PASSAGES[step][point // 2] // (2 if victim.first == "hub" else 1)
    return Kill(step, victim, point, chance.randint(1, passages))


def _a_blurred_sight(site: Site, chance: random.Random) -> Fault:
    """What is there cannot be told: a gateway that has just begun, answers in pieces, late, cut."""
    after_s, lasts_s = chance.uniform(0, 1.0), chance.uniform(0.5, 3)
    control = site.vcenter.control

    def begin_anew() -> None:
        control.set_limits(updatesPerAnswer=1)
        control.fault("WaitForUpdatesEx", "delay", seconds=0.1, count=20)
        site.gateway.kill()

    def see() -> None:
        control.set_limits(updatesPerAnswer=0)
        control.clear_faults()

    if chance.choice((True, False)):
        return Fault(after_s, f"first sync of {lasts_s:.1f} s", begin_anew, see, lasts_s)
    after = chance.randint(0, 3)
    return Fault(
        0.0,
        f"truncate(WaitForUpdatesEx,{after})",
        lambda: control.fault("WaitForUpdatesEx", "truncate", after=after),
    )


def _a_lost_call(site: Site, chance: random.Random) -> Fault:
    method, action = chance.choice(_METHODS), chance.choice(("dropAnswer", "dieBefore", "truncate"))
    after = chance.randint(0, 2)
    return Fault(
        0.0,
        f"{action}({method},{after})",
        lambda: site.vcenter.control.fault(method, action, after=after),
    )


def _vcenter_away(site: Site, chance: random.Random) -> Fault:
    after_s, control = chance.uniform(0, 1.5), site.vcenter.control
    if chance.choice((True, False)):
        return Fault(after_s, "sessions expire", control.expire_sessions)
    seconds = round(chance.uniform(0.2, 1.5), 1)

    def go_away() -> None:
        try:
            control.restart(seconds)
        except LabError as error:
            if "restarting already" not in str(error):  # drawn twice, it is away by now
                raise

    return Fault(after_s, f"vCenter away {seconds} s", go_away)


def _an_administrators_hand(site: Site, chance: random.Random) -> Fault:
    after_s, lasts_s = chance.uniform(0, 1.5), chance.uniform(0.5, 3)
    control, user = site.vcenter.control, site.vcenter.user
    pick = chance.random()

    def on_a_vm(act: Callable[[str], None]) -> None:
        found = sorted(site.nodes().values())
        if found:
            act(found[int(pick * len(found))])

    match chance.choice(("hidden", "full", "disconnected", "moved", "renamed")):
        case "hidden":
            return Fault(
                after_s,
                "folder hidden",
                lambda: control.grant(user, "NoAccess", FOLDER),
                lambda: control.withdraw(user, FOLDER),
                lasts_s,
            )
        case "full":
            return Fault(
                after_s,
                "datastore full",
                lambda: control.set_datastore(_DATASTORE, free_gib=0),
                lambda: control.set_datastore(_DATASTORE, free_gib=2000),
                lasts_s,
            )
        case "disconnected":
            host = site.a_host(pick)
            return Fault(
                after_s,
                "host disconnected",
                lambda: control.set_host(host, "disconnected"),
                lambda: control.set_host(host, "connected"),
                lasts_s,
            )
        case "moved":
            return Fault(
                after_s, "VM moved", lambda: on_a_vm(lambda vm: control.move_vm(vm, "/dc1/vm"))
            )
    return Fault(
        after_s,
        "VM renamed",
        lambda: on_a_vm(lambda vm: control.rename_vm(vm, f"renamed {pick:.6f}")),
    )
