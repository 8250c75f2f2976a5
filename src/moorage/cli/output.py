"""Tables to people, JSON or YAML to programs."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from moorage.cli.settings import output_format
from moorage.kit.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from moorage.resources import Resource
    from moorage.resources.meta import Document, Status

R = TypeVar("R", bound="Resource")

Columns = Sequence[tuple[str, Callable[[R], str]]]
"""Heading and cell of each column."""

_PIPE_WIDTH = 250
"""Columns of a table that goes to a pipe or a file: nothing is folded there."""


def console() -> "Console":
    """Return the console for results. What it prints is data: no markup, no emoji."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH
    return Console(highlight=False, emoji=False, markup=False, width=wide)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table without lines."""
    console().print(table_of(headings, rows))


def table_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Return a table without lines; only the last column is folded where it has to be."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings, 1):
        last = number == len(headings)
        table.add_column(heading, overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    return table


def show_list(items: Sequence[R], columns: Columns[R]) -> None:
    """Print resources as asked."""
    if output_format() == "table":
        headings = [heading for heading, _ in columns]
        print_table(headings, [[cell(item) for _, cell in columns] for item in items])
    else:
        show_document([item.document() for item in items])


def show_one(item: "Resource", describe: Callable[[], None]) -> None:
    """Print one resource: described to people, whole to programs."""
    if output_format() == "table":
        describe()
    else:
        show_document(item.document())


def show_document(document: "Document | Sequence[Document]") -> None:
    """Print a document as JSON, or YAML when asked for."""
    if output_format() == "yaml":
        import yaml

        yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True)
    else:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def size_of(count: int) -> str:
    """Return a number of bytes in the largest unit that it fills."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.2f} {unit}" if unit == "GiB" else f"{count / size:.0f} {unit}"
    return f"{count} B"


def age(moment: datetime | None) -> str:
    """Return how long ago, in one unit."""
    if moment is None:
        return "-"
    seconds = int((SystemClock().now() - moment).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def clip(text: str, limit: int) -> str:
    """Return the text in one line of at most ``limit`` characters."""
    line = " ".join(_plain(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def describe_resource(
    item: "Resource", facts: Sequence[tuple[str, Any]], *, limit: int = 4000
) -> None:
    """Print name, facts and conditions of one resource, messages of ``limit`` characters."""
    from moorage.resources.phase import phase

    where = f"{item.metadata.project}/" if item.metadata.project else ""
    out = console()
    out.print(f"{item.kind} {where}{item.metadata.name}  {phase(item)}", style="bold")
    shown = [(label, value) for label, value in facts if value not in (None, "", [], {})]
    width = max((len(label) for label, _ in shown), default=0)
    for label, value in shown:
        out.print(f"  {label:<{width}}  {_plain(str(value))}", soft_wrap=True)
    if item.status.conditions:
        sys.stdout.write("\n")
        rows = _condition_rows(item.status, limit)
        print_table(("CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)


def _condition_rows(status: "Status", limit: int) -> list[list[str]]:
    """Return a row for each condition; ``Ready`` does not repeat what its step has said."""
    said = {c.message for c in status.conditions if c.type != "Ready"}
    rows = []
    for c in status.conditions:
        message = "" if c.type == "Ready" and c.message in said else c.message
        if len(message) > limit:
            message = clip(message, limit)
        reason = "" if c.reason == "Done" else c.reason
        rows.append([c.type, c.status, reason, age(c.last_transition_time), message])
    return rows


def terminal_lines() -> int:
    """Return the height of the terminal."""
    return shutil.get_terminal_size().lines


def _plain(text: str) -> str:
    """Take control characters out: what a guest or vCenter says must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
