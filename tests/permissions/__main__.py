"""Prove the table of privileges row by row, and print it: ``python -m tests.permissions``.

A row is proven when a user who has all privileges but this one is told so, of this one alone, and
its operation is refused; an object that may not be read, when it is told as one that is not seen.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moorage.permissions import EVERY_ROW, On, Row

FOLDER = Path(__file__).parent


@dataclass(eq=False)
class Proofs:
    """A plugin of pytest: which row each test is about, and how it ended."""

    about: dict[str, list[Row]] = field(default_factory=dict)
    """By id of the test."""
    ended: dict[str, str] = field(default_factory=dict)
    """By id of the test: ``passed``, or what it was that did not."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            given = getattr(getattr(item, "callspec", None), "params", {})
            if isinstance(given.get("row"), Row):
                self.about[item.nodeid] = [given["row"]]
            elif isinstance(on := given.get("on"), On) and item.path.name == "test_zone_tags.py":
                reads = [row for row in EVERY_ROW if _is_read(row) and row.on is on]
                self.about[item.nodeid] = reads

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        before = self.ended.get(report.nodeid, "passed")
        self.ended[report.nodeid] = before if report.passed else report.outcome

    def of(self, row: Row) -> list[str]:
        """Return how the tests about a row ended.

        Whether an object may be read is one thing, whichever feature needs it.
        """
        return [
            self.ended.get(test, "not run")
            for test, rows in self.about.items()
            if any(
                one == row or (_is_read(row) and _is_read(one) and one.on is row.on) for one in rows
            )
        ]


def _is_read(row: Row) -> bool:
    return row.privilege == "System.Read"


def main() -> int:
    """Run the proof and print the table; the exit code is 0 when every row is proven."""
    proofs = Proofs()
    code = pytest.main(["-q", "--no-header", str(FOLDER)], plugins=[proofs])
    counted: Counter[str] = Counter()
    lines = []
    for row in EVERY_ROW:
        ended = proofs.of(row)
        is_proven = bool(ended) and set(ended) == {"passed"}
        what = "hidden: not seen, refused" if _is_read(row) else "taken away: named, refused"
        result = what if is_proven else f"NOT PROVEN ({', '.join(ended) or 'no test'})"
        counted[result if is_proven else "not proven"] += 1
        lines.append((row.feature.value, row.operation, row.privilege, row.on.value, result))
    heads = ("FEATURE", "OPERATION", "PRIVILEGE", "ON", "PROOF")
    widths = [max(len(line[n]) for line in (heads, *lines)) for n in range(len(heads))]
    for line in (heads, *lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    privileges, objects = {row.privilege for row in EVERY_ROW}, {row.on for row in EVERY_ROW}
    tests = Counter(proofs.ended.values())
    print(f"\n{len(EVERY_ROW)} rows: {', '.join(f'{n} {what}' for what, n in counted.items())}")
    print(f"{len(privileges)} privileges on {len(objects)} kinds of objects")
    print(f"{len(proofs.ended)} tests: {', '.join(f'{n} {how}' for how, n in tests.items())}")
    return int(code) or int(bool(counted["not proven"]))


if __name__ == "__main__":
    sys.exit(main())
