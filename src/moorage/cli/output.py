"""Tables to people, JSON or YAML to programs."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import yaml
from rich.table import Table

from moorage.cli.context import output_format, stdout
from moorage.resources import Resource
from moorage.resources.meta import Document, Status

R = TypeVar("R", bound=Resource)

Columns = Sequence[tuple[str, Callable[[R], str]]]
"""Heading and cell of each column."""


def show_list(items: Sequence[R], columns: Columns[R]) -> None:
    """Print resources as asked."""
    if output_format() == "table":
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading, _ in columns:
            table.add_column(heading, overflow="fold")
        for item in items:
            table.add_row(*(cell(item) for _, cell in columns))
        stdout().print(table)
        return
    show_document([item.document() for item in items])


def show_one(item: Resource, describe: Callable[[], None]) -> None:
    """Print one resource: described to people, whole to programs."""
    if output_format() == "table":
        describe()
    else:
        show_document(item.document())


def show_document(document: Document | Sequence[Document]) -> None:
    """Print a document as JSON, or YAML when asked for."""
    if output_format() == "yaml":
        yaml.safe_dump(document, sys.stdout, sort_keys=False)
    else:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")


def age(moment: datetime | None) -> str:
    """Return how long ago, in one unit."""
    if moment is None:
        return "-"
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def phase(resource: Resource) -> str:
    """Return one word for people, computed from the conditions."""
    if resource.is_deleting:
        return "Deleting"
    status: Status = resource.status
    ready = status.condition("Ready")
    if ready is None:
        return "Pending"
    return "Ready" if ready.status == "True" else ready.reason


def condition_lines(status: Status) -> list[tuple[str, str, str, str]]:
    """Return type, status and reason, age and message of every condition."""
    return [
        (c.type, f"{c.status} {c.reason}", age(c.last_transition_time), c.message)
        for c in status.conditions
    ]


def describe_resource(item: Resource, facts: Sequence[tuple[str, Any]]) -> None:
    """Print name, facts and conditions of one resource."""
    console = stdout()
    where = f"{item.metadata.project}/" if item.metadata.project else ""
    console.print(f"{item.kind} {where}{item.metadata.name}  {phase(item)}", style="bold")
    for label, value in facts:
        if value not in (None, "", [], {}):
            console.print(f"  {label}: {value}")
    if item.status.conditions:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for heading in ("CONDITION", "STATUS", "SINCE", "MESSAGE"):
            table.add_column(heading, overflow="fold")
        for row in condition_lines(item.status):
            table.add_row(*row)
        console.print(table)
