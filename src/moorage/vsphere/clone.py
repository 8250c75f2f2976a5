"""Clone a template. Blocking, like all of pyVmomi: run it through ``Session.call``."""

from typing import Any

from pyVmomi import vim

from moorage.kit.errors import TerminalError
from moorage.vsphere.properties import Want, keyed, lower, moref, retrieve, text
from moorage.vsphere.session import Session
from moorage.vsphere.template import (
    Disk,
    NetworkBacking,
    Nic,
    Template,
)
from moorage.vsphere.types import (
    OWNER_KEY,
    Allocation,
    CloneMode,
    CloneRequest,
    NewDisk,
    OwnerMark,
    ResolvedTarget,
)

_GIB = 1024**3
_NEW_NIC_KEY = -100
_NEW_DISK_KEY = -200
_UNITS = (*range(7), *range(8, 16))
"""Of a SCSI controller; 7 is its own."""
_RUNNING = ("queued", "running")


def start_clone(session: Session, request: CloneRequest) -> str:
    """Ask vCenter to clone a template, and return its task without waiting for it.

    The VM's name is made from the Machine's UID and is the lock: when the answer to this
    call is lost, a second clone is refused with ``DuplicateName``. The UID also becomes the
    instance UUID, by which the first VM is found, and part of the owner mark, which always
    overwrites an inherited one.
    """
    where = request.target
    task = session.ref(vim.VirtualMachine, where.template.moref).CloneVM_Task(
        folder=session.ref(vim.Folder, where.folder),
        name=request.name,
        spec=clone_spec(session, request),
    )
    return str(task._moId)  # noqa: SLF001 - pyVmomi has no public way to it


def is_linked(where: ResolvedTarget, mode: CloneMode, disk_gib: int | None) -> bool:
    """Decide between a linked and a full clone; raises ``TerminalError`` for the impossible."""
    grows = _growing_disk(where.template, disk_gib) is not None
    if mode == "full":
        return False
    if where.can_link and not grows:
        return True
    if mode == "auto":
        return False
    why = _why_not_linked(where, disk_gib)
    raise TerminalError(
        "LinkedCloneImpossible",
        f"template {where.template.name} cannot be cloned as a linked clone: {why}. "
        "Choose cloneMode auto or full, or mend the template",
    )


def why_full(where: ResolvedTarget, mode: CloneMode, disk_gib: int | None) -> str:
    """Return why a clone is a full one, for people; ``""`` for a linked one."""
    if is_linked(where, mode, disk_gib):
        return ""
    return "cloneMode is full" if mode == "full" else _why_not_linked(where, disk_gib)


def _why_not_linked(where: ResolvedTarget, disk_gib: int | None) -> str:
    if _growing_disk(where.template, disk_gib) is not None:
        return f"its disk must grow to {disk_gib} GiB"
    if where.storage_drs:
        return f"automated storage DRS of datastore cluster {where.storage_drs} moves its disks"
    if where.storage_profile != where.base_profile:
        return "its own disks do not follow the storage policy"
    if where.template.has_independent_disks:
        return "snapshots leave out its independent disks"
    if where.template.snapshot is None:
        return "it has no snapshot"
    return "its disks are not on the chosen datastore"


def needs_replica(where: ResolvedTarget, mode: CloneMode, disk_gib: int | None) -> bool:
    """Tell whether a clone would be a linked one if the template lay on the chosen datastore.

    Then a replica of the template is made there, with a snapshot.
    """
    template = where.template
    if mode == "full" or where.can_link or where.storage_drs:
        return False
    if not template.disks or template.has_independent_disks:
        return False
    return _growing_disk(where.template, disk_gib) is None


def copied_bytes(
    where: ResolvedTarget, mode: CloneMode, disk_gib: int | None, *, replicas: bool
) -> int:
    """Return how much a clone writes to its datastore: all that the template holds, or nothing.

    Raises ``TerminalError`` where no such clone can be made.

    Args:
        where: Where it is made, and of what.
        mode: As the cluster asks for it.
        disk_gib: Size of its disk, if that was asked for.
        replicas: Whether replicas of the template may be made on the datastore.
    """
    if replicas and needs_replica(where, mode, disk_gib):
        return 0
    return 0 if is_linked(where, mode, disk_gib) else where.template.committed_bytes


