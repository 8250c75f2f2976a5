"""One life of a cluster under faults that a seed chooses, and the oracle that judges it."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from moorage.vsphere.types import OWNER_KEY
from tests.faults.kinds import Schedule, a_fault
from tests.faults.site import Site, StuckError

PATIENCE_S = 60.0


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
    strangers: dict[str, str] = {}
    schedule = Schedule([])
    first, second = chance.randint(0, 2), chance.randint(0, 3)
    steps: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
        ("create", lambda: site.apply(name, first), lambda: await_ready(site, name, 1 + first)),
        ("scale", lambda: site.apply(name, second), lambda: await_ready(site, name, 1 + second)),
        (
            "delete",
            lambda: site.ask("clusters", "delete", name, "--yes"),
            lambda: await_nothing(site, name),
        ),
    ]
    try:
        for what, ask, settle in steps:
            if what == "scale":
                strangers = _copies_by_hand(site, seed)
            chosen = [a_fault(site, chance, what) for _ in range(chance.choice((0, 1, 2, 3)))]
            told += [f"{what}: {fault.name} at {fault.after_s:.1f} s;" for fault in chosen]
            schedule = Schedule(chosen)
            site.on_look = schedule.look
            ask()
            settle()
            _heal(site, schedule)
    except StuckError as error:
        found.stuck = 1
        told.append(f"STUCK {error}")
    _heal(site, schedule)
    judge(site, found, told, strangers)
    found.kills = site.hub.deaths + site.gateway.deaths - deaths
    if not found.is_clean:
        found.seeds.append(seed)
    say(
        f"seed {seed}: {'ok' if found.is_clean else found.line()}, {found.kills} kills, "
        f"{time.monotonic() - began:.1f} s: {' '.join(told)}"
    )
    return found


def _heal(site: Site, schedule: Schedule | None = None) -> None:
    """Nothing is broken from here on."""
    if schedule is not None:
        schedule.end()
    site.on_look = lambda: None
    site.vcenter.control.clear_faults()
    site.hub.board.disarm()
    site.gateway.board.disarm()


def await_ready(site: Site, name: str, nodes: int) -> None:
    """Wait until the cluster is Ready with exactly these nodes, and vCenter has their VMs."""

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
            and set(site.machines().values()) <= set(site.vms())
        )

    site.until(is_ready, f"{name} is Ready with {nodes} nodes", PATIENCE_S)


def await_nothing(site: Site, name: str) -> None:
    """Wait until neither side knows anything of the cluster."""

    def is_gone() -> bool:
        return not any(
            name in one
            for side in (site.hub, site.gateway)
            for names in site.stored(side).values()
            for one in names
        )

    site.until(is_gone, f"{name} is gone", PATIENCE_S)


def _copies_by_hand(site: Site, seed: int) -> dict[str, str]:
    """Let an administrator copy a node, twice, once under a name as we give; UUIDs and names.

    A copy bears the mark of what it is a copy of. It is nobody's to delete but that person's.
    """
    moref = next(iter(site.morefs().values()))
    names = {site.vcenter.control.clone_vm(moref, name): name
             for name in (f"copy-of-a-node-{seed}", f"run-{seed}-workers-0123456789")}  # fmt: skip
    by_moref = {moref: uuid for uuid, moref in site.morefs().items()}
    return {by_moref[moref]: name for moref, name in names.items()}


def judge(site: Site, found: Verdict, told: list[str], strangers: dict[str, str]) -> None:
    """Hold vCenter's own ledger against what the product says."""
    vms = site.vms()
    lost = [name for uuid, name in strangers.items() if vms.pop(uuid, None) != name]
    for uuid, moref in site.morefs().items():
        if uuid in strangers:
            site.vcenter.control.destroy_vm(moref)
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
    left |= {f"VM {name}" for name in vms.values()}
    left |= {f"lost: {name}, which was not ours to touch" for name in lost}
    left |= {f"file {file}" for file in ledger.stray_files()}
    left |= {f"guest {guest.name}" for guest in site.vcenter.guests.guests()}
    found.leaks = len(left)
    told += [f"LEFT {one}" for one in sorted(left)]
    told += [f"DUPLICATE {one}" for one in duplicates]
    told += [f"ORPHAN {one}" for one in orphans]
