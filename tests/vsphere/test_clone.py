"""One VM for one UID, whatever is lost on the way."""

from typing import Literal

import anyio
import pytest
from pyVmomi import vim

from moorage.kit.errors import ForbiddenError, TerminalError, UnavailableError
from moorage.kit.ids import new_uid
from moorage.vsphere import (
    BusyError,
    Limits,
    NewDisk,
    OwnerMark,
    Power,
    Target,
    TaskState,
    Unknown,
)
from vsphere.harness import (
    TARGET,
    USERDATA,
    Site,
    a_mark,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    raw_task,
    task_over,
    until,
)

pytestmark = pytest.mark.anyio


async def test_a_clone_is_what_was_asked_for(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET), cpus=3, memory_mib=3072)

    vm = await clone_and_wait(vcenter, request)

    assert vm.instance_uuid == request.uid
    assert vm.owner == a_mark(request.uid, instance_uuid=request.uid)
    assert vm.identity_intact
    assert vm.power is Power.OFF
    assert vm.has_user_data
    seen = site.vms()[request.name]
    assert seen["instanceUuid"] == request.uid
    assert seen["path"].endswith(f"/clusters/{request.name}")
    assert seen["extraConfig"]["disk.enableUUID"] == "TRUE"
    assert seen["extraConfig"]["guestinfo.userdata"] == USERDATA["guestinfo.userdata"]
    assert (seen["cpus"], seen["memoryMib"]) == (3, 3072)
    assert [nic["network"] for nic in seen["nics"]] == ["nodes"]


async def test_the_template_with_a_snapshot_is_linked_on_its_own_datastore(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))

    await clone_and_wait(vcenter, request)

    assert [disk.get("parent") for disk in site.vms()[request.name]["disks"]] != [None]


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"mode": "full"}, "ds1"), ({"disk_gib": 30}, "ds1"), ({}, "ds2")],
    ids=["asked", "grown disk", "other datastore"],
)
async def test_a_full_clone_stands_alone(
    site: Site, changes: dict[str, object], place: str
) -> None:
    vcenter = await site.connect()
    target = Target(**{**_fields(TARGET), "datastore": place})
    request = a_request(await vcenter.resolve(target), **changes)

    await clone_and_wait(vcenter, request)

    seen = site.vms()[request.name]
    assert seen["datastore"] == place
    assert [(disk.get("parent"), disk["mib"]) for disk in seen["disks"]] == [
        (None, 1024 * (request.disk_gib or 20))
    ]


def _fields(target: Target) -> dict[str, object]:
    return {name: getattr(target, name) for name in Target.__dataclass_fields__}


async def test_impossible_linked_clones_are_refused_before_anything_is_asked(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)

    with pytest.raises(TerminalError, match="its disk must grow to 30 GiB"):
        await vcenter.clone(a_request(target, mode="linked", disk_gib=30))
    with pytest.raises(TerminalError, match="disks can only grow"):
        await vcenter.clone(a_request(target, disk_gib=5))

    assert "CloneVM_Task" not in site.calls()


async def test_the_nic_moves_to_a_standard_network_with_a_new_mac(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(Target(**{**_fields(TARGET), "network": "VM Network"}))
    first, second = a_request(target), a_request(target)

    for request in (first, second):
        await clone_and_wait(vcenter, request)

    vms = site.vms()
    nics = [nic for request in (first, second) for nic in vms[request.name]["nics"]]
    assert [nic["network"] for nic in nics] == ["VM Network", "VM Network"]
    assert len({nic["mac"] for nic in nics}) == 2


async def test_what_the_template_would_pass_on_is_emptied(site: Site) -> None:
    stranger = await site.stranger()
    vcenter = await site.connect()
    info = (await vcenter.templates())[0]
    template = stranger.ref(vim.VirtualMachine, info.moref)
    stale = {
        "guestinfo.vendordata": "stale",
        "moorage.owner": OwnerMark("other", "Machine", new_uid()).to_json(),
    }
    options = [vim.option.OptionValue(key=key, value=value) for key, value in stale.items()]
    await stranger.call("log in", lambda: None)
    await raw_task(
        stranger, lambda: template.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=options))
    )
    request = a_request(await vcenter.resolve(TARGET))

    vm = await clone_and_wait(vcenter, request)

    assert vm.owner == a_mark(request.uid, instance_uuid=request.uid)
    assert not site.vms()[request.name]["extraConfig"].get("guestinfo.vendordata")


