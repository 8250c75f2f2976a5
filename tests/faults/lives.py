"""One life of a cluster: created, scaled up, scaled down and deleted, while something breaks."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.faults.judge import Strangers, Verdict, Witness, judge
from tests.faults.kills import Census, Kill, Step
from tests.faults.kinds import Fault, Schedule, a_fault, a_kill
from tests.faults.site import Site, StuckError

if TYPE_CHECKING:
    from tests.faults.points import Point

PATIENCE_S = 180.0
"""Far beyond what a life takes: on a busy machine a step may take half a minute."""


class Plan(Protocol):
    """What breaks in a life, and how big the cluster is meanwhile."""

    @property
    def name(self) -> str:
        """Of the cluster."""
        ...

    @property
    def replay(self) -> str:
        """Arguments of ``python -m tests.faults`` that play this life again."""
        ...

    @property
    def workers(self) -> tuple[int, int, int]:
        """At first, after the way up, and after the way down."""
        ...

    def faults(self, site: Site, step: Step) -> list[Fault]:
        """Return what breaks in a step."""
        ...


@dataclass(frozen=True)
class Killing:
    """A life with enumerated kills, at most one in a step."""

    kills: tuple[Kill, ...]
    workers: tuple[int, int, int] = (1, 2, 1)

    @property
    def name(self) -> str:
        words = "-".join(str(kill.passage) for kill in self.kills)
        return f"kills-{words}" if words else "undisturbed"

    @property
    def replay(self) -> str:
        return " ".join(["--kills", *map(str, self.kills)])

    def faults(self, site: Site, step: Step) -> list[Fault]:
        return [a_kill(site, kill) for kill in self.kills if kill.step is step]


class Chances:
    """A life whose faults and sizes a seed chooses."""

    def __init__(self, seed: int) -> None:
        self.name = f"run-{seed}"
        self.replay = f"--seed {seed}"
        self._chance = random.Random(seed)  # noqa: S311 - the same seed, the same faults
        least, most = sorted(self._chance.choices(range(3), k=2))
        self.workers = (least, most + 1, self._chance.randint(0, most))

    def faults(self, site: Site, step: Step) -> list[Fault]:
        number = self._chance.choice((0, 1, 1, 2, 3))
        return [a_fault(site, self._chance, step) for _ in range(number)]


def live(site: Site, plan: Plan, say: Callable[[str], None]) -> Verdict:
    """Live one life, and judge it. In the end nothing of it is left, or the verdict says what."""
    began, before = time.monotonic(), Witness.look(site)
    deaths = site.hub.deaths + site.gateway.deaths
    found, told, strangers = Verdict(runs=1), [""], Strangers(site)
    try:
        for step, act in _steps(site, plan, strangers, before):
            chosen = plan.faults(site, step)
            told.append(f"{step}: " + "".join(f"{fault.name}, " for fault in chosen))
            start = time.monotonic()
            with breaking(site, chosen, found):
                act()
            told[-1] += f"{time.monotonic() - start:.1f} s;"
    except StuckError as error:
        found.stuck = 1
        told.append(f"STUCK {error}")
    judge(site, found, told, strangers, before)
    found.kills = site.hub.deaths + site.gateway.deaths - deaths
    if not found.is_clean:
        found.replays.append(plan.replay)
    say(
        f"{'ok  ' if found.is_clean else 'FAIL'} {time.monotonic() - began:4.1f} s, "
        f"{found.kills} deaths, {plan.replay}{' '.join(told)}"
    )
    return found


def count_passages(site: Site, say: Callable[[str], None]) -> Census:
    """Live a life that nothing disturbs, and count how often each step passes each point."""
    sides = (site.hub, site.gateway)
    census: dict[Step, dict[str, dict[Point, int]]] = {}
    strangers, before = Strangers(site), Witness.look(site)
    for step, act in _steps(site, Killing(()), strangers, before):
        already = {side.name: side.board.passed() for side in sides}
        act()
        census[step] = {
            side.name: {
                point: passed - already[side.name][point]
                for point, passed in side.board.passed().items()
            }
            for side in sides
        }
        for name, passed in census[step].items():
            say(f"{step}: the {name} passes "
                + ", ".join(f"{point.name} {n}" for point, n in passed.items() if n))  # fmt: skip
    strangers.leave()
    return census


def await_ready(site: Site, name: str, nodes: int) -> None:
    """Wait until the cluster is Ready with exactly these nodes, and vCenter has their VMs."""

    def is_ready() -> bool:
        seen = site.cluster(name)
        if seen is None:
            return False
        generation, status = seen
        return bool(
            status.get("nodes") == nodes
            and status.get("observedGeneration") == generation
            and any(c["type"] == "Ready" and c["status"] == "True"
                    for c in status.get("conditions", ()))
            and len(site.machines()) == nodes == len(site.nodes())
        )  # fmt: skip

    site.until(is_ready, f"{name} is Ready with {nodes} nodes", PATIENCE_S)


def await_nothing(site: Site, before: Witness) -> None:
    """Wait until both sides know of nothing more than before."""

    def left() -> list[str]:
        return [one for side in (site.hub, site.gateway) for row in sorted(site.rows(side))
                if (one := f"{side.name} {row}") not in before.things]  # fmt: skip

    try:
        site.until(lambda: not left(), "nothing is left", PATIENCE_S)
    except StuckError as error:
        raise StuckError(f"{error}: {', '.join(left())}") from error


def _steps(
    site: Site, plan: Plan, strangers: Strangers, before: Witness
) -> Iterator[tuple[Step, Callable[[], None]]]:
    """Yield each step and what does it and waits for its end; strangers come between them."""
    name = plan.name
    first, high, low = plan.workers

    def sized(workers: int) -> Callable[[], None]:
        def act() -> None:
            site.apply(name, workers)
            await_ready(site, name, 1 + workers)

        return act

    def delete() -> None:
        site.ask("clusters", "delete", name, "--yes")
        await_nothing(site, before)

    yield Step.CREATE, sized(first)
    strangers.appear(name)
    yield Step.UP, sized(high)
    strangers.back_up(name)
    yield Step.DOWN, sized(low)
    strangers.restore(name)
    yield Step.DELETE, delete


@contextmanager
def breaking(site: Site, faults: list[Fault], found: Verdict) -> Iterator[None]:
    """Let faults strike while the block runs. Nothing is broken after it, however it ends."""
    schedule = Schedule(faults)
    site.on_look = schedule.look
    try:
        yield
    finally:
        site.on_look = lambda: None
        schedule.end()
        site.vcenter.control.clear_faults()
        for side in (site.hub, site.gateway):
            armed, reached = side.board.state()
            found.reached += reached
            found.missed += armed - reached
            side.board.disarm()
