"""Enter the lab's network, its names included (Python has `os.setns` from 3.12 on only)."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from moorage_lab import cgroup
from moorage_lab.errors import LabError, NotRunningError
from moorage_lab.network import has_lab_network, mounts
from moorage_lab.places import NETNS, State

_CLONE_NEWNET = 0x40000000
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_MNT_DETACH = 2
_RESOLV_CONF = Path("/etc/resolv.conf")

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


def enter_names(state: State) -> None:
    """Let this process ask the lab's DNS: it alone sees another /etc/resolv.conf from now on."""
    if not (_RESOLV_CONF.exists() and state.resolv_conf.exists()):
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) != 0:
            raise LabError(f"{name} for the lab's DNS: {os.strerror(ctypes.get_errno())}")

    call("unshare", _CLONE_NEWNS)
    call("mount", None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
    # What lives on would hold the disks and networks of nodes that are removed meanwhile.
    for place in reversed(mounts()):
        if place.startswith(f"{state.root}/"):
            call("umount2", os.fsencode(place), _MNT_DETACH)
    own, seen = os.fsencode(state.resolv_conf), os.fsencode(_RESOLV_CONF)
    call("mount", own, seen, None, ctypes.c_ulong(_MS_BIND), None)


def exec_in_lab(command: Sequence[str]) -> NoReturn:
    """Become a command inside the lab's network; directory, environment and terminal stay.

    Names are resolved by the lab's DNS, which knows the lab's names only.

    It belongs to the lab from then on: `down` ends it.
    """
    if not has_lab_network():
        raise NotRunningError("the lab's network is not there: run `moorage-lab up`")
    cgroup.join(EXEC)
    enter_network()
    if (state := State.in_use()) is not None:
        enter_names(state)
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - a shell is not wanted
    except OSError as error:
        raise LabError(f"cannot run {command[0]!r}: {error.strerror}") from error