async def test_a_lost_answer_makes_one_vm(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    site.process.control.fault("CloneVM_Task", "dropAnswer")

    with pytest.raises(UnavailableError):
        await vcenter.clone(request)
    await _clone_until_there(vcenter, request)

    assert list(site.vms()) == [request.name]
    assert is_found(vcenter, request.uid)


async def test_a_lost_answer_while_nobody_looks_makes_one_vm(site: Site) -> None:
    """The second process knows nothing of the first one's task."""
    first = await site.connect()
    request = a_request(await first.resolve(TARGET))
    site.process.control.fault("CloneVM_Task", "dropAnswer")
    with pytest.raises(UnavailableError):
        await first.clone(request)
    await first.close()

    second = await site.connect()
    await _clone_until_there(second, request)

    assert list(site.vms()) == [request.name]


async def _clone_until_there(vcenter: object, request: object) -> None:
    """What a reconciler does: ask again until it is told that there is nothing to start."""
    with anyio.fail_after(15):
        while True:
            try:
                task = await vcenter.clone(request)  # type: ignore[attr-defined]
            except UnavailableError:
                continue
            if task.moref is None:
                assert task.vm is not None
                break
            await until(task_over(vcenter, task.moref))  # type: ignore[arg-type]
    await until(lambda: is_found(vcenter, request.uid))  # type: ignore[arg-type,attr-defined]


async def test_asking_again_returns_the_running_task(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    site.process.control.fault("ModifyListView", "delay", seconds=0.5)

    first = await vcenter.clone(request)
    again = await vcenter.clone(request)

    assert again == first
    assert site.calls()["CloneVM_Task"] == 1
    await until(lambda: is_found(vcenter, request.uid))


async def test_it_is_cloning_until_the_task_has_ended(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    site.process.control.fault("ModifyListView", "delay", seconds=0.5)

    task = await vcenter.clone(request)

    seen = vcenter.find(request.uid)
    assert isinstance(seen, Unknown)
    assert seen.reason == "Cloning"
    assert str(task.moref) in seen.why
    await until(lambda: is_found(vcenter, request.uid))
    ended = vcenter.task(str(task.moref))
    assert ended is not None
    assert ended.state is TaskState.SUCCESS


async def test_a_name_taken_by_somebody_else_is_said(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    foreign = a_request(target, mark=a_mark(new_uid(), installation="other"))
    await vcenter.clone(foreign)
    await until(lambda: foreign.name in site.vms())
    ours = a_request(target, name=foreign.name)

    task = await vcenter.clone(ours)
    await until(task_over(vcenter, task.moref))
    with pytest.raises(TerminalError, match="is not ours") as refused:
        await vcenter.clone(ours)

    assert refused.value.reason == "NameTaken"
    assert len(site.vms()) == 1


async def test_a_failed_task_carries_the_text_of_vcenter(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    request = a_request(target, disk_gib=60 * 1024)

    task = await vcenter.clone(request)
    ended = await until(task_over(vcenter, task.moref))

    assert ended.state is TaskState.ERROR
    assert ended.fault == "InsufficientDiskSpace" or "Space" in str(ended.fault)
    assert isinstance(ended.error, UnavailableError)
    assert request.name in str(ended.error)


async def test_no_more_clones_run_than_allowed_and_the_next_is_woken(site: Site) -> None:
    vcenter = await site.connect(limits=Limits(clones=1))
    target = await vcenter.resolve(TARGET)
    first, second = a_request(target), a_request(target)
    site.process.control.fault("ModifyListView", "delay", seconds=0.3)

    await vcenter.clone(first)
    assert vcenter.ask_to_clone(first) is None, "it runs, and holds its place"
    assert vcenter.why_clone_waits(second.uid) is None, "it has not asked yet"
    assert "no more than 1" in str(vcenter.ask_to_clone(second))
    with pytest.raises(BusyError, match="1 clones are running in this vCenter"):
        await vcenter.clone(second)
    assert vcenter.why_clone_waits(second.uid) is not None
    site.seen.clear()

    await until(lambda: any(second.uid in uids for uids in site.seen))
    assert vcenter.why_clone_waits(second.uid) is None
    await vcenter.clone(second)
    await until(lambda: len(site.vms()) == 2)


async def test_one_machine_costs_at_most_five_calls(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    site.process.control.reset_counters()

    request = a_request(await vcenter.resolve(TARGET))
    assert request.target == target
    vm = await clone_and_wait(vcenter, request)
    vm = await power_on_and_wait(vcenter, vm)
    keys = list(USERDATA)
    assert await vcenter.clear_guestinfo(vm, keys) == keys
    await until(lambda: not is_found(vcenter, request.uid).vm.has_user_data)  # type: ignore[union-attr]
    assert await vcenter.clear_guestinfo(vm, keys) == []

    calls = site.calls()
    calls.pop("WaitForUpdatesEx")
    assert calls == {
        "CloneVM_Task": 1,
        "ModifyListView": 1,
        "PowerOnVM_Task": 1,
        "ReconfigVM_Task": 1,
        "RetrievePropertiesEx": 1,
    }
    left = site.vms()[request.name]["extraConfig"]
    assert not left.get("guestinfo.userdata")
    assert left["moorage.owner"]


async def test_many_machines_share_the_watching_of_tasks(site: Site) -> None:
    limits = Limits(clones_per_host=16, clones_per_datastore=16)
    vcenter = await site.connect(limits=limits)
    target = await vcenter.resolve(TARGET)
    site.process.control.reset_counters()
    requests = [a_request(target) for _ in range(12)]

    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(vcenter.clone, request)
    for request in requests:
        await until(lambda uid=request.uid: is_found(vcenter, uid))  # type: ignore[misc]

    calls = site.calls()
    assert calls["CloneVM_Task"] == 12
    assert calls["ModifyListView"] <= 5
    assert site.process.control.counters()["connections"]["opened"] <= 6


async def test_a_changed_uuid_is_ours_by_the_task_and_set_again(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    await _change_uuid(site, vm.moref)
    await until(lambda: not is_found(vcenter, request.uid).vm.identity_intact)  # type: ignore[union-attr]

    seen = is_found(vcenter, request.uid)
    assert seen is not None
    await vcenter.set_identity(seen.vm, request.mark)

    await until(lambda: is_found(vcenter, request.uid).vm.identity_intact)  # type: ignore[union-attr]
    assert site.vms()[request.name]["instanceUuid"] == request.uid


async def test_a_changed_uuid_without_the_recorded_moref_is_a_copy(site: Site) -> None:
    first = await site.connect()
    request = a_request(await first.resolve(TARGET))
    vm = await clone_and_wait(first, request)
    await first.close()
    await _change_uuid(site, vm.moref)

    later = await site.connect()

    assert is_found(later, request.uid) is None
    assert [copy.moref for copy in later.copies()] == [vm.moref]
    assert later.owned() == []
    assert is_found(later, request.uid, vm.moref), "the recorded moref makes it ours"


async def _change_uuid(site: Site, moref: str) -> None:
    stranger = await site.stranger()
    await stranger.call("log in", lambda: None)
    vm = stranger.ref(vim.VirtualMachine, moref)
    spec = vim.vm.ConfigSpec(instanceUuid=new_uid())
    await raw_task(stranger, lambda: vm.ReconfigVM_Task(spec))


async def test_a_hand_made_clone_is_a_copy_and_never_destroyed(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    stranger = await site.stranger()
    await stranger.call("log in", lambda: None)
    source = stranger.ref(vim.VirtualMachine, vm.moref)
    folder = stranger.ref(vim.Folder, request.target.folder)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    await raw_task(stranger, lambda: source.CloneVM_Task(folder=folder, name="by-hand", spec=spec))

    copy = (await until(vcenter.copies))[0]

    assert copy.name == "by-hand"
    found = is_found(vcenter, request.uid)
    assert found is not None
    assert found.vm.moref == vm.moref
    with pytest.raises(ForbiddenError, match="not ours"):
        await vcenter.destroy(copy)
    assert set(site.vms()) == {request.name, "by-hand"}


async def test_a_cancelled_caller_does_not_lose_the_task(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    site.process.control.fault("CloneVM_Task", "delay", seconds=0.5)

    with anyio.move_on_after(0.1):
        await vcenter.clone(request)
    again = await vcenter.clone(request)
    await until(lambda: is_found(vcenter, request.uid))

    assert again.moref is not None
    assert site.calls()["CloneVM_Task"] == 1


async def test_one_lost_answer_does_not_make_the_account_unreachable(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    site.process.control.fault("CloneVM_Task", "dropAnswer")

    with pytest.raises(UnavailableError, match=r"clone ubuntu-2404-kube-v1\.34\.4 to VM m-"):
        await vcenter.clone(request)

    vcenter.check()


async def test_a_name_taken_by_a_copy_is_not_ours(site: Site) -> None:
    """It bears our mark, but another UUID, and no task of ours is known to have made it."""
    first = await site.connect()
    request = a_request(await first.resolve(TARGET))
    vm = await clone_and_wait(first, request)
    await first.close()
    await _change_uuid(site, vm.moref)
    later = await site.connect()

    task = await later.clone(request)
    await until(task_over(later, task.moref))
    with pytest.raises(TerminalError) as refused:
        await later.clone(request)

    assert refused.value.reason == "NameTaken"
    assert list(site.vms()) == [request.name]


@pytest.mark.parametrize("mode", ["linked", "full"])
async def test_extra_disks_are_made_beside_those_of_the_template(
    site: Site, mode: Literal["linked", "full"]
) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)

    vm = await clone_and_wait(
        vcenter, a_request(target, mode=mode, extra_disks=(NewDisk(5), NewDisk(7, thin=False)))
    )

    disks = site.vms()[vm.name]["disks"]
    assert [disk["mib"] for disk in disks] == [20 * 1024, 5 * 1024, 7 * 1024]
    assert [bool(disk.get("parent")) for disk in disks] == [mode == "linked", False, False]
    assert len({disk["file"] for disk in disks}) == 3


async def test_more_disks_than_the_controller_takes_are_refused(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)

    with pytest.raises(TerminalError, match="has room for 14 disks more"):
        await vcenter.clone(a_request(target, extra_disks=(NewDisk(1),) * 15))
