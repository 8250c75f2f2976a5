"""What the lab changes on its host, written down first, so that `down` restores it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from moorage_lab.network import is_mount, remove_netns_dir
from moorage_lab.places import NETNS_DIR, State
from moorage_lab.process import write_atomically

_SETTINGS = {Path("/proc/sys/fs/inotify/max_user_instances"): 8192}
"""All nodes share one user's inotify instances; the kernel's 128 are enough for four."""


def change(state: State) -> None:
    """Raise the host's limits; may be repeated. Higher ones stay."""
    if not state.host.exists():
        write_atomically(state.host, json.dumps(_before()))
    for path, value in _SETTINGS.items():
        if int(path.read_text()) < value:
            path.write_text(f"{value}\n")


def _before() -> dict[str, Any]:
    """The host as no lab has changed it: another lab that is up knows it from its own start."""
    for other in State.others():
        with suppress(OSError):
            found: dict[str, Any] = json.loads(State(other.readlink()).host.read_text())
            return found
    return {
        "settings": {str(path): path.read_text().strip() for path in _SETTINGS},
        "hadNetnsDir": is_mount(NETNS_DIR),
    }


def restore(state: State) -> None:
    """Put everything back as `change` found it, unless another lab is up; may be repeated."""
    try:
        before = json.loads(state.host.read_text())
    except FileNotFoundError:
        return
    if State.others():
        return
    for path, value in before["settings"].items():
        Path(path).write_text(f"{value}\n")
    if not before["hadNetnsDir"]:
        remove_netns_dir()