def clone_spec(session: Session, request: CloneRequest) -> Any:
    """Return the specification: everything that the VM will be, secrets included."""
    where = request.target
    linked = is_linked(where, request.mode, request.disk_gib)
    how = "createNewChildDiskBacking" if linked else "moveAllDiskBackingsAndDisallowSharing"
    cores = where.template.cores_per_socket
    return vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(
            datastore=session.ref(vim.Datastore, where.datastore),
            pool=session.ref(vim.ResourcePool, where.resource_pool),
            host=session.ref(vim.HostSystem, request.host) if request.host else None,
            diskMoveType=how,
            disk=_disk_locators(session, where, how),
            profile=_profile(where.storage_profile),
        ),
        snapshot=session.ref(vim.vm.Snapshot, where.template.snapshot)
        if linked and where.template.snapshot
        else None,
        config=vim.vm.ConfigSpec(
            instanceUuid=request.uid,
            numCPUs=request.cpus,
            # A number of CPUs that the template's sockets do not divide would be refused.
            numCoresPerSocket=1 if request.cpus and request.cpus % cores else None,
            memoryMB=request.memory_mib,
            cpuAllocation=_allocation(request.cpu_allocation),
            memoryAllocation=_allocation(request.memory_allocation),
            deviceChange=[
                *_nic_changes(where.template.nics, (where.network, *where.more_networks)),
                *_disk_changes(request),
                *_extra_disks(session, request),
            ],
            extraConfig=[
                vim.option.OptionValue(key=key, value=value)
                for key, value in sorted(extra_config(request).items())
            ],
        ),
        powerOn=False,  # identity is read back before the first boot
        template=False,
    )


def extra_config(request: CloneRequest) -> dict[str, str]:
    """Return the VM's ``extraConfig``; what the template would pass on is emptied."""
    inherited = dict.fromkeys(request.target.template.guestinfo_keys, "")
    ours = {**request.guestinfo, OWNER_KEY: request.mark.to_json()}
    if request.disk_enable_uuid:
        ours["disk.enableUUID"] = "TRUE"  # the cloud provider finds disks by it
    return {**inherited, **ours}


def _growing_disk(template: Template, disk_gib: int | None) -> Disk | None:
    if disk_gib is None:
        return None
    if not template.disks:
        raise TerminalError("TemplateUnfit", f"template {template.name} has no disk")
    first = template.disks[0]
    wanted = disk_gib * _GIB
    if wanted < first.capacity_bytes:
        raise TerminalError(
            "DiskTooSmall",
            f"diskGib {disk_gib} is less than the template's disk of "
            f"{-(-first.capacity_bytes // _GIB)} GiB: disks can only grow",
        )
    return first if wanted > first.capacity_bytes else None


def _disk_changes(request: CloneRequest) -> list[Any]:
    disk = _growing_disk(request.target.template, request.disk_gib)
    if disk is None or request.disk_gib is None:
        return []
    size = request.disk_gib * _GIB
    device = vim.vm.device.VirtualDisk(
        key=disk.key,
        controllerKey=disk.controller_key,
        unitNumber=disk.unit_number,
        capacityInBytes=size,
        capacityInKB=size // 1024,
    )
    return [vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)]


def _extra_disks(session: Session, request: CloneRequest) -> list[Any]:
    """Return new empty disks, on the controller of the template's first one."""
    if not request.extra_disks:
        return []
    template = request.target.template
    controller = template.disks[0].controller_key
    taken = {disk.unit_number for disk in template.disks if disk.controller_key == controller}
    free = [unit for unit in _UNITS if unit not in taken]
    if len(free) < len(request.extra_disks):
        raise TerminalError(
            "TemplateUnfit",
            f"the disk controller of template {template.name} has room for {len(free)} disks more, "
            f"and extraDisks asks for {len(request.extra_disks)}",
        )
    changes = []
    for index, disk in enumerate(request.extra_disks):
        size = disk.size_gib * _GIB
        device = vim.vm.device.VirtualDisk(
            key=_NEW_DISK_KEY - index,
            controllerKey=controller,
            unitNumber=free[index],
            capacityInBytes=size,
            capacityInKB=size // 1024,
            backing=_new_backing(session, disk),
        )
        own = disk.profile if disk.datastore else request.target.storage_profile
        change = vim.vm.device.VirtualDeviceSpec(
            operation="add", fileOperation="create", device=device, profile=_profile(own)
        )
        changes.append(change)
    return changes


def _new_backing(session: Session, disk: NewDisk) -> Any:
    """Return the file of a new disk: vCenter chooses its name, on the datastore that is named."""
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName="", diskMode="persistent", thinProvisioned=disk.thin
    )
    if disk.datastore:
        # The reference alone is "not used for configuration": the path in brackets counts.
        backing.fileName = f"[{disk.datastore_name}]"
        backing.datastore = session.ref(vim.Datastore, disk.datastore)
    return backing


