"""What the audit log keeps of a document: everything but secrets."""

import re
from enum import StrEnum
from typing import Any

from moorage.kit.redact import REDACTED, redact_text

_SECRET_KEYS = re.compile(
    r"(password|passwd|passphrase|sealed|ciphertext|private_?key|api_?key|token|credential)",
    re.IGNORECASE,
)
_LONG = 4096


class Verb(StrEnum):
    """What a write does to a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


def redact(value: Any, *, key: str = "") -> Any:
    """Return a copy without secrets: by key, and in any text by its look."""
    if key and _SECRET_KEYS.search(key) and value not in (None, "", [], {}):
        return REDACTED
    if isinstance(value, dict):
        return {name: redact(item, key=str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    if isinstance(value, str):
        text = redact_text(value)
        return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text)} characters)"
    return value


def difference(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a write changed: dotted path -> [before, after], both redacted."""
    changed: dict[str, Any] = {}
    _compare(redact(before or {}), redact(after or {}), "", changed)
    return changed


def _compare(before: Any, after: Any, path: str, changed: dict[str, Any]) -> None:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            _compare(before.get(name), after.get(name), f"{path}.{name}" if path else name, changed)
        return
    changed[path] = [before, after]
