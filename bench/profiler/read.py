"""Tell where sampled processor time went: ``python bench/profiler/read.py FILE.stacks …``."""

import sys
from collections import defaultdict
from pathlib import Path

SHOWN = 45


def main() -> None:
    own: dict[str, float] = defaultdict(float)
    whole: dict[str, float] = defaultdict(float)
    library: dict[str, float] = defaultdict(float)
    total = 0.0
    for file in sys.argv[1:]:
        for line in Path(file).read_text().splitlines():
            stack, _, said = line.rpartition(" ")
            count, names = float(said), stack.split(";")
            total += count
            own[": ".join(names[-2:])] += count
            ours = [name for name in names if name.startswith("moorage.")]
            library[ours[-1] if ours else names[-2:][0].partition(":")[0]] += count
            for name in set(names[:-1]):
                whole[name] += count
    for title, counted in (
        ("with all that it calls", whole),
        ("itself", own),
        ("last function of ours on the stack, with libraries", library),
    ):
        print(f"== share of {total:.0f} samples, by function, {title}")
        for name, count in sorted(counted.items(), key=lambda item: -item[1])[:SHOWN]:
            print(f"{100 * count / total:6.1f} %  {name}")


if __name__ == "__main__":
    main()
