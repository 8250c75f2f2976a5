"""The inventory: found, absent or unknown; complete again after whatever broke."""

import time
from contextlib import AsyncExitStack

import anyio
import pytest
import yaml
from pyVmomi import vim

from moorage.kit.errors import UnavailableError
from moorage.kit.ids import new_uid
from moorage.vsphere import Absent, Found, Limits, Task, TaskState, Unknown, VCenter
from moorage.vsphere.types import PROGRESS_KEY
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory
from vsphere.harness import TARGET, Site, a_request, clone_and_wait, is_found, raw_task, until

pytestmark = pytest.mark.anyio


async def test_nothing_is_absent_before_the_first_sync(site: Site) -> None:
    site.process.control.fault("WaitForUpdatesEx", "delay", seconds=1.0)
    vcenter = await site.connect_only()

    before = vcenter.find(new_uid())
    proven = await vcenter.prove_absent(new_uid())
    await vcenter.wait_synced(60)

    assert isinstance(before, Unknown)
    assert isinstance(proven, Unknown)
    assert isinstance(vcenter.find(new_uid()), Absent)


async def test_nothing_is_absent_while_the_stream_is_down(site: Site) -> None:
    vcenter = await site.connect()

    site.process.control.restart(2)
    await until(lambda: isinstance(vcenter.find(new_uid()), Unknown))
    down = vcenter.find(new_uid())
    assert isinstance(down, Unknown)
    assert "stream is down" in down.why
    assert isinstance(await vcenter.prove_absent(new_uid()), Unknown)

    await until(lambda: isinstance(vcenter.find(new_uid()), Absent), 30)


