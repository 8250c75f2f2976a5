"""Words to people on stderr. Results go to stdout (``output``); nothing here loads rich."""

import os
import sys

_STYLES = {"error": "31", "warning": "33", "strong": "1", "dim": "2"}


def say(text: str, style: str = "") -> None:
    """Print a line on stderr; ``style`` is error, warning, strong or dim, for terminals only."""
    code = _STYLES.get(style)
    if code and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        text = f"\x1b[{code}m{text}\x1b[0m"
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def examples(*commands: str) -> str:
    """Return what stands below the help of a command."""
    lines = "\n".join(f"  {line}" for command in commands for line in command.splitlines())
    return f"Examples:\n{lines}"
