"""How far machines are, from clone to Ready: the segments of a bar, in hundredths of its width."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from moorage.hub.ui.rendering import read_moment

STAGES = (
    ("VMCreated", "VM made"),
    ("PoweredOn", "switched on"),
    ("AddressSeen", "address seen"),
    ("NodeRunningKubeadm", "kubeadm begins"),
    ("Joined", "node joined"),
    ("Ready", "Ready"),
)
"""Milestone of a machine's timeline that ends the stage, and what it is called."""


class Segment(NamedTuple):
    """One stage of one machine."""

    stage: int
    """Index in ``STAGES``; -1 for what goes on now."""
    name: str
    start: float
    """Hundredths of the bar."""
    width: float
    seconds: float


class Progress(NamedTuple):
    """A machine's bar."""

    segments: list[Segment]
    seconds: float
    """From the machine's creation to Ready, or until now."""
    is_ready: bool

    def told(self) -> str:
        """Return the same in words: for who does not see the bar."""
        parts = [f"{one.name} {one.seconds:.1f} s" for one in self.segments]
        return ", ".join(parts) or "not begun"


def progress_of(machines: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Progress]:
    """Return the bar of each machine by name; all bars have one scale, that of the slowest."""
    spans = {one["metadata"]["name"]: _spans(one, now) for one in machines}
    longest = max((sum(s for _, _, s in some) for some in spans.values()), default=0.0)
    bars = {}
    for machine in machines:
        name = machine["metadata"]["name"]
        segments, at = [], 0.0
        for stage, label, seconds in spans[name]:
            width = 100 * seconds / longest if longest else 0.0
            segments.append(Segment(stage, label, round(at, 2), round(width, 2), seconds))
            at += width
        total = sum(one.seconds for one in segments)
        bars[name] = Progress(segments, total, _is_ready(machine))
    return bars


class Step(NamedTuple):
    """One line of a machine's own timeline."""

    stage: int
    """Index in ``STAGES``; -1 for what goes on now."""
    name: str
    seconds: float | None
    """``None``: not reached yet."""
    reached: str
    """RFC 3339; empty: not yet."""
    is_passed: bool = False
    """A later stage was reached, so this one was too, unseen."""


def steps_of(machine: Mapping[str, Any], now: datetime) -> list[Step]:
    """Return all stages of one machine in order, reached or not."""
    reached = machine.get("status", {}).get("timeline", {})
    took = {stage: seconds for stage, _, seconds in _spans(machine, now)}
    steps = [
        Step(stage, label, took.get(stage), reached.get(key, "") if stage in took else "")
        for stage, (key, label) in enumerate(STAGES)
    ]
    last = max(took, default=-1)
    steps = [one._replace(is_passed=one.seconds is None and one.stage < last) for one in steps]
    if -1 in took:
        steps.insert(last + 1, Step(-1, "waits", took[-1], ""))
    return steps


def _spans(machine: Mapping[str, Any], now: datetime) -> list[tuple[int, str, float]]:
    """Return stage, name and seconds; what was reached later than what follows counts nothing."""
    began = read_moment(machine["metadata"].get("createdAt"))
    if began is None:
        return []
    reached = machine.get("status", {}).get("timeline", {})
    found, before = [], began
    for stage, (key, label) in enumerate(STAGES):
        moment = read_moment(reached.get(key))
        if moment is None:
            continue
        found.append((stage, label, max(0.0, (moment - before).total_seconds())))
        before = max(before, moment)
    if not _is_ready(machine) and "Ready" not in reached:
        found.append((-1, "waits", max(0.0, (now - before).total_seconds())))
    return found


def _is_ready(machine: Mapping[str, Any]) -> bool:
    conditions = machine.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
