"""Enter the lab's network namespace (Python has `os.setns` from 3.12 on only)."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from moorage_lab import cgroup
from moorage_lab.errors import LabError, NotRunningError
from moorage_lab.network import has_lab_network
from moorage_lab.places import NETNS

_CLONE_NEWNET = 0x40000000

EXEC = "exec"
"""Control group of what `moorage-lab exec` starts, so that `down` finds it."""


def enter_network(path: Path = NETNS) -> None:
    """Move the calling thread into a network namespace: sockets made from now on are there."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotRunningError(f"{path} is not there: run `moorage-lab up`") from error
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise LabError(f"cannot enter {path}: {os.strerror(number)} (root is needed)")
    finally:
        os.close(descriptor)


def exec_in_lab(command: Sequence[str]) -> NoReturn:
    """Become a command inside the lab's network; directory, environment and terminal stay.

    It belongs to the lab from then on: `down` ends it.
    """
    if not has_lab_network():
        raise NotRunningError("the lab's network is not there: run `moorage-lab up`")
    cgroup.join(EXEC)
    enter_network()
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - a shell is not wanted
    except OSError as error:
        raise LabError(f"cannot run {command[0]!r}: {error.strerror}") from error
