"""What a booting node says of itself: shown to people, never a decision."""

from moorage.bootstrap import PROGRESS_KEY, parse_progress
from moorage.controllers.gateway.env import Env
from moorage.resources import Machine
from moorage.vsphere import VM

HAS_SNAPSHOTS = "HasSnapshots"
"""Condition of a machine whose VM has snapshots. We take none of machines."""


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


def note_snapshots(machine: Machine, vm: VM, env: Env) -> None:
    """Say that somebody takes snapshots of the VM, as backup tools do; nothing is done to them."""
    if not vm.has_snapshots and machine.status.condition(HAS_SNAPSHOTS) is None:
        return
    machine.status.set_condition(
        HAS_SNAPSHOTS,
        "True" if vm.has_snapshots else "False",
        "SnapshotsPresent" if vm.has_snapshots else "Done",
        "somebody, such as a backup tool, has taken snapshots of this VM. They take space on its "
        "datastore as long as they are there, and go with the machine when it is deleted"
        if vm.has_snapshots
        else "",
        now=env.clock.now(),
        generation=machine.metadata.generation,
    )


def describe_progress(machine: Machine) -> str:
    """Return the node's last word as the end of a sentence, empty while it said nothing."""
    if machine.status.progress is None:
        return ""
    detail = machine.status.progress_detail
    return f"; the node says {machine.status.progress}" + (f": {detail}" if detail else "")
