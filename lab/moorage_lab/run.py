"""Run a command of the system, with a time limit and an error that says what happened."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from moorage_lab.errors import LabError


def run(*command: str | Path, timeout_s: float = 30, stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        LabError: It is not there, failed, or took too long; the text has its own words.
    """
    words = [str(word) for word in command]
    shown = " ".join(words)
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            input=stdin if stdin is not None else "",
        )
    except FileNotFoundError as error:
        raise LabError(f"`{shown}`: {words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{shown}` was not done after {timeout_s:g} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"`{shown}` failed with {done.returncode}: {said}")
    return done.stdout


def try_run(command: Sequence[str | Path], *, timeout_s: float = 30) -> str | None:
    """Run a command whose failure means that there was nothing to do; return its error."""
    try:
        run(*command, timeout_s=timeout_s)
    except LabError as error:
        return str(error)
    return None
