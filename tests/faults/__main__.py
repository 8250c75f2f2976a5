"""``make faults RUNS=500 SEED=1``: the long run; and the replay of any life of it.

Without ``--kills``, ``--enumerate`` and ``--runs`` one life is lived: that of the seed.
"""

import argparse
import random
import sys
from collections.abc import Sequence

from tests.faults.judge import Verdict
from tests.faults.kills import Kill, Step, all_kills, into_lives
from tests.faults.lives import Chances, Killing, Plan
from tests.faults.runs import mixed, run_all, say, take_census


def main() -> int:
    """Run; the exit code is 0 only if nothing went wrong."""
    given = _arguments()
    plans: Sequence[Plan]
    if given.kills:
        plans = [Killing(tuple(given.kills))]
    elif given.enumerate:
        plans = _enumerated(given)
    elif given.runs > 1:
        plans = mixed(take_census(say), given.runs, given.seed)
    else:
        plans = [Chances(given.seed)]
    total = run_all(plans, jobs=given.jobs, logs=given.logs)
    _tell(total)
    return 0 if total.is_clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="lives: enumerated and random kills")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first life; the next has seed+1"
    )
    parser.add_argument("--jobs", type=int, default=4, help="installations side by side")
    parser.add_argument("--logs", default="", help="folder that keeps the logs of failed lives")
    parser.add_argument("--kills", nargs="+", type=Kill.parse, metavar="STEP:VICTIM:POINT:PASSAGE",
                        help="one life with these kills")  # fmt: skip
    parser.add_argument("--enumerate", action="store_true", help="all kills that a census counts")
    parser.add_argument("--every", type=int, default=1, help="only each N-th of them")
    parser.add_argument("--step", type=Step, choices=list(Step), help="only of this step")
    parser.add_argument("--process", choices=("gateway", "hub", "both"), help="only of this one")
    return parser.parse_args()


def _enumerated(given: argparse.Namespace) -> Sequence[Plan]:
    there = [
        kill
        for kill in all_kills(take_census(say))
        if given.step in (None, kill.step)
        and given.process in (None, "both" if kill.victim.along else kill.victim.first)
    ]
    drawn = there[:: given.every]
    lives = into_lives(drawn, random.Random(given.seed))  # noqa: S311 - only an order
    say(f"{len(there)} kill points, {len(drawn)} of them drawn, in {len(lives)} lives")
    return [Killing(kills) for kills in lives]


def _tell(total: Verdict) -> None:
    for replay in total.replays:
        say(f"again: python -m tests.faults {replay}")
    say(f"{total.reached} kill points hit, {total.missed} not reached; {total.kills} deaths")
    say(total.line())


if __name__ == "__main__":
    sys.exit(main())
