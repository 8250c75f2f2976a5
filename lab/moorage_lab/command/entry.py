"""Entry of `moorage-lab`: `exec` is a wrapper around other commands, so it starts at once."""

import sys

from moorage_lab.errors import LabError


def main() -> None:
    """Run `exec` itself, and leave everything else to the whole command."""
    try:
        match sys.argv[1:]:
            case ["exec", "--", _, *_]:
                from moorage_lab.namespace import exec_in_lab  # noqa: PLC0415

                exec_in_lab(sys.argv[3:])
            case _:
                from moorage_lab.command.main import main as whole  # noqa: PLC0415 - takes 0.5 s

                whole()
    except LabError as error:  # also of a module that reads a wrong MOORAGE_LAB_NAME
        sys.exit(f"moorage-lab: {error}")
