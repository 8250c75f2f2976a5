"""Which failure domain each new machine goes to."""

from collections import Counter
from collections.abc import Iterable, Sequence


def choose_failure_domains(
    allowed: Sequence[str], occupied: Iterable[str], count: int
) -> list[str]:
    """Choose ``count`` failure domains so that machines spread as evenly as can be.

    ``occupied`` names the domain of each machine that is already there, those outside
    ``allowed`` included (they do not count). Ties go to the earlier entry of ``allowed``, so
    the same question has the same answer after a restart.
    """
    load = Counter(dict.fromkeys(allowed, 0))
    load.update(name for name in occupied if name in load)
    chosen: list[str] = []
    for _ in range(count):
        least = min(allowed, key=lambda name: load[name])
        load[least] += 1
        chosen.append(least)
    return chosen
