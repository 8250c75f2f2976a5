"""YAML documents that users write."""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from moorage.kit.errors import FieldFault, InvalidError


def read_documents(file: Path, *kinds: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML file (``-``: standard input).

    Raises ``InvalidError`` with file, line and column for bad YAML, and for other kinds than
    those named.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file} cannot be read: {error}") from error
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidError(
            f"{file}{where}: not valid YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    if not documents:
        raise InvalidError(f"{file} holds no document")
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict) or document.get("kind") not in kinds:
            found = document.get("kind") if isinstance(document, dict) else type(document).__name__
            raise InvalidError(
                f"{file}: document {number} is of kind {found!r}; expected {' or '.join(kinds)}"
            )
        if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
            raise InvalidError(f"{file}: document {number} has no metadata.name")
    return documents


def faults_of(error: ValidationError) -> tuple[FieldFault, ...]:
    """Return pydantic's faults with dotted paths."""
    faults = []
    for fault in error.errors(include_url=False):
        path = ""
        for part in fault["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
        faults.append(FieldFault(path or "(document)", fault["msg"].removeprefix("Value error, ")))
    return tuple(faults)
