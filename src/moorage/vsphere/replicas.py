"""Replicas of templates: VMs that are copied once, get a snapshot, and then are templates.

vCenter's rules: a linked clone (``createNewChildDiskBacking``) needs a snapshot of its source, a
template takes none, and the disks of the source have to stay as long as a clone hangs on them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from pyVmomi import vim

from moorage.kit.errors import TerminalError
from moorage.vsphere.access import held_privileges
from moorage.vsphere.effects import Effects
from moorage.vsphere.lookup import Lookup
from moorage.vsphere.ownership import Ownership
from moorage.vsphere.power import check_still_ours
from moorage.vsphere.properties import Collector, Want, moref, morefs, retrieve, text
from moorage.vsphere.session import Session
from moorage.vsphere.types import REPLICA_KIND, VM, ResolvedTarget, TaskRef

PRIVILEGES = (
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.Provisioning.MarkAsTemplate",
    "VirtualMachine.Provisioning.DeployTemplate",
)
"""Needed in the folder beside those of a clone; the last to clone the replica."""
_SNAPSHOT = "moorage"
_SNAPSHOT_SAYS = "Machines of Moorage are linked clones of this snapshot. Do not remove it."


class Replicas:
    """What is done with replicas only; they are cloned, found and destroyed as machines are."""

    def __init__(
        self, session: Session, effects: Effects, ownership: Ownership, lookup: Lookup
    ) -> None:
        self._session = session
        self._effects = effects
        self._ownership = ownership
        self._lookup = lookup

    async def missing_privileges(self, folder: str) -> list[str]:
        """Return what the account lacks on a folder (moref) to make replicas there; one call."""
        kinds, wanted = {folder: "Folder"}, {folder: set(PRIVILEGES)}
        held = await self._session.call(
            "ask whether replicas of templates may be made",
            partial(held_privileges, self._session, kinds, wanted),
        )
        return [one for one in PRIVILEGES if one not in held.get(folder, set())]

    def left_behind(self, name: str) -> VM | None:
        """Return a replica of that name which this installation has made and forgotten."""
        for vm in self._ownership.owned():
            if vm.name == name and vm.owner is not None and vm.owner.kind == REPLICA_KIND:
                return vm
        return None

    async def snapshot_of(self, vm: VM) -> str | None:
        """Return the moref of the current snapshot, read now."""
        want = Want(vim.VirtualMachine, [vm.moref], ["snapshot"])
        found = await self._session.call(
            f"look for the snapshot of {vm.name}", partial(retrieve, self._session, [want])
        )
        snapshot = found.get(vm.moref, {}).get("snapshot")
        return moref(snapshot.currentSnapshot) if snapshot is not None else None

    async def take_snapshot(self, vm: VM, *, deadline_s: float | None = None) -> TaskRef:
        """Start to take the snapshot; raises once what made the last try fail."""
        return await self._effects.start("snapshot", _snapshot, vm, None, deadline_s)

    async def mark_as_template(self, vm: VM, *, deadline_s: float | None = None) -> None:
        """Make it a template: nobody powers it on, or changes it, by mistake."""

        def mark() -> None:
            check_still_ours(self._session, vm)
            self._session.ref(vim.VirtualMachine, vm.moref).MarkAsTemplate()

        await self._effects.under_lease(f"mark {vm.name} as template", mark, deadline_s)

    async def source(self, target: ResolvedTarget, vm: str) -> ResolvedTarget | None:
        """Return a target whose template is a replica (moref), as it is now.

        ``None``: no linked clone of it can be made any more, as it has lost its snapshot, or was
        moved to another datastore.
        """
        there = replace(
            target,
            template=await self._lookup.template(vm, target),
            base_profile=target.storage_profile,  # it was made with the same
        )
        return there if there.can_link else None

    async def users(self, vm: VM) -> list[str]:
        """Return the names of all other VMs that the account can see whose disks hang on it.

        All VMs on its datastores are read: ask before it is destroyed, and only then.
        """
        what = f"find who uses the disks of {vm.name}"
        return await self._session.call(what, partial(_users, self._session, vm), deadline_s=120)


def _snapshot(session: Session, vm: VM) -> Any:
    check_still_ours(session, vm)
    return session.ref(vim.VirtualMachine, vm.moref).CreateSnapshot_Task(
        name=_SNAPSHOT, description=_SNAPSHOT_SAYS, memory=False, quiesce=False
    )


def _users(session: Session, vm: VM) -> list[str]:
    devices = "config.hardware.device"
    mine = retrieve(session, [Want(vim.VirtualMachine, [vm.moref], [devices, "datastore"])])
    values = mine.get(vm.moref)
    if values is None or devices not in values:
        raise TerminalError(
            "DisksNotReadable",
            f"the account cannot read the disks of template replica {vm.name}: it is not known "
            "who uses them, so it is not deleted. Grant System.Read on its folder",
        )
    own = set(_files(values[devices]))
    on_it = Collector.TraversalSpec(name="vms", type=vim.Datastore, path="vm", skip=False)
    others = retrieve(
        session,
        [
            Want(
                vim.Datastore,
                morefs(values.get("datastore")),
                ["name"],
                via=[on_it],
                also={vim.VirtualMachine: ["name", devices]},
            )
        ],
    )
    return sorted(
        text(other.get("name"))
        for one, other in others.items()
        if one != vm.moref and own.intersection(_files(other.get(devices) or ()))
    )


def _files(devices: Iterable[Any]) -> Iterator[str]:
    """Yield the files of all disks, with those that they hang on."""
    for device in devices:
        if isinstance(device, vim.vm.device.VirtualDisk):
            backing = device.backing
            while backing is not None:
                if name := getattr(backing, "fileName", None):
                    yield str(name)
                backing = getattr(backing, "parent", None)
