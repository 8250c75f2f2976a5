"""Rules of DRS: made, changed and removed in batches, found again, and never those of others."""

from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from moorage.kit.errors import ConflictError, TerminalError
from moorage.planning import rule_name
from moorage.vsphere import VM, VCenter
from vsphere.harness import TARGET, Site, a_request, clone_and_wait, until

pytestmark = pytest.mark.anyio

METHOD = "ReconfigureComputeResource_Task"
WORKERS = rule_name("web", "workers", "0123456789")
MASTERS = rule_name("web", None, "0123456789")


async def some_vms(vcenter: VCenter, count: int) -> list[VM]:
    target = await vcenter.resolve(TARGET)
    return [await clone_and_wait(vcenter, a_request(target)) for _ in range(count)]


def in_vcenter(site: Site) -> dict[str, set[str]]:
    return {rule["name"]: set(rule["vms"]) for rule in site.process.control.inventory()["rules"]}


async def make_so(vcenter: VCenter, wanted: dict[str, set[str]]) -> None:
    here = (await vcenter.resolve(TARGET)).compute_cluster
    members = {name: frozenset(vms) for name, vms in wanted.items()}
    with anyio.fail_after(20):
        while not await vcenter.rules.ensure(here, members, "me"):  # noqa: ASYNC110 - as a pass
            await anyio.sleep(0.05)


async def test_a_rule_is_made_changed_and_removed(site: Site) -> None:
    vcenter = await site.connect()
    one, two, three = (vm.moref for vm in await some_vms(vcenter, 3))

    wanted: list[set[str]] = [{one, two}, {one, two, three}, {two, three}, set()]
    for members in wanted:
        await make_so(vcenter, {WORKERS: members})
        assert in_vcenter(site) == ({WORKERS: members} if members else {})
        assert not any(rule["mandatory"] for rule in site.process.control.inventory()["rules"])

    assert await vcenter.rules.find(lambda _: True) == []


async def test_rules_of_a_burst_are_one_change_and_a_new_one_needs_no_look(site: Site) -> None:
    vcenter = await site.connect()
    one, two, three, four = (vm.moref for vm in await some_vms(vcenter, 4))
    await vcenter.rules.learn()
    site.process.control.reset_counters()

    await make_so(vcenter, {WORKERS: {one, two}, MASTERS: {three, four}})

    assert in_vcenter(site) == {WORKERS: {one, two}, MASTERS: {three, four}}
    calls = site.calls()
    assert calls[METHOD] == 1
    assert "RetrievePropertiesEx" not in calls


async def test_what_an_earlier_process_made_is_found_and_not_made_again(site: Site) -> None:
    first = await site.connect()
    one, two, three = (vm.moref for vm in await some_vms(first, 3))
    await make_so(first, {WORKERS: {one, two}})
    await first.close()

    second = await site.connect()
    site.process.control.reset_counters()
    await make_so(second, {WORKERS: {one, two}})
    assert METHOD not in site.calls()
    await make_so(second, {WORKERS: {one, three}})
    assert in_vcenter(site) == {WORKERS: {one, three}}


async def test_a_rule_that_came_meanwhile_is_changed_and_not_doubled(site: Site) -> None:
    mine, other = await site.connect(), await site.connect()
    one, two, three = (vm.moref for vm in await some_vms(mine, 3))
    await mine.rules.learn()
    await make_so(other, {WORKERS: {one, two}})

    with suppress(ConflictError):  # said once: an engine tries again
        await make_so(mine, {WORKERS: {one, three}})
    await make_so(mine, {WORKERS: {one, three}})

    assert in_vcenter(site) == {WORKERS: {one, three}}


async def test_one_rule_that_is_refused_keeps_no_other_back(site: Site) -> None:
    vcenter = await site.connect()
    one, two, three = (vm.moref for vm in await some_vms(vcenter, 3))
    await vcenter.rules.learn()
    site.process.control.fault(METHOD, "fail", fault="InvalidArgument")

    with pytest.raises(TerminalError):
        await make_so(vcenter, {WORKERS: {one, two}, MASTERS: {two, three}})
    for name, members in ((WORKERS, {one, two}), (MASTERS, {two, three})):
        with suppress(TerminalError):  # what the refused change wanted hears of it, once
            await make_so(vcenter, {name: members})
        await make_so(vcenter, {name: members})

    assert in_vcenter(site) == {WORKERS: {one, two}, MASTERS: {two, three}}


async def test_a_task_that_fails_is_told_once(site: Site) -> None:
    vcenter = await site.connect()
    one, two = (vm.moref for vm in await some_vms(vcenter, 2))
    site.process.control.fault(METHOD, "fail", fault="InvalidArgument", late=True)

    with pytest.raises(TerminalError):
        await make_so(vcenter, {WORKERS: {one, two}})
    await make_so(vcenter, {WORKERS: {one, two}})

    assert in_vcenter(site) == {WORKERS: {one, two}}


async def test_a_vm_that_has_gone_is_left_out(site: Site) -> None:
    vcenter = await site.connect()
    one, two = (vm.moref for vm in await some_vms(vcenter, 2))

    await make_so(vcenter, {WORKERS: {one, two, "vm-999"}})

    assert in_vcenter(site) == {WORKERS: {one, two}}


async def test_a_host_that_leaves_or_comes_back_wakes_the_clusters_beside_it_and_asks_nothing(
    site: Site,
) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    request = a_request(target)
    mark = replace(request.mark, cluster="11111111-2222-3333-4444-555555555555")
    vm = await clone_and_wait(vcenter, replace(request, mark=mark))
    (host, *_) = [path for path in site_hosts(site) if "/cc1/" in path]
    others = [path for path in site_hosts(site) if "/cc2/" in path]
    site.process.control.reset_counters()

    for state in ("maintenance", "connected"):
        site.seen.clear()
        site.process.control.set_host(host, state)
        await until(lambda: any(mark.cluster in uids for uids in site.seen))
    site.seen.clear()
    for path in others:
        site.process.control.set_host(path, "maintenance")
        await until(lambda path=path: vcenter.estate.out_of_service(moref_of(site, path)) != "")

    assert not any(mark.cluster in uids for uids in site.seen), "none of its VMs is there"
    assert {*site.calls()} <= {"WaitForUpdatesEx"}
    for path in others:
        site.process.control.set_host(path, "connected")
    await vcenter.destroy(vm)


def site_hosts(site: Site) -> list[str]:
    """Return the inventory paths of all hosts."""
    return [one["path"] for one in site.process.control.inventory()["hosts"]]


def moref_of(site: Site, path: str) -> str:
    """Return the moref of a host."""
    hosts = site.process.control.inventory()["hosts"]
    return next(one["moref"] for one in hosts if one["path"] == path)
