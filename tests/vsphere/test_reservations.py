"""Reservations, limits and shares of machines, before admission control."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import anyio
import pytest
from pyVmomi import vim

from moorage.kit.errors import UnavailableError
from moorage.planning.estate import Pool, Reserved
from moorage.vsphere import VM, Allocation, Power, Target, VCenter
from moorage.vsphere.properties import Want, retrieve
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.vsphere.harness import (
    Site,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    until,
)

TARGET = Target(
    datacenter="dc1",
    folder="clusters",
    template="templates/ubuntu-2404-kube-v1.34.4",
    compute_cluster="cc1",
    resource_pool="kept",
    datastore="silver1",
    network="nodes",
)


@pytest.fixture(scope="module")
def estate() -> Iterator[VCenterProcess]:
    with VCenterProcess.start(lab_dir() / "inventories" / "pods.yaml") as running:
        yield running


@pytest.fixture
async def site(estate: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(estate, stack)


async def allocations(vcenter: VCenter, moref: str) -> tuple[Any, Any]:
    paths = ["config.cpuAllocation", "config.memoryAllocation"]
    session = vcenter._session  # what the VM really has is for nobody but this test
    want = Want(vim.VirtualMachine, [moref], paths)
    found = await session.call("read allocations", lambda: retrieve(session, [want]))
    return found[moref][paths[0]], found[moref][paths[1]]


async def refusal(vcenter: VCenter, vm: VM) -> str:
    """Try to power on until it is said why that cannot be."""
    with anyio.fail_after(60):
        while True:
            try:
                await vcenter.power_on(vm)
            except UnavailableError as error:
                return str(error)
            await anyio.sleep(0.1)


async def test_a_clone_has_what_is_asked_for(site: Site) -> None:
    vcenter = await site.connect()
    request = replace(
        a_request(await vcenter.resolve(TARGET)),
        cpu_allocation=Allocation(500, 4000, "high"),
        memory_allocation=Allocation(1024, None, 12345),
    )

    vm = await clone_and_wait(vcenter, request)

    cpu, memory = await allocations(vcenter, vm.moref)
    assert (cpu.reservation, cpu.limit, cpu.shares.level) == (500, 4000, "high")
    assert (memory.reservation, memory.limit) == (1024, -1)
    assert (memory.shares.level, memory.shares.shares) == ("custom", 12345)
    await vcenter.destroy(vm)
    await until(lambda: vm.name not in site.vms())


async def test_what_a_pool_can_reserve_is_told_and_no_more_is_powered_on(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)

    async def pools() -> tuple[Pool, ...]:
        vcenter.estate.forget()
        (domain,) = await vcenter.estate.domains({"a": [target]}, reserving=True)
        return domain.pools

    request = replace(a_request(target), memory_allocation=Allocation(2000))
    first = await clone_and_wait(vcenter, request)
    other = replace(a_request(target), memory_allocation=Allocation(2000))
    second = await clone_and_wait(vcenter, other)
    before = await pools()
    await power_on_and_wait(vcenter, first)
    after = await pools()

    assert [(one.name, one.limit_mib) for one in before] == [("kept", None)]
    assert before[0].unreserved is not None
    assert before[0].unreserved.memory_mib == 3000
    assert after[0].unreserved is not None
    assert after[0].unreserved.memory_mib == 1000
    assert "Insufficient memory resources: 1000 MB are left" in await refusal(vcenter, second)
    await vcenter.power_off(first)
    await until(lambda: (found := is_found(vcenter, request.uid)) is not None
                and found.vm.power is Power.OFF)  # fmt: skip
    assert (await pools()) == before


async def test_limits_of_pools_above_count_and_the_rest_comes_from_there(site: Site) -> None:
    vcenter = await site.connect()
    inner = await vcenter.resolve(replace(TARGET, resource_pool="small/inner"))
    root = await vcenter.resolve(replace(TARGET, resource_pool=None))

    found = {
        one.name: one.pools
        for one in await vcenter.estate.domains({"in": [inner], "root": [root]}, reserving=True)
    }
    without = await vcenter.estate.domains({"root": [root]})

    inside, above = found["in"]
    assert (inside.name, inside.limit_mib) == ("inner", None)
    assert inside.unreserved is not None
    assert inside.unreserved.memory_mib == 5000, "as much as the limit above it lets through"
    assert (above.name, above.limit_mib, above.unreserved) == ("small", 5000, None)
    (of_root,) = found["root"]
    assert of_root.limit_mib is None
    assert isinstance(of_root.unreserved, Reserved)
    assert without[0].pools == ()
