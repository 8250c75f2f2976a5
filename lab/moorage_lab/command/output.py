"""How the command speaks: results on stdout, progress on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.console import Console

Format = Literal["table", "json"]

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def progress(text: str) -> None:
    stderr.print(text, markup=False)


def say(text: object) -> None:
    """One line of the result."""
    sys.stdout.write(f"{text}\n")


def show_json(value: Any) -> None:
    say(json.dumps(value, indent=2))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell: nothing is cut, so that scripts can read it too."""
    cells = [list(columns), *(["-" if cell is None else str(cell) for cell in r] for r in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say(line.rstrip())
