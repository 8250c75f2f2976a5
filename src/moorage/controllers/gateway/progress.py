"""What a booting node says of itself: shown to people, never a decision."""

import json

from moorage.controllers.gateway.env import Env
from moorage.resources import Machine
from moorage.vsphere import VM

PROGRESS_KEY = "guestinfo.moorage.progress"
_MAX_TEXT = 500


def note_progress(machine: Machine, vm: VM, env: Env) -> None:
    """Copy the node's last word into the status. A guest may write anything: it is clipped."""
    raw = vm.extra.get(PROGRESS_KEY)
    if not raw:
        return
    try:
        said = json.loads(raw)
    except ValueError:
        said = {"phase": "Unreadable", "detail": raw}
    if not isinstance(said, dict):
        said = {"phase": "Unreadable", "detail": raw}
    phase = str(said.get("phase", "Unknown"))[:40]
    machine.status.progress = phase
    machine.status.progress_detail = str(said.get("detail") or "")[:_MAX_TEXT] or None
    env.stamp(machine.status.timeline, f"Node{phase}")


def describe_progress(machine: Machine) -> str:
    """Return the node's last word as the end of a sentence, empty while it said nothing."""
    if machine.status.progress is None:
        return ""
    detail = machine.status.progress_detail
    return f"; the node says {machine.status.progress}" + (f": {detail}" if detail else "")
