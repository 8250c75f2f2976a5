"""What befalls a vCenter, and what may not follow from it: a second VM, or a lost one."""

import contextlib

import anyio
import pytest

from moorage.kit.errors import MoorageError
from moorage.kit.ids import new_uid
from moorage.resources.account import Trust
from moorage.vsphere import Endpoint, Found, Limits, State
from moorage.vsphere.types import OWNER_KEY
from vsphere.harness import (
    TARGET,
    Site,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    task_over,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_lost_and_cut_answers_make_no_second_machine(site: Site, seed: int) -> None:
    # A dropped answer is waited for until the deadline.
    vcenter = await site.connect(limits=Limits(read_s=3, effect_s=3, stream_wait_s=2))
    request = a_request(await vcenter.resolve(TARGET))
    # Each meets so many calls and no more: what goes on for ever may hold the stream down for ever.
    for action in ("dropAnswer", "truncate", "dieBefore"):
        site.process.control.fault("*", action, count=4, probability=0.3, seed=seed)

    with anyio.fail_after(180):
        while is_found(vcenter, request.uid) is None:
            with contextlib.suppress(MoorageError):
                await vcenter.clone(request)
            await anyio.sleep(0.1)
    site.process.control.clear_faults()
    await until(lambda: is_found(vcenter, request.uid))

    ledger = site.process.control.ledger()
    assert ledger.duplicates(OWNER_KEY) == []
    assert len(ledger.owned(OWNER_KEY)[request.uid]) == 1
    assert ledger.stray_files() == []


async def test_a_cut_answer_of_the_stream_loses_nothing(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    site.process.control.fault("WaitForUpdatesEx", "truncate", count=2)

    await clone_and_wait(vcenter, request)

    assert is_found(vcenter, request.uid)


async def test_a_machine_on_a_lost_host_is_waited_for(site: Site) -> None:
    vcenter = await site.connect()
    vm = await clone_and_wait(vcenter, a_request(await vcenter.resolve(TARGET)))
    host = site.vms()[vm.name]["host"]
    site.process.control.set_host(f"/dc1/host/cc1/{host}", "notResponding")

    task = await vcenter.power_on(vm)
    ended = await until(task_over(vcenter, task.moref))

    assert ended.fault == "HostNotConnected"
    site.process.control.set_host(f"/dc1/host/cc1/{host}", "connected")


async def test_a_machine_that_somebody_moved_is_still_found(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    site.process.control.move_vm(vm.moref, "/dc1/vm/templates")
    site.process.control.rename_vm(vm.moref, "somebodys-name")

    found = await until(
        lambda: (seen := is_found(vcenter, request.uid)) and seen.vm.name != vm.name and seen
    )
    assert found.vm.name == "somebodys-name"
    assert found.vm.moref == vm.moref


async def test_a_copy_made_by_hand_is_not_taken_for_the_machine(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    vm = await clone_and_wait(vcenter, request)

    copy = site.process.control.clone_vm(vm.moref, "copy")
    site.process.control.destroy_vm(vm.moref)
    await until(lambda: is_found(vcenter, request.uid) is None)

    assert site.vms()["copy"]["moref"] == copy
    assert site.process.control.ledger().duplicates(OWNER_KEY) == []


async def test_a_new_authority_is_not_trusted_until_it_is_given(site: Site) -> None:
    vcenter = await site.connect()
    await vcenter.resolve(TARGET)

    authority = site.process.control.new_certificate(new_authority=True)
    await until(lambda: vcenter.state is State.UNTRUSTED_CERTIFICATE, 30)

    trust = Trust(ca_bundle=await anyio.Path(authority).read_text())
    again = await site.connect(endpoint=Endpoint(site.process.address, site.process.user, trust))
    assert again.state is State.CONNECTED


async def test_queued_tasks_are_waited_for(site: Site) -> None:
    site.process.control.set_limits(
        taskSeconds={"CloneVM_Task": 0.2}, tasksPerDatastore=1, tasksPerHost=1
    )
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    requests = [a_request(target, uid=new_uid()) for _ in range(4)]
    for request in requests:
        await vcenter.clone(request)

    for request in requests:
        found = await until(lambda uid=request.uid: is_found(vcenter, uid))
        await power_on_and_wait(vcenter, found.vm)


async def test_a_first_sync_in_many_pieces_is_complete_only_at_its_end(site: Site) -> None:
    first = await site.connect()
    request = a_request(await first.resolve(TARGET))
    vm = await clone_and_wait(first, request)
    site.process.control.set_limits(updatesPerAnswer=1)
    site.process.control.fault("WaitForUpdatesEx", "delay", seconds=0.05, count=-1)

    second = await site.connect_only()
    seen = set()
    while not isinstance(presence := second.find(request.uid), Found):
        seen.add(type(presence).__name__)
        await anyio.sleep(0.01)

    assert seen <= {"Unknown"}, "absent was said before everything had been seen"
    assert presence.vm.moref == vm.moref
