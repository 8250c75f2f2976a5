"""What a booting node says of itself: shown to people, never a decision."""

from moorage.bootstrap import PROGRESS_KEY, parse_progress
from moorage.controllers.gateway.env import Env
from moorage.resources import Machine
from moorage.vsphere import VM


def note_progress(machine: Machine, vm: VM, env: Env) -> None:
    """Copy the node's last word into the status. A guest may write anything: it is clipped."""
    raw = vm.extra.get(PROGRESS_KEY)
    said = parse_progress(raw) if raw else None
    if said is None:
        return
    machine.status.progress = said.phase
    machine.status.progress_detail = said.detail or None
    machine.status.progress_failed = said.failed
    env.stamp(machine.status.timeline, f"Node{said.phase}")


def describe_progress(machine: Machine) -> str:
    """Return the node's last word as the end of a sentence, empty while it said nothing."""
    if machine.status.progress is None:
        return ""
    detail = machine.status.progress_detail
    return f"; the node says {machine.status.progress}" + (f": {detail}" if detail else "")
