"""Assumptions about clones, identity and what a VM carries."""

from typing import Any

import anyio
from pyVmomi import vim

from conformance.outcome import RefutedError, SkippedError
from conformance.site import Site
from moorage.kit.errors import ConflictError, MoorageError
from moorage.kit.ids import new_uid
from moorage.vsphere import VM, Absent, CloneRequest, Found, Power, Task, TaskState
from moorage.vsphere.clone import clone_spec
from moorage.vsphere.places import split_path
from moorage.vsphere.types import PROGRESS_KEY

SECRET_KEY, SECRET = "guestinfo.userdata", "Y29uZm9ybWFuY2Utc2VjcmV0"


async def duplicate_name(site: Site) -> str:
    first = site.request()
    task = await site.start_clone(first)
    second = site.request(name=first.name)
    what = "clone a second VM of that name"
    try:
        await site.task_by_hand(what, lambda: _clone_by_hand(site, second))
    except ConflictError as error:
        now = site.vcenter.task(task.moref or "")
        await site.until(lambda: _vm(site, first.uid), "the first clone is there")
        return f"{error}; the first clone was {now.state if now is not None else 'unknown'}"
    raise RefutedError("the second clone of that name was made too")


async def instance_uuid(site: Site) -> str:
    vm = await site.clone()
    uid = uid_of(vm)
    if vm.instance_uuid != uid:
        raise RefutedError(f"asked for {uid}, got {vm.instance_uuid}")
    other = site.request(uid=uid, name=f"check-{new_uid()[:10]}")
    what = "clone another VM with the same instance UUID"
    try:
        made = await site.task_by_hand(what, lambda: _clone_by_hand(site, other))
    except MoorageError as error:
        return f"kept; a second of the same is refused: {error}"
    second = await site.by_hand("read", lambda: made.config.instanceUuid)
    if second == uid:
        raise RefutedError(f"kept; but a second VM got the same one, {uid}")
    return f"kept; a second VM that asks for the same gets {second}"


async def keyed_path(site: Site) -> str:
    vm = await site.clone()
    option = vim.option.OptionValue(key=PROGRESS_KEY, value="conformance")
    change = vim.vm.ConfigSpec(extraConfig=[option])
    await site.task_by_hand("set a key", lambda: site.vm(vm).ReconfigVM_Task(change))

    def is_seen() -> bool:
        found = _vm(site, uid_of(vm))
        return found is not None and found.extra.get(PROGRESS_KEY) == option.value

    await site.until(is_seen, "the stream shows the change of one key")
    return "one key is read in a filter, and its change is pushed"


async def linked_clone(site: Site) -> str:
    if site.target.template.snapshot is None:
        raise SkippedError("the template has no snapshot")
    if not site.target.can_link:
        raise SkippedError("the template's disks are not on the datastore that was named")
    vm = await site.clone()

    def parents() -> list[str]:
        devices = site.vm(vm).config.hardware.device
        backings = [one.backing for one in devices if isinstance(one, vim.vm.device.VirtualDisk)]
        found = [getattr(backing, "parent", None) for backing in backings]
        return [str(parent.fileName) for parent in found if parent is not None]

    found = await site.by_hand("read the disks", parents)
    if not found:
        raise RefutedError("the clone's disks have no parent: it was copied")
    return f"the parent is {found[0]}"


async def guestinfo_in_clone(site: Site) -> str:
    vm = await site.clone(site.request(guestinfo={SECRET_KEY: SECRET}))
    read = await site.vcenter.read_extra_config(vm, [SECRET_KEY])
    if read.get(SECRET_KEY) != SECRET:
        raise RefutedError(f"{SECRET_KEY} reads {read.get(SECRET_KEY)!r}")
    return "read back as given"


async def guestinfo_cleared(site: Site) -> str:
    vm = await site.clone(site.request(guestinfo={SECRET_KEY: SECRET}))
    while await site.vcenter.clear_guestinfo(vm, [SECRET_KEY]):  # noqa: ASYNC110 - asks vCenter
        await anyio.sleep(1)
    options = await site.by_hand(
        "read", lambda: {one.key: one.value for one in site.vm(vm).config.extraConfig}
    )
    if options.get(SECRET_KEY):
        raise RefutedError(f"{SECRET_KEY} still reads {options[SECRET_KEY]!r}")
    return "gone" if SECRET_KEY not in options else "there, and empty"


async def events_keep_no_secret(site: Site) -> str:
    vm = await site.clone(site.request(guestinfo={SECRET_KEY: SECRET}))
    by = vim.event.EventFilterSpec(
        entity=vim.event.EventFilterSpec.ByEntity(entity=site.vm(vm), recursion="self")
    )
    events = await site.by_hand(
        "read the VM's events", lambda: site.hand.content.eventManager.QueryEvents(by)
    )
    telling = sorted({type(one).__name__ for one in events if SECRET in str(one)})
    if telling:
        raise RefutedError(f"the clone's guestinfo stands in {', '.join(telling)}")
    if not events:
        raise SkippedError("the account sees no events of the VM")
    return f"not in any of {len(events)} events"


