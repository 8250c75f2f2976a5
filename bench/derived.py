"""What follows from the figures: growth from size to size, and the ratio to a known peer's.

Never stored beside them: a ratio kept in a file outlives the figure that it was made of.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from bench.result import Result

GROWTH, PEER = "growth", "compared with the peer"
SIZES = (1, 10, 50, 200, 1000)
TOLERANCE = 1.1
"""Two measurements of the same thing differ by as much; idle clusters may not cost more."""
TENTH = 0.1

_TIME, _CALLS = "time", "vCenter calls a machine, all of any kind"
_CPU, _RSS = "CPU of hub + gateway a machine", "hub + gateway RSS"
_BUSY = (_CALLS, _CPU, "API-server calls a machine")
_IDLE = ("API-server calls a cluster", "CPU of hub + gateway a cluster")

PEER_CPU_S = 3.0
"""A machine cost the peer 3 to 6 CPU-seconds; the better end is compared with."""
PEER_FIGURES: tuple[tuple[str, str, float], ...] = (
    ("1 x (1 + 3)", _TIME, 48.0),
    ("1 x (1 + 3)", _CALLS, 194.0),
    ("1 x (1 + 3)", _CPU, PEER_CPU_S),
    ("1 x (3 + 10)", _TIME, 96.0),
    ("1 x (3 + 10)", _CALLS, 369.0),
    ("1 x (3 + 10)", _CPU, PEER_CPU_S),
    ("10 x (1 + 3)", _TIME, 240.0),
    ("10 x (1 + 3)", _CALLS, 303.0),
    ("10 x (1 + 3)", _CPU, PEER_CPU_S),
    ("50 x (1 + 3)", _TIME, 902.0),
    ("50 x (1 + 3)", _CALLS, 530.0),
    ("50 x (1 + 3)", _CPU, PEER_CPU_S),
    ("50 x (1 + 3)", "connections opened", 68_214.0),
    ("100 more workers", _TIME, 205.0),
    ("10 deleted", _TIME, 52.0),
    # A burst of ten calls for each VM every ten minutes.
    ("idle, 10 clusters", "all vCenter calls", 40.0),
    ("idle, 50 clusters", "all vCenter calls", 200.0),
)
"""Cluster API 1.14 with its vSphere provider on the same simulator, two cores, in-memory guests,
no task time: case, metric, value, as the project was given them."""
PEER_MEMORY_MIB = {1: 1.1 * 1024, 10: 1.6 * 1024, 50: 2.8 * 1024}


def derive(results: Iterable[Result]) -> list[Result]:
    """Return the cases ``growth`` and ``compared with the peer``, of what is there."""
    values = {(one.case, one.metric): one.value for one in results}
    return [*_growth(values), *_peer(values)]


Values = dict[tuple[str, str], float]


def _growth(values: Values) -> list[Result]:
    found: list[Result] = []
    for metric in _BUSY:
        found += _ratios(values, SIZES, "{} x (1 + 3)", metric, None)
    for metric in _IDLE:
        found += _ratios(values, SIZES[1:], "idle, {} clusters", metric, TOLERANCE)
    rss = [(n, values.get((f"{n} x (1 + 3)", _RSS))) for n in SIZES]
    known = [(n, value) for n, value in rss if value is not None]
    for (few, little), (many, much) in pairwise(known):
        share = round((much - little) / (many - few), 2)
        what = f"memory for each more cluster, {few} to {many}"
        found.append(Result(GROWTH, what, share, "MiB"))
    return found


def _ratios(
    values: Values, sizes: Sequence[int], case: str, metric: str, budget: float | None
) -> list[Result]:
    known = [(n, values.get((case.format(n), metric))) for n in sizes]
    there = [(n, value) for n, value in known if value]
    prefix = "idle: " if case.startswith("idle") else ""
    return [
        Result(GROWTH, f"{prefix}{metric}, {few} to {many}", round(much / little, 3), "x", budget)
        for (few, little), (many, much) in pairwise(there)
    ]


def _peer(values: Values) -> list[Result]:
    found: list[Result] = []
    for case, metric, theirs in PEER_FIGURES:
        ours = _ours(values, case, metric)
        if ours is not None:
            found.append(Result(PEER, f"{case}: {metric}", round(ours / theirs, 4), "x", TENTH))
    for count, theirs in PEER_MEMORY_MIB.items():
        ours = values.get((f"{count} x (1 + 3)", _RSS))
        if ours is not None:
            metric = f"{count} x (1 + 3): resident memory"
            found.append(Result(PEER, metric, round(ours / theirs, 3), "x"))
    return found


def _ours(values: Values, case: str, metric: str) -> float | None:
    if metric != "all vCenter calls":
        return values.get((case, metric))
    parts = [values.get((case, name)) for name in ("stream returns", "other vCenter calls")]
    return sum(part for part in parts if part is not None) if None not in parts else None
