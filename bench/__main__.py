"""Run benchmarks: ``python -m bench [--long] [--only NAME …] [--list] [--profile DIR]``.

Results go to ``bench/results/latest.json``: what it held of the same cases goes, other cases stay.
A table of what was measured comes last, budgets beside the figures. The exit code is 1 when a
budget is exceeded.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import fleet, hub, memory, real, restart, tasktimes
from bench.derived import derive
from bench.page import write_page
from bench.result import LATEST, Report, merge, read, say, table, write
from bench.system import profile_into


@dataclass(frozen=True)
class Part:
    """Cases that are measured together."""

    run: Callable[[Report], None]
    what: str
    is_long: bool = False
    """Left out unless ``--long`` or its name is said."""
    is_apart: bool = False
    """Left out unless its name is said."""


PARTS = {
    "memory": Part(memory.memory, "memory and start of hub and gateway"),
    "one": Part(fleet.one, "1 x (1 + 3), 1 x (3 + 10), 100 more workers"),
    "many": Part(fleet.many, "10 and 50 x (1 + 3): made, idle, gateway restarted, deleted"),
    "tasktimes": Part(tasktimes.tasktimes, "100 more workers with tasks that take their time"),
    "foreign": Part(restart.foreign, "a vCenter with 5,000 VMs of others"),
    "hub": Part(hub.on_sqlite, "a hub with 10,000 clusters on SQLite"),
    "hub-postgresql": Part(hub.on_postgresql, "the same on PostgreSQL"),
    "real": Part(real.real, "3 + 3 real nodes against bare kubeadm (root)", is_apart=True),
    "two-hundred": Part(fleet.two_hundred, "200 x (1 + 3): made, idle, deleted", is_long=True),
    "thousand": Part(fleet.thousand, "1,000 x (1 + 3), 4,000 machines", is_long=True),
    "foreign-long": Part(restart.foreign_long, "the same with 20,000", is_long=True),
    "thousand-workers": Part(fleet.thousand_workers, "1,000 more workers", is_long=True),
}


def main() -> int:
    """Run what is asked for."""
    asked = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Whoever ends this wants the processes that it started ended too; SIGINT is ignored in
        # what a shell starts in the background.
        signal.signal(number, lambda *_: sys.exit(1))
    if asked.list:
        for name, part in PARTS.items():
            print(f"{name:18} {part.what}{_when(part)}")
        return 0
    if asked.profile:
        profile_into(asked.profile)
    names = asked.only or [
        name
        for name, part in PARTS.items()
        if not part.is_apart and (asked.long or not part.is_long)
    ]
    report, begun = Report(), time.monotonic()
    for name in names:
        say(f"{name}: {PARTS[name].what}")
        already = len(report.results)
        PARTS[name].run(report)
        # At once, so that a later part that cannot be run takes nothing with it.
        write(merge(report.results[already:], read(asked.results)), asked.results)
    if asked.results == LATEST:
        write_page(read())
    report.results += derive(report.results)
    say(f"done in {time.monotonic() - begun:.0f} s")
    print(table(sorted(report.results, key=lambda result: result.case)))
    exceeded = [result for result in report.results if not result.is_kept]
    print(f"{len(report.results)} figures, {len(exceeded)} beyond their budget")
    return 1 if exceeded else 0


def _when(part: Part) -> str:
    if part.is_apart:
        return " (only by name)"
    return " (long)" if part.is_long else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--long", action="store_true", help="the long parts too (hours)")
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="NAME", help="this part, repeatable"
    )
    parser.add_argument("--list", action="store_true", help="name the parts")
    parser.add_argument("--results", type=Path, default=LATEST, help="file of results")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="sample hub and gateway (bench/profiler)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
