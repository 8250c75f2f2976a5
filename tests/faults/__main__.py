"""``make faults RUNS=500 SEED=1``: the long run, and the replay of one of its seeds."""

import argparse
import sys

from tests.faults.runs import run_all


def main() -> int:
    """Run; the exit code is 0 only if nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has seed+1")
    parser.add_argument("--logs", default="", help="folder that keeps the logs of failed runs")
    given = parser.parse_args()
    total = run_all(given.runs, given.seed, logs=given.logs, say=_say)
    if total.seeds:
        _say(f"{total.kills} kills; went wrong: seeds {total.seeds}; each alone: --runs 1 --seed N")
    _say(total.line())
    return 0 if total.is_clean else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
