"""Read the audit trail, from a file or from the hub, line by line."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from moorage.cli.context import Context
from moorage.kit.errors import InvalidError
from moorage.resources.meta import Document


def lines_of(file: Path) -> Iterator[Document]:
    """Yield the lines of an export; raises ``InvalidError``. Of joined ones only one start."""
    begun = False
    try:
        with file.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                line = _parsed(text, f"{file}, line {number}")
                if line.get("type") == "start" and begun:
                    continue
                begun = True
                yield line
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file} cannot be read: {error}") from error


async def lines_of_hub() -> AsyncIterator[Document]:
    """Yield the lines of the hub's export."""
    async with Context.current().api() as api:
        async for line in api.lines("/v1/audit/export"):
            yield line


def _parsed(text: str, where: str) -> Document:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"type": "unreadable", "where": where}
