"""Entry of `moorage-lab`: `exec` is a wrapper around other commands, so it starts at once."""

import sys

from moorage_lab.errors import LabError
from moorage_lab.namespace import exec_in_lab


def main() -> None:
    """Run `exec` itself, and leave everything else to the whole command."""
    match sys.argv[1:]:
        case ["exec", "--", _, *_]:
            try:
                exec_in_lab(sys.argv[3:])
            except LabError as error:
                sys.exit(f"moorage-lab: {error}")
        case _:
            from moorage_lab.command.main import main as whole  # noqa: PLC0415 - it takes 0.5 s

            whole()
