"""What can break, when, and for how long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.children import Child
from tests.faults.points import Point
from tests.faults.site import Site

_METHODS = ("CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "ReconfigVM_Task",
            "RetrievePropertiesEx", "FindAllByUuid", "WaitForUpdatesEx", "*")  # fmt: skip
_PASSAGES = {"create": (20, 40, 250), "scale": (10, 20, 120), "delete": (10, 2, 110)}
"""How often a step of an undisturbed run passes a point: vCenter's, the API server's, commits."""
_HUB_POINTS = (Point.COMMIT_BEFORE, Point.COMMIT_AFTER)
_FOLDER, _DATASTORE = "/dc1/vm/clusters", "/dc1/datastore/ds1"


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


def a_fault(site: Site, chance: random.Random, step: str) -> Fault:
    """Choose a fault for a step: ``create``, ``scale`` or ``delete``."""
    kinds = ("gateway", "gateway", "gateway", "hub", "call", "call", "vcenter", "estate")
    match chance.choice(kinds):
        case "gateway":
            point = chance.choice(list(Point))
            return _a_kill(site.gateway, point, chance.randint(1, _PASSAGES[step][point // 2]))
        case "hub":
            point = chance.choice(_HUB_POINTS)
            return _a_kill(site.hub, point, chance.randint(1, _PASSAGES[step][point // 2] // 2))
        case "call":
            return _a_lost_call(site, chance)
        case "vcenter":
            return _vcenter_away(site, chance)
    return _an_administrators_hand(site, chance)


def _a_kill(child: Child, point: Point, passage: int) -> Fault:
    return Fault(
        0.0, f"{child.name} dies at {point.name} {passage}", lambda: child.board.arm(point, passage)
    )


def _a_lost_call(site: Site, chance: random.Random) -> Fault:
    method, action = chance.choice(_METHODS), chance.choice(("dropAnswer", "dieBefore"))
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
    return Fault(after_s, f"vCenter away {seconds} s", lambda: control.restart(seconds))


def _an_administrators_hand(site: Site, chance: random.Random) -> Fault:
    after_s, lasts_s = chance.uniform(0, 1.5), chance.uniform(0.5, 3)
    control, user = site.vcenter.control, site.vcenter.user
    pick = chance.random()

    def on_a_vm(act: Callable[[str], None]) -> None:
        ours = set(site.machines().values())
        found = sorted(moref for uuid, moref in site.morefs().items() if uuid in ours)
        if found:
            act(found[int(pick * len(found))])

    match chance.choice(("hidden", "full", "disconnected", "moved", "renamed")):
        case "hidden":
            return Fault(
                after_s,
                "folder hidden",
                lambda: control.grant(user, "NoAccess", _FOLDER),
                lambda: control.withdraw(user, _FOLDER),
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
