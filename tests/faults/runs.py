"""Many lives, in as many installations side by side as are worth it."""

import multiprocessing
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.faults.judge import Verdict, judge_sessions
from tests.faults.kills import Census, all_kills, into_lives
from tests.faults.lives import Chances, Killing, Plan, count_passages, live
from tests.faults.site import Site, StuckError

_LIVES_OF_A_SITE = 40
"""The ledger keeps all that ever was; a new installation begins with an empty one."""

Say = Callable[[str], None]


def say(text: str) -> None:
    """Print a line at once: several processes write to the same place."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def take_census(tell: Say) -> Census:
    """Count the passages of one undisturbed life, in an installation of its own."""
    with _installation() as (_, site):
        return count_passages(site, tell)


def mixed(census: Census, runs: int, seed: int) -> list[Plan]:
    """Return lives of which each second has enumerated kills and the others what chance brings.

    Enumerated kills are drawn without repetition, as long as there are any.
    """
    chance = random.Random(seed)  # noqa: S311 - the same seed, the same order
    lives = iter(into_lives(all_kills(census), chance))
    plans: list[Plan] = []
    for number in range(runs):
        kills = next(lives, None) if number % 2 else None
        plans.append(Chances(seed + number) if kills is None else Killing(kills))
    return plans


def run_all(plans: Sequence[Plan], *, jobs: int, logs: str, tell: Say = say) -> Verdict:
    """Live all lives; return what they showed together.

    Args:
        plans: One for each life.
        jobs: Installations that work side by side; each life has one for itself meanwhile.
        logs: Folder that keeps what installations wrote in which something went wrong, or "".
        tell: Told a line of each life; with more than one job they print for themselves.
    """
    if min(jobs, len(plans)) < 2:
        return _run(plans, logs, tell)
    total = Verdict()
    slices = [plans[number::jobs] for number in range(jobs)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        for done in [pool.submit(_run, part, logs, say) for part in slices]:
            total.add(done.result())
    return total


def _run(plans: Sequence[Plan], logs: str, tell: Say) -> Verdict:
    """One after the other in one installation; after one that went wrong, in a new one."""
    total, waiting = Verdict(), list(plans)
    while waiting:
        with _installation() as (folder, site):
            for _ in range(min(_LIVES_OF_A_SITE, len(waiting))):
                plan = waiting.pop(0)
                found = live(site, plan, tell)
                total.add(found)
                if not found.is_clean:
                    break
            if found.is_clean:
                found = _end(site, plan, tell)
                total.add(found)
            if logs and not found.is_clean:
                shutil.copytree(folder, Path(logs) / plan.name, dirs_exist_ok=True)
    return total


def _end(site: Site, last: Plan, tell: Say) -> Verdict:
    """Judge what shows only when an installation ends; the last life of it is what is told."""
    found, told = Verdict(), list[str]()
    try:
        judge_sessions(site, found, told)
    except StuckError as error:
        found.stuck = 1
        told.append(f"STUCK {error}")
    if not found.is_clean:
        found.replays.append(last.replay)
        tell(f"FAIL at the end, after {last.replay}: {' '.join(told)}")
    return found


@contextmanager
def _installation() -> Iterator[tuple[Path, Site]]:
    folder = Path(tempfile.mkdtemp(prefix="moorage-faults-"))
    try:
        with Site.start(folder) as site:
            yield folder, site
    finally:
        shutil.rmtree(folder)
