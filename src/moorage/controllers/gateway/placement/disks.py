"""Extra disks with a datastore, or a storage policy, of their own: where each may lie, and lies."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import (
    look_again,
    target_of_machine,
    targets_of_cluster,
    vcenter_of,
)
from moorage.kit.errors import FieldFault, InvalidError, TerminalError
from moorage.planning import Disk
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import ControlPlane
from moorage.resources.machine import MachineSpec
from moorage.resources.size import ExtraDisk, MachineSize
from moorage.vsphere import DiskStorage, NewDisk, Target, VCenter

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class DiskPlaces:
    """Extra disks of machines of one size."""

    disks: tuple[Disk, ...] = ()
    """In their order, as planning takes them."""
    storage: tuple[DiskStorage, ...] = ()
    """Of those with a place of their own."""


async def disk_places(
    cluster: Cluster,
    size: MachineSize | MachineSpec,
    domains: Iterable[str],
    env: Env,
) -> DiskPlaces:
    """Look up where the extra disks of machines in some failure domains may lie.

    Raises ``TerminalError`` when one names what is not there, or what no host there reaches, and
    ``UnavailableError`` while nobody can tell.
    """
    vcenter = vcenter_of(cluster.spec.account, env)
    try:
        return await _look_up(cluster, size, set(domains), vcenter, _path(size))
    except InvalidError as error:
        raise TerminalError("PlacementInvalid", str(error)) from error


async def disk_faults(cluster: Cluster, vcenter: VCenter) -> list[FieldFault]:
    """Return what is wrong with the places that extra disks of the control plane name."""
    shape = cluster.spec.control_plane
    wanted = shape.failure_domains or [one.name for one in cluster.spec.placement.failure_domains]
    try:
        await _look_up(cluster, shape, set(wanted), vcenter, "spec.controlPlane")
    except InvalidError as error:
        return [*error.faults]
    return []


async def new_disks(machine: Machine, vcenter: VCenter) -> tuple[NewDisk, ...]:
    """Return the extra disks of a machine that is about to be cloned.

    Raises ``DeferredError`` when the place of one will not do any more: it is placed again.
    """
    found: list[NewDisk] = []
    for index, disk in enumerate(machine.spec.extra_disks):
        if disk.placed_on is None:
            found.append(NewDisk(disk.size_gib, disk.thin))
            continue
        named = disk.model_copy(update={"datastore": disk.placed_on})
        target = _target(target_of_machine(machine.spec), named, f"spec.extraDisks[{index}]")
        try:
            storage = await vcenter.estate.disk_storage([target])
        except InvalidError as error:
            machine.status.clone_failed = True
            raise look_again(error) from error
        ((moref, name),) = storage.names.items()
        found.append(NewDisk(disk.size_gib, disk.thin, moref, name, storage.profile))
    return tuple(found)


def _path(size: MachineSize | MachineSpec) -> str:
    return "spec.controlPlane" if isinstance(size, ControlPlane) else "spec"


async def _look_up(
    cluster: Cluster,
    size: MachineSize | MachineSpec,
    domains: set[str],
    vcenter: VCenter,
    path: str,
) -> DiskPlaces:
    """Raise ``InvalidError`` with all faults."""
    targets = {name: target for name, _, target in targets_of_cluster(cluster) if name in domains}
    disks: list[Disk] = []
    storage: list[DiskStorage] = []
    faults: list[FieldFault] = []
    for index, disk in enumerate(size.extra_disks):
        allowed = None
        if disk.has_own_place:
            each = [_target(one, disk, f"{path}.extraDisks[{index}]") for one in targets.values()]
            try:
                found = await vcenter.estate.disk_storage(each)
            except InvalidError as error:
                faults += error.faults
                continue
            storage.append(found)
            allowed = tuple(found.paths)
        disks.append(Disk(disk.size_gib * _GIB, allowed))
    if faults:
        raise InvalidError("extra disks cannot be where they are to", tuple(faults))
    return DiskPlaces(tuple(disks), tuple(storage))


def _target(domain: Target, disk: ExtraDisk, path: str) -> Target:
    """Return a failure domain with the storage of a disk in place of its own."""
    return replace(
        domain,
        datastore=disk.datastore or "",
        datastore_is_cluster=False,
        datastore_field="datastore",
        storage_policy=disk.storage_policy,
        path=path,
    )
