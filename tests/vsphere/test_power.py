"""Power, deletion and guestinfo: what is not provably ours is not touched."""

from dataclasses import replace

import anyio
import pytest
from pyVmomi import vim

from moorage.kit.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from moorage.kit.ids import new_uid
from moorage.vsphere import VM, Absent, OwnerMark, Power, VCenter
from vsphere.harness import (
    TARGET,
    USERDATA,
    Site,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    raw_task,
    task_over,
    until,
)

pytestmark = pytest.mark.anyio


async def test_a_machine_comes_and_goes(site: Site) -> None:
    vcenter = await site.connect()
    before = site.vms()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await power_on_and_wait(vcenter, await clone_and_wait(vcenter, request))

    await vcenter.power_off(vm)
    await until(lambda: is_found(vcenter, request.uid).vm.power is Power.OFF)  # type: ignore[union-attr]
    await vcenter.destroy(vm)
    await until(lambda: isinstance(vcenter.find(request.uid, vm.moref), Absent))

    assert isinstance(await vcenter.prove_absent(request.uid, moref=vm.moref), Absent)
    assert site.vms() == before


async def test_what_is_done_already_costs_no_call(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await power_on_and_wait(vcenter, await clone_and_wait(vcenter, request))

    again = await vcenter.power_on(vm)

    assert again.moref is None
    assert site.calls()["PowerOnVM_Task"] == 1


async def test_the_end_of_a_failed_task_is_raised_once_then_it_is_tried_again(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    site.process.control._call(
        "POST",
        "/faults",
        json={
            "method": "PowerOnVM_Task",
            "action": "fail",
            "fault": "InsufficientMemoryResourcesFault",
            "late": True,
        },
    )
    site.seen.clear()

    await vcenter.power_on(vm)
    await until(lambda: any(request.uid in uids for uids in site.seen))
    with pytest.raises(UnavailableError, match="InsufficientMemoryResourcesFault"):
        await vcenter.power_on(vm)
    await power_on_and_wait(vcenter, vm)


async def test_destroy_refuses_a_vm_whose_mark_changed_a_moment_ago(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    stranger = await site.stranger()
    await stranger.call("log in", lambda: None)
    target = stranger.ref(vim.VirtualMachine, vm.moref)
    higher = replace(request.mark, epoch=7)

    for mark in ("", OwnerMark("other", "Machine", new_uid()).to_json(), higher.to_json()):
        option = vim.option.OptionValue(key="moorage.owner", value=mark)
        spec = vim.vm.ConfigSpec(extraConfig=[option])
        await raw_task(stranger, lambda: target.ReconfigVM_Task(spec))  # noqa: B023
        with pytest.raises(ForbiddenError):
            await vcenter.destroy(vm)

    assert "Destroy_Task" not in site.calls()
    assert request.name in site.vms()


async def test_destroy_refuses_what_never_was_ours(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    with pytest.raises(ForbiddenError, match="owner mark"):
        await vcenter.destroy(replace(vm, owner=None))
    with pytest.raises(ForbiddenError, match="owner mark"):
        await vcenter.destroy(replace(vm, owner=OwnerMark("other", "Machine", request.uid)))


async def test_destroying_what_is_gone_is_done(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    stranger = await site.stranger()
    await stranger.call("log in", lambda: None)
    await raw_task(stranger, stranger.ref(vim.VirtualMachine, vm.moref).Destroy_Task)

    gone = await vcenter.destroy(vm)

    assert gone.moref is None


async def test_a_running_vm_is_not_destroyed(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await power_on_and_wait(vcenter, await clone_and_wait(vcenter, request))

    with pytest.raises(ConflictError, match="InvalidPowerState"):
        await _to_its_end(vcenter, vm)

    assert request.name in site.vms()


async def _to_its_end(vcenter: VCenter, vm: VM) -> None:
    """Destroy; a refusal comes with the call or as the end of its task."""
    task = await vcenter.destroy(vm)
    await until(task_over(vcenter, task.moref))
    await vcenter.destroy(vm)


async def test_two_settings_of_guestinfo_are_two_changes(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    await vcenter.set_guestinfo(vm, {"guestinfo.moorage.request": "1"})
    await until(lambda: site.vms()[request.name]["extraConfig"].get("guestinfo.moorage.request"))
    vm = await until(lambda: _newer(vcenter, request.uid, vm))
    await vcenter.set_guestinfo(vm, {"guestinfo.moorage.request": "2"})

    await until(lambda: site.vms()[request.name]["extraConfig"]["guestinfo.moorage.request"] == "2")
    assert await vcenter.read_extra_config(vm, ["guestinfo.moorage.request", "no.such"]) == {
        "guestinfo.moorage.request": "2"
    }


def _newer(vcenter: object, uid: str, old: object) -> object:
    found = is_found(vcenter, uid)  # type: ignore[arg-type]
    newer = found is not None and found.vm.change_version != old.change_version  # type: ignore[attr-defined]
    return found.vm if found is not None and newer else None


async def test_user_data_is_cleared_and_read_back(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(
        await vcenter.resolve(TARGET), guestinfo={**USERDATA, "guestinfo.metadata": "e30="}
    )
    vm = await clone_and_wait(vcenter, request)

    assert await vcenter.clear_guestinfo(vm, list(USERDATA))
    await until(lambda: not is_found(vcenter, request.uid).vm.has_user_data)  # type: ignore[union-attr]
    assert await vcenter.clear_guestinfo(vm, list(USERDATA)) == []

    left = site.vms()[request.name]["extraConfig"]
    assert left["guestinfo.metadata"] == "e30="
    assert not left.get("guestinfo.userdata")


async def test_what_several_ask_at_a_time_is_read_in_one_call(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    values = {key: {"guestinfo.one": key} for key in ("a", "b", "c")}
    vms = {
        key: await clone_and_wait(vcenter, a_request(target, guestinfo=guestinfo))
        for key, guestinfo in values.items()
    }
    gone = await clone_and_wait(vcenter, a_request(target))
    session = vcenter._session
    await raw_task(session, lambda: session.ref(vim.VirtualMachine, gone.moref).Destroy_Task())
    found: dict[str, object] = {}

    async def read(key: str, vm: VM) -> None:
        try:
            found[key] = await vcenter.read_extra_config(vm, ["guestinfo.one", "guestinfo.two"])
        except NotFoundError as error:
            found[key] = error

    site.process.control.reset_counters()
    async with anyio.create_task_group() as group:
        for key, vm in {**vms, "gone": gone}.items():
            group.start_soon(read, key, vm)

    assert "is no longer in vCenter" in str(found.pop("gone"))
    assert found == values
    assert site.calls()["RetrievePropertiesEx"] == 1


async def test_user_data_without_an_encoding_is_cleared_too(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(
        await vcenter.resolve(TARGET), guestinfo={"guestinfo.userdata": "#cloud-config"}
    )
    vm = await clone_and_wait(vcenter, request)

    assert await vcenter.clear_guestinfo(vm, list(USERDATA)) == list(USERDATA)
    await until(lambda: not site.vms()[request.name]["extraConfig"].get("guestinfo.userdata"))
    before, vm = vm, is_found(vcenter, request.uid).vm  # type: ignore[union-attr]
    await until(lambda: _newer(vcenter, request.uid, before))

    assert await vcenter.clear_guestinfo(vm, list(USERDATA)) == []


async def test_nothing_is_read_or_started_again_while_vcenter_is_at_it(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET), guestinfo=USERDATA)
    vm = await clone_and_wait(vcenter, request)
    site.process.control.set_limits(taskSeconds={"ReconfigVM_Task": 1.0})
    site.process.control.reset_counters()

    rounds = 0
    while await vcenter.clear_guestinfo(vm, list(USERDATA)):
        rounds += 1
        await anyio.sleep(0.05)

    calls = site.calls()
    assert rounds > 1
    assert calls["ReconfigVM_Task"] == calls["RetrievePropertiesEx"] == 1
    assert not site.vms()[request.name]["extraConfig"].get("guestinfo.userdata")