def _allocation(asked: Allocation | None) -> Any:
    """Return reservation, limit and shares as the API has them; -1 stands for no limit."""
    if asked is None:
        return None
    shares = None
    if asked.shares is not None:
        is_number = isinstance(asked.shares, int)
        shares = vim.SharesInfo(
            level="custom" if is_number else asked.shares,
            shares=asked.shares if is_number else 0,  # it follows from the level
        )
    limit = -1 if asked.limit is None else asked.limit
    return vim.ResourceAllocationInfo(reservation=asked.reservation, limit=limit, shares=shares)


def _profile(profile: str) -> list[Any]:
    """Return a storage policy, as whatever follows it bears it; nothing without one."""
    return [vim.vm.DefinedProfileSpec(profileId=profile)] if profile else []


def _disk_locators(session: Session, where: ResolvedTarget, how: str) -> list[Any]:
    """Say of each disk that it follows the policy too: the specification's own is the home's."""
    if not where.storage_profile:
        return []
    store = session.ref(vim.Datastore, where.datastore)
    return [
        vim.vm.RelocateSpec.DiskLocator(
            diskId=disk.key,
            datastore=store,
            diskMoveType=how,
            profile=_profile(where.storage_profile),
        )
        for disk in where.template.disks
    ]


def _nic_changes(nics: tuple[Nic, ...], networks: tuple[NetworkBacking, ...]) -> list[Any]:
    """One NIC on each wanted network: the template's are kept, with new MACs, or removed."""
    changes: list[tuple[str, Any]] = []
    for index, network in enumerate(networks):
        if index < len(nics):
            device = _nic(nics[index])
        else:
            device = vim.vm.device.VirtualVmxnet3(key=_NEW_NIC_KEY - index)
        device.backing = _backing(network)
        device.addressType = "generated"
        device.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, connected=True, allowGuestControl=True
        )
        changes.append(("edit" if index < len(nics) else "add", device))
    changes += [("remove", _nic(nic)) for nic in nics[len(networks) :]]
    return [
        vim.vm.device.VirtualDeviceSpec(operation=operation, device=one)
        for operation, one in changes
    ]


def _nic(nic: Nic) -> Any:
    kind = getattr(vim.vm.device, nic.type_name)
    return kind(key=nic.key, controllerKey=nic.controller_key, unitNumber=nic.unit_number)


def _backing(network: NetworkBacking) -> Any:
    cards = vim.vm.device.VirtualEthernetCard
    if network.portgroup_key is not None:
        return cards.DistributedVirtualPortBackingInfo(
            port=vim.dvs.PortConnection(
                portgroupKey=network.portgroup_key, switchUuid=network.switch_uuid
            )
        )
    if network.opaque_id is not None:
        return cards.OpaqueNetworkBackingInfo(
            opaqueNetworkId=network.opaque_id, opaqueNetworkType=network.opaque_type
        )
    return cards.NetworkBackingInfo(deviceName=network.name)


def who_has_the_name(
    session: Session, request: CloneRequest, made: str | None
) -> tuple[str, str] | None:
    """Find who holds the name of a VM that ``DuplicateName`` refused.

    Args:
        session: Logged in.
        request: What was to be made.
        made: Moref that our clone task for it reported, if any did.

    Returns:
        ``None`` when nobody has it any more, else the moref with ``"ours"``, ``"unfinished"``
        (it is still being made: nobody can tell yet) or ``"foreign"``.
    """
    folder = session.ref(vim.Folder, request.target.folder)
    child: Any = session.content.searchIndex.FindChild(folder, request.name)
    holder = moref(child)
    if holder is None:
        return None
    if not isinstance(child, vim.VirtualMachine):
        return holder, "foreign"
    paths = ["config.instanceUuid", keyed(OWNER_KEY), "recentTask"]
    values = retrieve(session, [Want(vim.VirtualMachine, [holder], paths)]).get(holder)
    if values is None:
        return None
    mark = OwnerMark.parse(text(values.get(keyed(OWNER_KEY))))
    uuid = lower(values.get("config.instanceUuid"))
    if mark is not None and mark.uid == request.uid:
        is_ours = uuid == mark.instance_uuid or holder == made
        return holder, "ours" if is_ours else "copy"
    tasks = [moref(task) for task in values.get("recentTask") or ()]
    running = retrieve(session, [Want(vim.Task, [t for t in tasks if t], ["info.state"])])
    busy = any(str(task.get("info.state")) in _RUNNING for task in running.values())
    if mark is None and (not uuid or uuid == request.uid or busy):
        return holder, "unfinished"
    return holder, "foreign"