async def chosen_host(site: Site) -> str:
    cluster = site.hand.ref(vim.ClusterComputeResource, site.target.compute_cluster)
    hosts = await site.by_hand("list the hosts", lambda: [str(one._moId) for one in cluster.host])
    vm = await site.clone(site.request(host=hosts[-1]))
    host = await site.by_hand("read the host", lambda: str(site.vm(vm).runtime.host._moId))
    if host != hosts[-1]:
        raise RefutedError(f"asked for {hosts[-1]}, is on {host}")
    return f"{host} was asked for, and has it"


async def copy_is_told(site: Site) -> str:
    vm = await site.clone()
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    name = f"{vm.name}-copy"
    copy = await site.task_by_hand(
        "copy the VM by hand",
        lambda: site.vm(vm).CloneVM_Task(folder=site.folder, name=name, spec=spec),
    )
    await site.until(
        lambda: any(one.moref == copy._moId for one in site.vcenter.copies()),
        "the copy is told apart",
    )
    found = _vm(site, uid_of(vm))
    if found is None or found.moref != vm.moref:
        raise RefutedError("the copy is taken for the machine")
    return "the copy bears our mark and another instance UUID"


async def moref_stays(site: Site) -> str:
    vm = await site.clone()
    inner = await site.by_hand("make a folder", lambda: site.folder.CreateFolder("inner"))
    await site.task_by_hand("rename by hand", lambda: site.vm(vm).Rename_Task(f"{vm.name}-other"))
    await site.task_by_hand("move by hand", lambda: inner.MoveIntoFolder_Task([site.vm(vm)]))

    def is_seen() -> bool:
        found = _vm(site, uid_of(vm))
        is_there = found is not None and (found.name, found.folder) != (vm.name, vm.folder)
        return is_there and found is not None and found.folder == inner._moId

    await site.until(is_seen, "the machine is found under its other name, in the other folder")
    return f"{vm.moref} is still {vm.moref}, and the stream tells of both"


async def odd_names(site: Site) -> str:
    odd = "check a/b \u00fc\u4e16"
    folder = await site.by_hand("make a folder", lambda: site.folder.CreateFolder(odd))
    name = await site.by_hand("read its name", lambda: str(folder.name))
    decoded = "".join(split_path(name))
    if decoded != odd:
        raise RefutedError(f"made as {odd!r}, reads {name!r}, which means {decoded!r}")
    return f"made as {odd!r}, reads {name!r}"


async def cluster_folder(site: Site) -> str:
    def make() -> Any:
        return site.folder.CreateFolder("taken")

    first = await site.by_hand("make a folder", make)
    try:
        await site.by_hand("make another of that name", make)
    except ConflictError as error:
        if str(first._moId) not in str(error):
            raise RefutedError(f"the one that has the name is not named: {error}") from error
    else:
        raise RefutedError("two folders have the same name")
    await site.task_by_hand("remove it", first.UnregisterAndDestroy_Task)
    names = await site.by_hand("list", lambda: [one.name for one in site.folder.childEntity])
    if "taken" in names:
        raise RefutedError("it is still there")
    return "DuplicateName names the first; an empty one is removed"


async def absence(site: Site) -> str:
    vm = await site.clone()
    await site.end(vm)
    proven = await site.vcenter.prove_absent(
        uid_of(vm), moref=vm.moref, folder=site.target.folder, name=vm.name
    )
    if not isinstance(proven, Absent):
        raise RefutedError(f"a VM that was destroyed is {proven}")
    return "neither its instance UUID nor its moref finds it, and the folder can be read"


async def power(site: Site) -> str:
    if not site.settings.power_on:
        raise SkippedError("--power-on was not given")
    vm = await site.clone()
    await site.vcenter.power_on(vm)
    await site.until(lambda: _has_power(site, vm, Power.ON), "the stream shows that it is on")
    on = _vm(site, uid_of(vm)) or vm
    await site.vcenter.power_off(on)
    await site.until(lambda: _has_power(site, vm, Power.OFF), "the stream shows that it is off")
    return "both are pushed"


async def tasks_pushed(site: Site) -> str:
    request = site.request()
    started = await site.start_clone(request)

    def ended() -> Task | None:
        task = site.vcenter.task(started.moref or "")
        return task if task is not None and task.state is not TaskState.RUNNING else None

    task = await site.until(ended, "the end of the clone task is pushed")
    vm = await site.until(lambda: _vm(site, request.uid), "the clone is there")
    if (task.state, task.result) != (TaskState.SUCCESS, vm.moref):
        raise RefutedError(f"{started.moref} is {task.state} with {task.result}, not {vm.moref}")
    return f"{started.moref} is pushed as success, with {vm.moref}"


def uid_of(vm: VM) -> str:
    """Return the UID that a VM was made for."""
    return vm.owner.uid if vm.owner is not None else ""


def _vm(site: Site, uid: str) -> VM | None:
    seen = site.vcenter.find(uid)
    return seen.vm if isinstance(seen, Found) else None


def _has_power(site: Site, vm: VM, wanted: Power) -> bool:
    found = _vm(site, uid_of(vm))
    return found is not None and found.power is wanted


def _clone_by_hand(site: Site, request: CloneRequest) -> Any:
    template = site.hand.ref(vim.VirtualMachine, site.target.template.moref)
    spec = clone_spec(site.hand, request)
    return template.CloneVM_Task(folder=site.folder, name=request.name, spec=spec)
