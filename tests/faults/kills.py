"""Enumerated kills: each passage of a process by a point in a step is one, and has a name."""

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from tests.faults.points import Point


class Step(StrEnum):
    """What happens to a cluster in its life, one after the other."""

    CREATE = "create"
    UP = "up"
    DOWN = "down"
    DELETE = "delete"


class Victim(StrEnum):
    """Who comes to the point; the second, if any, dies at the same moment."""

    GATEWAY = "gateway"
    HUB = "hub"
    GATEWAY_FIRST = "gateway+hub"
    HUB_FIRST = "hub+gateway"

    @property
    def first(self) -> str:
        """Name of the process that comes to the point."""
        return self.value.partition("+")[0]

    @property
    def along(self) -> str:
        """Name of the process that is taken along, or nothing."""
        return self.value.partition("+")[2]


_TEXT = re.compile(r"(\w+):([a-z+]+):(\w+):(\d+)")


@dataclass(frozen=True, slots=True)
class Kill:
    """One death: in which step, of whom, where, and at which passage of that step."""

    step: Step
    victim: Victim
    point: Point
    passage: int

    def __str__(self) -> str:
        return f"{self.step}:{self.victim}:{self.point.name}:{self.passage}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote, such as ``up:gateway+hub:COMMIT_AFTER:17``."""
        if (found := _TEXT.fullmatch(text)) is None:
            raise ValueError(f"{text!r} is not STEP:VICTIM:POINT:PASSAGE")
        step, victim, point, passage = found.groups()
        return cls(Step(step), Victim(victim), Point[point], int(passage))


Census = Mapping[Step, Mapping[str, Mapping[Point, int]]]
"""By step and process: how often each point was passed."""


def all_kills(census: Census) -> list[Kill]:
    """Return every kill there is, each process alone and both at once."""
    return [
        Kill(step, victim, point, passage)
        for step in Step
        for victim in Victim
        for point, passages in census[step][victim.first].items()
        for passage in range(1, passages + 1)
    ]


def into_lives(kills: Sequence[Kill], chance: random.Random) -> list[tuple[Kill, ...]]:
    """Deal kills out to lives of clusters, at most one for each step, none twice.

    The first lives have a kill in every step. Where the steps have unequal numbers the last
    lives have fewer.
    """
    by_step: dict[Step, list[Kill]] = defaultdict(list)
    for kill in kills:
        by_step[kill.step].append(kill)
    for dealt in by_step.values():
        chance.shuffle(dealt)
    lives = max(map(len, by_step.values()), default=0)
    return [
        tuple(by_step[step][life] for step in Step if life < len(by_step[step]))
        for life in range(lives)
    ]