async def test_what_a_vm_becomes_is_seen(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    site.seen.clear()

    await vcenter.power_on(vm)
    _report(site, vm.bios_uuid, ips=["10.77.1.10", "fe80::1"])
    found = await until(lambda: (seen := is_found(vcenter, request.uid)) and seen.vm.addresses)

    assert found == ("10.77.1.10",)
    assert any(request.uid in uids for uids in site.seen)


async def test_what_a_guest_writes_is_seen(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    site.process.control._call(
        "PUT", f"/guest/{vm.bios_uuid}/guestinfo", json={PROGRESS_KEY: '{"phase":"Booting"}'}
    )

    await until(
        lambda: is_found(vcenter, request.uid).vm.extra.get(PROGRESS_KEY) == '{"phase":"Booting"}'  # type: ignore[union-attr]
    )


def _report(site: Site, uuid: str, ips: list[str]) -> None:
    """Report what a node's guest tools do: its card, and the bridge of its pods."""
    card = next(vm for vm in site.vms().values() if vm["uuid"] == uuid)["nics"][0]
    bridge = {"mac": "5a:00:00:00:00:01", "ips": ["10.244.1.1"]}
    nics = [{"mac": card["mac"], "ips": ips}, bridge]
    state = {"hostName": "node", "toolsRunning": True, "nics": nics}
    site.process.control._call("PUT", f"/guest/{uuid}/state", json=state)


async def test_a_vm_destroyed_by_hand_is_absent_and_proven_so(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    stranger = await site.stranger()
    await stranger.call("log in", lambda: None)
    target = stranger.ref(vim.VirtualMachine, vm.moref)

    await raw_task(stranger, target.Destroy_Task)

    await until(lambda: not isinstance(vcenter.find(request.uid, vm.moref), Found))
    await until(lambda: isinstance(vcenter.find(request.uid, vm.moref), Absent))
    site.process.control.reset_counters()
    proven = await vcenter.prove_absent(
        request.uid, moref=vm.moref, folder=request.target.folder, name=vm.name
    )
    assert isinstance(proven, Absent)
    calls = site.calls()
    assert calls["FindByUuid"] == 1
    assert calls["RetrievePropertiesEx"] == 1


async def test_a_vm_whose_mark_was_taken_away_is_not_proven_absent(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    stranger = await site.stranger()
    await stranger.call("log in", lambda: None)
    target = stranger.ref(vim.VirtualMachine, vm.moref)
    option = vim.option.OptionValue(key="moorage.owner", value="")

    await raw_task(
        stranger, lambda: target.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[option]))
    )
    await until(lambda: not isinstance(vcenter.find(request.uid, vm.moref), Found))

    proven = await vcenter.prove_absent(request.uid, moref=vm.moref)
    assert isinstance(proven, Unknown)
    assert "mark" in proven.why


async def test_an_unreadable_folder_proves_nothing(site: Site) -> None:
    vcenter = await site.connect()

    proven = await vcenter.prove_absent(new_uid(), folder="group-99999")

    assert isinstance(proven, Unknown)
    assert "folder" in proven.why


async def test_an_expired_session_is_survived(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    site.process.control.expire_sessions()
    await until(lambda: vcenter.counters.stream_restarts >= 1)
    await vcenter.wait_synced(60)

    found = vcenter.find(request.uid)
    assert isinstance(found, Found)
    assert found.vm.moref == vm.moref
    assert site.process.control.counters()["sessions"]["open"] == 1


async def test_a_restart_of_vcenter_is_survived_and_deletions_are_noticed(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    kept, gone = a_request(target), a_request(target)
    for request in (kept, gone):
        await clone_and_wait(vcenter, request)
    moref = is_found(vcenter, gone.uid).vm.moref  # type: ignore[union-attr]
    site.process.control.fault("CreatePropertyCollector", "fail", fault="SystemError", count=2)
    stranger_first = await site.stranger()

    site.process.control.restart(3)
    await until(lambda: isinstance(vcenter.find(kept.uid), Unknown))
    site.seen.clear()
    await until(site.process.control.is_healthy, 20)
    site.process.control.clear_faults()
    await stranger_first.call("log in", lambda: None)
    victim = stranger_first.ref(vim.VirtualMachine, moref)
    await raw_task(stranger_first, victim.Destroy_Task)
    await until(lambda: isinstance(vcenter.find(gone.uid, moref), Absent), 40)

    assert is_found(vcenter, kept.uid)
    await until(lambda: any(gone.uid in uids for uids in site.seen))  # its controller is told


async def test_a_task_lost_in_a_restart_is_said_to_be_lost(site: Site) -> None:
    vcenter = await site.connect()

    unknown = vcenter.task("task-99999", uid="somebody")

    assert unknown is not None
    await until(lambda: str(vcenter.task("task-99999").state) == "lost")  # type: ignore[union-attr]
    assert any("somebody" in uids for uids in site.seen)


async def test_a_task_whose_error_cannot_be_read_takes_no_stream_down(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    # A `TaskInProgress` that names no task is one that pyVmomi cannot parse.
    site.process.control.fault("CloneVM_Task", "fail", fault="TaskInProgress", late=True)

    started = await vcenter.clone(request)
    task = await until(lambda: _over(vcenter, started.moref))
    await vcenter.wait_synced(60)
    await vcenter.clone(request)
    await until(lambda: is_found(vcenter, request.uid))

    assert task.state is TaskState.ERROR
    assert isinstance(task.error, UnavailableError)
    assert "for a reason that cannot be read" in str(task.error)
    assert list(site.vms()) == [request.name]


def _over(vcenter: VCenter, moref: str | None) -> Task | None:
    task = vcenter.task(moref) if moref else None
    return task if task is not None and task.is_over else None


async def test_a_mark_given_later_is_noticed(site: Site) -> None:
    """The VM was there, and foreign, when the inventory was first read."""
    stranger = await site.stranger()
    first = await site.connect()
    request = a_request(await first.resolve(TARGET))
    vm = await clone_and_wait(first, request)
    await first.close()
    await stranger.call("log in", lambda: None)
    target = stranger.ref(vim.VirtualMachine, vm.moref)

    async def set_mark(value: str) -> None:
        option = vim.option.OptionValue(key="moorage.owner", value=value)
        await raw_task(
            stranger, lambda: target.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[option]))
        )

    await set_mark("")
    vcenter = await site.connect()
    assert not is_found(vcenter, request.uid)

    await set_mark(request.mark.to_json())

    found = await until(lambda: is_found(vcenter, request.uid))
    assert found.vm.name == request.name


async def test_an_idle_stream_returns_seldom(site: Site) -> None:
    vcenter = await site.connect(limits=Limits(stream_wait_s=2))
    await until(lambda: vcenter.counters.stream_returns >= 1)
    before, started = vcenter.counters.stream_returns, time.monotonic()

    await anyio.sleep(5)

    per_second = (vcenter.counters.stream_returns - before) / (time.monotonic() - started)
    assert per_second <= 0.7, "it waits its two seconds each time"


async def test_a_busy_stream_returns_at_most_twice_a_second(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)
    await anyio.sleep(3)
    before, started = vcenter.counters.stream_returns, time.monotonic()

    with anyio.move_on_after(8):
        number = 0
        while True:
            number += 1
            _report(site, vm.bios_uuid, ips=[f"10.77.1.{number % 200 + 1}"])
            await anyio.sleep(0.05)

    per_second = (vcenter.counters.stream_returns - before) / (time.monotonic() - started)
    assert per_second <= 2.0, "burst and steady rate together, over eight seconds"
    await until(
        lambda: is_found(vcenter, request.uid).vm.addresses == (f"10.77.1.{number % 200 + 1}",)  # type: ignore[union-attr]
    )


async def test_a_clone_lost_in_a_restart_is_made_again() -> None:
    """Its task is forgotten by vCenter: that must not read as running for ever."""
    async with AsyncExitStack() as stack:
        process = stack.enter_context(VCenterProcess.start(arguments=("--task-seconds", "4")))
        site = Site(process, stack)
        vcenter = await site.connect()
        request = a_request(await vcenter.resolve(TARGET))
        task = await vcenter.clone(request)
        seen = vcenter.find(request.uid)
        assert isinstance(seen, Unknown)
        assert seen.reason == "Cloning"

        process.control.restart(1)
        await until(lambda: isinstance(vcenter.find(request.uid), Absent), 40)
        lost = vcenter.task(str(task.moref))
        await vcenter.clone(request)
        await until(lambda: is_found(vcenter, request.uid), 30)

        assert lost is not None
        assert lost.state is TaskState.LOST
        assert list(site.vms()) == [request.name]


async def test_a_clone_is_asked_for_once_when_the_session_had_expired(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))

    site.process.control.expire_sessions()
    await vcenter.clone(request)
    await until(lambda: is_found(vcenter, request.uid))

    assert list(site.vms()) == [request.name]


async def test_an_answer_in_many_pages_is_taken_whole() -> None:
    inventory = yaml.safe_load(default_inventory().read_text())
    inventory["datacenters"][0]["computeClusters"][0]["hostCount"] = 230
    async with AsyncExitStack() as stack:
        process = stack.enter_context(VCenterProcess.start(inventory))
        site = Site(process, stack)

        vcenter = await site.connect()

        assert vcenter.counters.stream_returns >= 3, "vCenter gives 100 objects at a time"
        resolved = await vcenter.resolve(TARGET)
        assert len(vcenter._stream.places.hosts(resolved.compute_cluster)) == 230
