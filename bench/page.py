"""Write docs/reference/benchmark.md and its plots from the results; ``--check`` only compares.

Run as ``python -m bench.page``; ``make bench`` does it too. The plots are drawn here, in a few
lines, so that equal results give equal bytes and nothing more has to be installed.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from bench.derived import GROWTH, PEER, PEER_FIGURES, derive
from bench.result import Result, read

DOCS = Path(__file__).resolve().parent.parent / "docs" / "reference"
PAGE = DOCS / "benchmark.md"
PLOTS = DOCS / "benchmark"

_MACHINE = "machine: "
_ROW, _LEFT, _WIDTH, _BARS = 20, 470, 930, 330
_INK, _GOOD, _BAD, _LINE = "#24292f", "#3b7dd8", "#c0392b", "#8c959f"

Bar = tuple[str, float, str]
"""Label, length as a share of the limit, text beside it."""


def files(measured: Sequence[Result]) -> dict[Path, str]:
    """Return the text of each file."""
    derived = derive(measured)
    results = [*measured, *derived]
    budgeted = [one for one in measured if one.budget]
    compared = [one for one in derived if one.case == PEER]
    shares = [
        (f"{one.case}: {one.metric}", one.value / (one.budget or 1), _text(one.value, one.unit))
        for one in budgeted
    ]
    return {
        PAGE: _page(results, budgeted, compared),
        PLOTS / "budgets.svg": bars("Share of the budget (line: all of it)", shares),
        PLOTS / "peer.svg": bars(
            "Ours as a share of a tenth of the peer's (line: a tenth)",
            [(one.metric, one.value / (one.budget or 1), f"{one.value:.2%}")
             for one in compared if one.budget],
        ),
        PLOTS / "growth.svg": bars(
            "From size to size, for each machine or cluster (line: no growth)",
            [(one.metric, one.value, _text(one.value, one.unit))
             for one in results if one.case == GROWTH and one.unit == "x"],
        ),
    }  # fmt: skip


def bars(title: str, rows: Iterable[Bar]) -> str:
    """Draw horizontal bars; those beyond the line are red, what is far beyond is cut.

    Args:
        title: Above them.
        rows: From top to bottom; a length of 1 reaches the line.
    """
    drawn = list(rows)
    scale = _BARS / 2  # the line stands in the middle
    height = _ROW * (len(drawn) + 2)
    size = f'width="{_WIDTH}" height="{height}"'
    font = f'font-family="sans-serif" font-size="11" fill="{_INK}"'
    box = f'viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} {font}>',
        f'<rect {size} fill="#ffffff"/>',
        f'<text x="8" y="15" font-size="13">{escape(title)}</text>',
    ]
    for index, (label, share, text) in enumerate(drawn, start=1):
        top = _ROW * index + 4
        length = min(_BARS, max(1.0, share * scale))
        parts.append(
            f'<text x="{_LEFT - 6}" y="{top + 11}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="14" '
            f'fill="{_GOOD if share <= 1 else _BAD}"/>'
            f'<text x="{_LEFT + length + 5:.1f}" y="{top + 11}">{escape(text)}</text>'
        )
    line = _LEFT + scale
    parts.append(
        f'<path d="M{line:.1f} {_ROW}V{height - 8}" stroke="{_LINE}" stroke-dasharray="4 3"/></svg>'
    )
    return "\n".join(parts) + "\n"


def _text(value: float, unit: str) -> str:
    return f"{value:g} {unit}".strip()


def _page(results: Sequence[Result], budgeted: Sequence[Result], compared: Sequence[Result]) -> str:
    exceeded = [one for one in results if not one.is_kept]
    loads = [one.value for one in results if one.metric == f"{_MACHINE}load average, 1 min"]
    cores = max((one.value for one in results if one.metric == f"{_MACHINE}processors"), default=0)
    around = f"{min(loads):g} to {max(loads):g}" if loads else "unknown"
    head = f"""<!-- Made by bench/page.py from bench/results/latest.json: run `make bench`. -->

# Benchmark

`make bench` runs hub and gateway as users do, beside the lab's strict vCenter and thin guests
(virtual machines that join a Kubernetes API in memory and boot nothing), and counts at vCenter, at
the API servers and in the process table. Task times are zero unless a case says otherwise. All
processes share one machine: {cores:g} processors here, with a load of {around} when the cases
began. Read times and CPU with that in mind; counts do not depend on it. `make bench-long` adds 200
and 1,000 clusters, 1,000 workers and 20,000 foreign VMs.

{len(budgeted)} figures have a budget{_verdict(exceeded)}

![Share of the budget](benchmark/budgets.svg)

"""
    parts = [head, _table(budgeted, "budget")]
    if compared:
        parts += ["\n## Compared with a peer\n\n", _PEER_TEXT, "![Peer](benchmark/peer.svg)\n\n"]
        parts.append(_peer_table(results, compared))
    if growth := [one for one in results if one.case == GROWTH]:
        parts += ["\n## Growth from size to size\n\n![Growth](benchmark/growth.svg)\n\n"]
        parts.append(_table(growth, "budget"))
    parts.append("\n## All figures\n")
    for case in dict.fromkeys(one.case for one in results):
        if case not in {GROWTH, PEER}:
            parts.append(f"\n### {case}\n\n")
            parts.append(_table([one for one in results if one.case == case], "budget", short=True))
    return "".join(parts)


_PEER_TEXT = """Cluster API 1.14 with its vSphere provider, measured on the same simulator with
in-memory guests, no task time and two processors; its 3 to 6 CPU-seconds a machine count as 3. The
aim is a tenth.

"""


def _verdict(exceeded: Sequence[Result]) -> str:
    if not exceeded:
        return "; none is exceeded."
    return f"; {len(exceeded)} of all limits are exceeded (**bold**)."


def _table(rows: Sequence[Result], limit: str, *, short: bool = False) -> str:
    first, under = ("", "") if short else ("| case ", "|---")
    lines = [f"{first}| metric | value | {limit} |", f"{under}|---|---:|---:|"]
    for one in rows:
        case = "" if short else f"| {one.case} "
        budget = "" if one.budget is None else f"{one.budget:g}"
        lines.append(f"{case}| {one.metric} | {_value(one)} | {budget} |")
    return "\n".join(lines) + "\n"


def _value(one: Result) -> str:
    text = _text(one.value, one.unit)
    return text if one.is_kept else f"**{text}**"


def _peer_table(results: Sequence[Result], compared: Sequence[Result]) -> str:
    ours = {(one.case, one.metric): one.value for one in results}
    theirs = {f"{case}: {metric}": value for case, metric, value in PEER_FIGURES}
    lines = ["| case | ours | theirs | ours / theirs |", "|---|---:|---:|---:|"]
    for one in compared:
        case, _, metric = one.metric.partition(": ")
        value = ours.get((case, metric))
        share = f"{one.value:.2%}" if one.is_kept else f"**{one.value:.2%}**"
        their = f"{theirs[one.metric]:g}" if one.metric in theirs else ""
        lines.append(
            f"| {one.metric} | {'' if value is None else f'{value:g}'} | {their} | {share} |"
        )
    return "\n".join(lines) + "\n"


def write_page(results: Sequence[Result]) -> None:
    """Write the page and its plots."""
    for path, text in files(results).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write, or with ``--check`` compare."""
    results = read()
    if "--check" not in arguments:
        write_page(results)
        return 0
    stale = [
        path
        for path, text in files(results).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        sys.stderr.write(f"{path} differs from the results: run `python -m bench.page`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
