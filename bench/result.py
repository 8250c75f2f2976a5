"""Figures, their budgets, and the file that keeps them."""

import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

LATEST = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True)
class Result:
    """One figure. ``budget`` is the most that it may be, where the design sets one."""

    case: str
    metric: str
    value: float
    unit: str
    budget: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the budget holds."""
        return self.budget is None or self.value <= self.budget


@dataclass
class Report:
    """Collects the figures of a run; ``say`` tells progress on standard error."""

    results: list[Result] = field(default_factory=list)

    def add(
        self, case: str, metric: str, value: float, unit: str, budget: float | None = None
    ) -> None:
        """Keep one figure."""
        digits = 3 if abs(value) < 10 else 2  # noqa: PLR2004 - what a reader can tell apart
        self.results.append(Result(case, metric, round(value, digits), unit, budget))

    def add_machine(self, case: str) -> None:
        """Keep what the machine is, and what it had to do besides: read the figures with it."""
        python = float(".".join(platform.python_version_tuple()[:2]))
        self.add(case, "machine: load average, 1 min", os.getloadavg()[0], "processes")
        self.add(case, "machine: processors", float(os.cpu_count() or 0), "processors")
        self.results.append(Result(case, "machine: Python", python, "version"))


def say(text: str) -> None:
    """Tell progress."""
    sys.stderr.write(f"== {text}\n")
    sys.stderr.flush()


def read(file: Path = LATEST) -> list[Result]:
    """Return the results of a file; none when it is not there."""
    held = json.loads(file.read_text()) if file.exists() else []
    return [Result(**result) for result in held]


def merge(fresh: Iterable[Result], held: Iterable[Result]) -> list[Result]:
    """Return all results by case: what was held of a case that is measured again goes."""
    new = list(fresh)
    cases = {result.case for result in new}
    kept = [result for result in held if result.case not in cases]
    return sorted([*kept, *new], key=lambda result: result.case)


def write(results: Iterable[Result], file: Path = LATEST) -> None:
    """Write the file, one figure a line."""
    lines = [f"  {json.dumps(asdict(result))}" for result in results]
    file.parent.mkdir(exist_ok=True)
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def table(results: Iterable[Result]) -> str:
    """Return a table for people, budgets beside the figures."""
    rows = []
    for result in results:
        budget = "" if result.budget is None else f"(budget {result.budget:g})"
        mark = "" if result.is_kept else "  EXCEEDED"
        rows.append(
            f"{result.case:26} {result.metric:44} {result.value:>10g} {result.unit:14} "
            f"{budget}{mark}".rstrip()
        )
    return "\n".join(rows)
