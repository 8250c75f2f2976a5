"""Questions to the person at the terminal."""

import getpass
import sys
from pathlib import Path

from moorage.kit.errors import InvalidError


def read_password(file: Path | None, prompt: str) -> str:
    """Return a password from a file or the terminal; never from the command line."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(f"the password cannot be read from {file}: {error}") from error
        source = str(file)
    elif sys.stdin.isatty():
        text, source = getpass.getpass(prompt), "the terminal"
    else:
        text, source = sys.stdin.readline(), "standard input"
    password = text.rstrip("\r\n")
    if not password:
        raise InvalidError(
            f"no password came from {source}: type it at a terminal, or give --password-file"
        )
    return password


def confirm_name(kind: str, name: str, loss: str = "", *, does: str = "deletes") -> None:
    """Ask to type the name of what is about to be lost; raises ``InvalidError``.

    Args:
        kind: What it is, as people call it.
        name: What has to be typed.
        loss: What goes with it.
        does: The verb for what happens to it.
    """
    what = " ".join(filter(None, (f"{kind} {name}", loss)))
    if not sys.stdin.isatty():
        raise InvalidError(f"this {does} {what}: add --yes where nobody can be asked")
    sys.stderr.write(f"This {does} {what}. Type its name to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise InvalidError("the name does not match; nothing was deleted")
