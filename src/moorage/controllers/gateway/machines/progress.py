"""What a booting node says of itself, shown to people, never a decision; and what silence means."""

from datetime import datetime, timedelta

from moorage.bootstrap import PROGRESS_KEY, parse_progress
from moorage.controllers.gateway.env import Env
from moorage.resources import Machine
from moorage.vsphere import VM, VCenter

USER_DATA_KEYS = ("guestinfo.userdata", "guestinfo.userdata.encoding")
SILENCE = timedelta(minutes=10)
"""Without a word this long after power-on, a node that has read its user data is told of."""
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


async def has_lost_its_data(machine: Machine, vm: VM, vcenter: VCenter) -> bool:
    """Tell whether a machine went down between the reading of its user data and its first word.

    cloud-init takes the data out of guestinfo before it is on the disk. There is no other copy by
    design, so that machine never joins. vCenter is asked only if memory shows no data.
    """
    if vm.has_user_data or machine.status.progress or machine.status.node_name:
        return False
    left = await vcenter.read_extra_config(vm, USER_DATA_KEYS)
    return not left.get(USER_DATA_KEYS[1])


def describe_silence(machine: Machine, vm: VM, env: Env) -> str | None:
    """Say that a node took its user data long ago and has said nothing since; else ``None``."""
    since = machine.status.timeline.get("PoweredOn")
    if vm.has_user_data or machine.status.progress or since is None:
        return None
    if env.clock.now() - datetime.fromisoformat(since) < SILENCE:
        return None
    return (
        f"it has read its user data and said nothing since {since}: it was reset before the data "
        "was on its disk, or its cloud-init does nothing (the VM's console shows it); "
        f"`moorage machines delete {machine.metadata.name}` makes another"
    )
