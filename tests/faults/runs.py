"""One life of a cluster under faults that a seed chooses, and the oracle that judges it."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from moorage.vsphere.types import OWNER_KEY
from tests.faults.children import Child
from tests.faults.points import Point
from tests.faults.site import Site, StuckError

PATIENCE_S = 60.0
_METHODS = ("CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "ReconfigVM_Task",
            "RetrievePropertiesEx", "FindAllByUuid", "WaitForUpdatesEx", "*")  # fmt: skip
_PASSAGES = {"create": (20, 40, 250), "scale": (10, 20, 120), "delete": (10, 2, 110)}
"""How often a step of an undisturbed run passes a point: vCenter's, the API server's, commits."""
_HUB_POINTS = (Point.COMMIT_BEFORE, Point.COMMIT_AFTER)


@dataclass
class Verdict:
    """What one run, or many, showed."""

    runs: int = 0
    duplicates: int = 0
    orphans: int = 0
    leaks: int = 0
    stuck: int = 0
    kills: int = 0
    seeds: list[int] = field(default_factory=list)
    """Of the runs that went wrong."""

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.duplicates or self.orphans or self.leaks or self.stuck)

    def add(self, other: "Verdict") -> None:
        """Take in another run."""
        for name in ("runs", "duplicates", "orphans", "leaks", "stuck", "kills"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seeds.extend(other.seeds)

    def line(self) -> str:
        """Return the last line of a long run."""
        return (
            f"{self.runs} runs, {self.duplicates} duplicates, {self.orphans} orphans, "
            f"{self.leaks} leaks, {self.stuck} stuck"
        )


@dataclass
class Fault:
    """One thing that breaks, some time after a step has begun."""

    after_s: float
    name: str
    strike: Callable[[], None]


def run_all(runs: int, seed: int, *, logs: str, say: Callable[[str], None]) -> Verdict:
    """Do runs one after the other in one installation; after one that went wrong, in a new one."""
    total = Verdict()
    next_seed = seed
    while total.runs < runs:
        folder = Path(tempfile.mkdtemp(prefix="moorage-faults-"))
        with Site.start(folder) as site:
            while total.runs < runs:
                found = one_run(site, next_seed, say)
                total.add(found)
                next_seed += 1
                if not found.is_clean:
                    break
        if logs and not found.is_clean:
            shutil.copytree(folder, Path(logs) / f"seed-{next_seed - 1}", dirs_exist_ok=True)
        shutil.rmtree(folder)
    return total


def one_run(site: Site, seed: int, say: Callable[[str], None]) -> Verdict:
    """Create, scale and delete one cluster under the faults of this seed."""
    chance = random.Random(seed)  # noqa: S311 - the same seed, the same faults
    began = time.monotonic()
    deaths = site.hub.deaths + site.gateway.deaths
    name = f"run-{seed}"
    found = Verdict(runs=1)
    told: list[str] = []
    first, second = chance.randint(0, 2), chance.randint(0, 3)
    steps: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
        ("create", lambda: site.apply(name, first), lambda: _await_ready(site, name, 1 + first)),
        ("scale", lambda: site.apply(name, second), lambda: _await_ready(site, name, 1 + second)),
        (
            "delete",
            lambda: site.ask("clusters", "delete", name, "--yes"),
            lambda: _await_nothing(site, name),
        ),
    ]
    try:
        for what, ask, settle in steps:
            faults = [_a_fault(site, chance, what) for _ in range(chance.choice((0, 1, 2, 3)))]
            told += [f"{what}: {fault.name} at {fault.after_s:.1f} s;" for fault in faults]
            _strike_on_time(site, faults)
            ask()
            settle()
            _heal(site)
    except StuckError as error:
        found.stuck = 1
        told.append(f"STUCK {error}")
    _heal(site)
    _judge(site, found, told)
    found.kills = site.hub.deaths + site.gateway.deaths - deaths
    if not found.is_clean:
        found.seeds.append(seed)
    say(
        f"seed {seed}: {'ok' if found.is_clean else found.line()}, {found.kills} kills, "
        f"{time.monotonic() - began:.1f} s: {' '.join(told)}"
    )
    return found


def _a_fault(site: Site, chance: random.Random, step: str) -> Fault:
    after_s = chance.uniform(0, 1.5)
    match chance.choice(("gateway", "gateway", "gateway", "hub", "call", "call", "vcenter")):
        case "gateway":
            point = chance.choice(list(Point))
            return _a_kill(site.gateway, point, chance.randint(1, _PASSAGES[step][point // 2]))
        case "hub":
            point = chance.choice(_HUB_POINTS)
            return _a_kill(site.hub, point, chance.randint(1, _PASSAGES[step][point // 2] // 2))
        case "call":
            method, action = chance.choice(_METHODS), chance.choice(("dropAnswer", "dieBefore"))
            after = chance.randint(0, 2)
            return Fault(
                0.0,
                f"{action}({method},{after})",
                lambda: site.vcenter.control.fault(method, action, after=after),
            )
    if chance.choice((True, False)):
        return Fault(after_s, "sessions expire", site.vcenter.control.expire_sessions)
    seconds = round(chance.uniform(0.2, 1.5), 1)
    return Fault(
        after_s, f"vCenter away {seconds} s", lambda: site.vcenter.control.restart(seconds)
    )


def _a_kill(child: Child, point: Point, passage: int) -> Fault:
    return Fault(
        0.0, f"{child.name} dies at {point.name} {passage}", lambda: child.board.arm(point, passage)
    )


def _strike_on_time(site: Site, faults: list[Fault]) -> None:
    began = time.monotonic()
    waiting = sorted(faults, key=lambda fault: fault.after_s)

    def look() -> None:
        while waiting and time.monotonic() - began >= waiting[0].after_s:
            waiting.pop(0).strike()

    site.on_look = look


def _heal(site: Site) -> None:
    """Nothing more breaks from here on."""
    site.on_look = lambda: None
    site.vcenter.control.clear_faults()
    site.hub.board.disarm()
    site.gateway.board.disarm()


def _await_ready(site: Site, name: str, nodes: int) -> None:
    def is_ready() -> bool:
        seen = site.seen("clusters", "describe", name)
        if seen is None:
            return False
        ready = any(c["type"] == "Ready" and c["status"] == "True"
                    for c in seen["status"].get("conditions", ()))  # fmt: skip
        return bool(
            ready
            and seen["status"].get("nodes") == nodes
            and seen["status"].get("observedGeneration") == seen["metadata"]["generation"]
            and len(site.machines()) == nodes
            and site.machines() == {n: u.lower() for n, u in site.vms().items()}
        )

    site.until(is_ready, f"{name} is Ready with {nodes} nodes", PATIENCE_S)


def _await_nothing(site: Site, name: str) -> None:
    def is_gone() -> bool:
        return not any(
            name in one
            for side in (site.hub, site.gateway)
            for names in site.stored(side).values()
            for one in names
        )

    site.until(is_gone, f"{name} is gone", PATIENCE_S)


def _judge(site: Site, found: Verdict, told: list[str]) -> None:
    """Hold vCenter's own ledger against what the product says."""
    ledger = site.vcenter.control.ledger()
    duplicates = ledger.duplicates(OWNER_KEY)
    orphans = ledger.orphans(OWNER_KEY, set(site.machines().values()))
    found.duplicates, found.orphans = len(duplicates), len(orphans)
    if found.stuck:
        return
    left = {
        f"{side.name} {kind} {name}"
        for side in (site.hub, site.gateway)
        for kind, names in site.stored(side).items()
        for name in names
    }
    left |= {f"VM {name}" for name in site.vms()}
    left |= {f"file {file}" for file in ledger.stray_files()}
    left |= {f"guest {guest.name}" for guest in site.vcenter.guests.guests()}
    found.leaks = len(left)
    told += [f"LEFT {one}" for one in sorted(left)]
    told += [f"DUPLICATE {one}" for one in duplicates]
    told += [f"ORPHAN {one}" for one in orphans]
