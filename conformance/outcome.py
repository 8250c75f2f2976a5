"""What became of an assumption, as a table for people and as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

_WIDTH = 100


class RefutedError(Exception):
    """The vCenter does otherwise; the text says what came back."""


class SkippedError(Exception):
    """It could not be tried; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """Of one assumption."""

    id: str
    claim: str
    result: Literal["passed", "failed", "skipped"]
    said: str
    """What came back, or why it was not tried."""
    seconds: float


@dataclass
class Report:
    """Of one run."""

    vcenter: str
    product: str = ""
    api_version: str = ""
    folder: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What could not be removed."""

    def count(self, result: str) -> int:
        """Return how many ended so."""
        return sum(one.result == result for one in self.outcomes)

    def table(self) -> str:
        """Return a line for each, and a summary."""
        width = max((len(one.id) for one in self.outcomes), default=0)
        lines = [f"{self.product} (API {self.api_version}) at {self.vcenter}, in {self.folder}"]
        for one in self.outcomes:
            said = " ".join(one.said.split())
            short = said if one.result == "failed" else said[:_WIDTH]
            lines.append(f"{one.result:8} {one.id:{width}}  {short}")
        counts = ", ".join(f"{self.count(word)} {word}" for word in ("passed", "failed", "skipped"))
        lines.append(f"{counts}; {'nothing is left' if not self.left else 'LEFT BEHIND:'}")
        return "\n".join([*lines, *self.left])

    def to_json(self) -> str:
        """Return everything."""
        return json.dumps(asdict(self), indent=2) + "\n"
