"""The table is complete and minimal, before a vCenter that checks by a table of another source.

A user with exactly the table's privileges can do everything; each row that is taken away makes the
check name it, and it alone, and makes its operation fail.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from moorage.kit.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError
from moorage.kit.ids import new_uid, uid_suffix
from moorage.permissions import OPTIONAL, ROWS, On, Row
from moorage.planning import rule_name
from moorage.resources.permission import FindingState
from moorage.vsphere import VM, Allocation, NewDisk, Power, Unknown, VCenter
from tests.permissions.conftest import connect
from tests.permissions.grants import BARE, PATHS, Admin
from tests.vsphere.harness import (
    TARGET,
    Site,
    a_mark,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    until,
)

KEY = "guestinfo.moorage.request"


BARE_TARGET = replace(TARGET, template=BARE)


async def test_the_tables_privileges_suffice_for_a_whole_life(site: Site, admin: Admin) -> None:
    vcenter = await connect(site)
    target = await vcenter.resolve(TARGET)

    vm = await clone_and_wait(vcenter, a_request(target))
    await clone_and_wait(vcenter, a_request(target, disk_gib=30, extra_disks=(NewDisk(1),)))
    await clone_and_wait(vcenter, a_request(target, cpu_allocation=Allocation(100, shares="low")))
    await clone_and_wait(vcenter, a_request(await vcenter.resolve(BARE_TARGET)))
    assert vm.owner is not None
    uid = vm.owner.uid
    await until_done(vcenter, uid, vcenter.power_on, lambda vm: vm.power is Power.ON)
    await until_done(
        vcenter,
        uid,
        lambda vm: vcenter.set_guestinfo(vm, {KEY: "1"}),
        lambda vm: site.vms()[vm.name]["extraConfig"].get(KEY) == "1",
    )
    await make_rule(vcenter, vm)
    mark = a_mark(uid, instance_uuid=uid, epoch=2)
    await until_done(
        vcenter, uid, lambda vm: vcenter.set_identity(vm, mark), lambda vm: vm.owner == mark
    )
    replica = await clone_and_wait(vcenter, a_request(target, mode="full"))
    await make_replica(vcenter, replica)
    source = await vcenter.replicas.source(target, replica.moref)
    assert source is not None
    await clone_and_wait(vcenter, a_request(source, mode="linked"))
    result = await vcenter.access.check([TARGET])
    await until_done(vcenter, uid, vcenter.power_off, lambda vm: vm.power is Power.OFF)
    await until_done(vcenter, uid, vcenter.destroy, lambda _: False)

    assert result.findings == []
    assert set(PATHS.values()) <= {one.object for one in result.objects}
    assert vm.name not in site.vms()


async def until_done(
    vcenter: VCenter,
    uid: str,
    act: Callable[[VM], Awaitable[object]],
    is_done: Callable[[VM], bool],
) -> None:
    """Act on the VM as it is seen, again when it has changed meanwhile, as the controllers do."""
    with anyio.fail_after(30):
        while (found := is_found(vcenter, uid)) is not None and not is_done(found.vm):
            with suppress(ConflictError, UnavailableError):
                await act(found.vm)
            await anyio.sleep(0.1)


Act = Callable[[VCenter, VM], Awaitable[object]]


async def clone(vcenter: VCenter, _: VM) -> None:
    await vcenter.clone(a_request(await vcenter.resolve(TARGET)))


async def clone_larger(vcenter: VCenter, _: VM) -> None:
    await vcenter.clone(a_request(await vcenter.resolve(TARGET), disk_gib=30))


async def clone_with_disk(vcenter: VCenter, _: VM) -> None:
    """Put a disk on a datastore that is named, and all else where nobody can be in the way."""
    target = await vcenter.resolve(TARGET)
    disk = NewDisk(1, datastore=target.datastore, datastore_name=TARGET.datastore)
    await vcenter.clone(a_request(target, extra_disks=(disk,)))


async def clone_with_reservation(vcenter: VCenter, _: VM) -> None:
    target = await vcenter.resolve(TARGET)
    await vcenter.clone(a_request(target, memory_allocation=Allocation(512)))


async def clone_without_card(vcenter: VCenter, _: VM) -> None:
    await vcenter.clone(a_request(await vcenter.resolve(BARE_TARGET)))


async def set_guestinfo(vcenter: VCenter, vm: VM) -> None:
    await vcenter.set_guestinfo(vm, {KEY: "2"})


async def set_identity(vcenter: VCenter, vm: VM) -> None:
    assert vm.owner is not None
    await vcenter.set_identity(vm, a_mark(vm.owner.uid, instance_uuid=vm.owner.uid, epoch=3))


async def make_rule(vcenter: VCenter, vm: VM) -> None:
    other = await clone_and_wait(vcenter, a_request(await vcenter.resolve(TARGET)))
    place = vcenter.rules.compute_cluster(vm)
    assert place is not None
    name = rule_name("proof", "workers", uid_suffix(new_uid()))
    members = frozenset({vm.moref, other.moref})
    while not await vcenter.rules.ensure(place.moref, {name: members}, "proof"):  # noqa: ASYNC110
        await anyio.sleep(0.05)


async def take_snapshot(vcenter: VCenter, vm: VM) -> None:
    await vcenter.replicas.take_snapshot(vm)
    with anyio.fail_after(30):
        while await vcenter.replicas.snapshot_of(vm) is None:  # noqa: ASYNC110 - no event for it
            await anyio.sleep(0.05)


async def mark(vcenter: VCenter, vm: VM) -> None:
    await vcenter.replicas.mark_as_template(vm)


async def make_replica(vcenter: VCenter, vm: VM) -> None:
    assert vm.owner is not None
    uid = vm.owner.uid
    await take_snapshot(vcenter, vm)
    await mark(vcenter, vm)
    await until(lambda: (found := is_found(vcenter, uid)) is not None and found.vm.template)


async def clone_replica(vcenter: VCenter, vm: VM) -> None:
    await make_replica(vcenter, vm)
    source = await vcenter.replicas.source(await vcenter.resolve(TARGET), vm.moref)
    assert source is not None
    await vcenter.clone(a_request(source))


ACTS: dict[str, Act] = {
    "clone": clone,
    "clone: size and identity": clone,
    "clone: network card": clone,
    "clone with other network cards than the template has": clone_without_card,
    "clone with a larger disk (diskGib)": clone_larger,
    "clone with an extra disk on a datastore of its own (extraDisks)": clone_with_disk,
    "clone with reservations, limits or shares (cpuAllocation, memoryAllocation)": (
        clone_with_reservation
    ),
    "power on": VCenter.power_on,
    "clear user data, ask the node helper": set_guestinfo,
    "set the identity again, take a cluster over": set_identity,
    "delete a running machine": VCenter.power_off,
    "delete a machine": VCenter.destroy,
    "keep machines apart by rules of DRS": make_rule,
    "take the snapshot of a template's replica": take_snapshot,
    "mark a template's replica as template": mark,
    "clone a template's replica": clone_replica,
}
READS = [row for row in ROWS if row.privilege == "System.Read"]
EFFECTS = [row for row in ROWS if row not in READS]


def named(row: Row) -> str:
    return f"{row.privilege} on {row.on} to {row.operation}"


@pytest.mark.parametrize("row", EFFECTS, ids=named)
async def test_each_privilege_is_needed_and_its_absence_is_named(
    row: Row, site: Site, admin: Admin
) -> None:
    vcenter = await connect(site)
    vm = await clone_and_wait(vcenter, a_request(await vcenter.resolve(TARGET)))
    if ACTS[row.operation] is VCenter.power_off:
        vm = await power_on_and_wait(vcenter, vm)
    machine = f"/dc1/vm/clusters/{vm.name}"
    others = [one for one in ROWS if one.on is not row.on]
    same = [one for one in ROWS if (one.privilege, one.on) == (row.privilege, row.on)]
    if row.on in (On.VM, On.FOLDER):  # machines inherit from their folder, unless told otherwise
        admin.grant(machine, {one.privilege for one in ROWS if one.on is On.VM}, propagate=False)
    if row.on is On.VM:
        kept = {one.privilege for one in ROWS if one.on is On.VM and one not in same}
        admin.grant(machine, kept, propagate=False)
    else:
        kept = {one.privilege for one in ROWS if one.on is row.on and one not in same}
        passed_on = {one.privilege for one in others if one.on is On.VM}
        if row.on is On.FOLDER:
            kept |= passed_on - {row.privilege}
        admin.grant(PATHS[row.on], kept, propagate=row.on in (On.FOLDER, On.COMPUTE_CLUSTER))

    result = await vcenter.access.check([TARGET])

    state = FindingState.OPTIONAL if row.feature in OPTIONAL else FindingState.MISSING
    assert [(one.state, one.privilege, one.kind) for one in result.findings] == [
        (state, row.privilege, row.on.value)
    ]
    assert bool(result.needed()) == (state is FindingState.MISSING)
    (finding,) = result.findings
    assert finding.object == (machine if row.on is On.VM else PATHS[row.on])
    assert row.operation in finding.needed_for
    with pytest.raises(ForbiddenError, match=row.privilege):
        await ACTS[row.operation](vcenter, vm)


@pytest.mark.parametrize("row", READS, ids=named)
async def test_each_object_has_to_be_read_and_a_hidden_one_is_unknown(
    row: Row, site: Site, admin: Admin
) -> None:
    match row.on:
        case On.HOST:  # the permission on the compute cluster does not reach them
            admin.grant(PATHS[On.COMPUTE_CLUSTER], (), propagate=False)
        case kind:
            admin.hide(PATHS[kind])
    vcenter = await connect(site)

    result = await vcenter.access.check([TARGET])

    assert row.on.value in {one.kind for one in result.findings}
    assert all(one.needed_for for one in result.findings)
    with pytest.raises((ForbiddenError, InvalidError)):
        await vcenter.clone(a_request(await vcenter.resolve(TARGET)))


async def test_a_machine_whose_folder_is_hidden_is_unknown_not_absent(
    site: Site, admin: Admin
) -> None:
    vcenter = await connect(site)
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    for path in (PATHS[On.FOLDER], PATHS[On.RESOURCE_POOL]):
        admin.hide(path)
    await until(lambda: is_found(vcenter, request.uid) is None)
    presence = await vcenter.prove_absent(request.uid, vm.moref, vm.folder, vm.name)

    assert isinstance(presence, Unknown)
    admin.grant_on(On.FOLDER, PATHS[On.FOLDER])
    await until(lambda: is_found(vcenter, request.uid))
