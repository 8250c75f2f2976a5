"""What planning knows of hosts and datastores: right, and read once for all who ask."""

import pytest

from moorage.planning import Load, Resident
from moorage.planning.estate import Reserved
from moorage.vsphere import Allocation, NewDisk, ResolvedTarget, Target
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.promised import Promised
from vsphere.harness import TARGET, Site, a_request, clone_and_wait, power_on_and_wait, until
from vsphere.test_resolve import EAST

pytestmark = pytest.mark.anyio

GIB = 1024**3


async def test_domains_of_one_placement_are_read_together_with_the_template(mixed: Site) -> None:
    vcenter = await mixed.connect()
    await vcenter.rules.learn()  # as an account does once, when it connects
    mixed.process.control.reset_counters()
    where = {"drs": "cc1", "none": "cc2", "solo": "east-solo.lab"}
    targets = {
        name: [await vcenter.resolve(Target(**{**EAST, "compute_cluster": cluster}))]
        for name, cluster in where.items()
    }

    drs, none, solo = await vcenter.estate.domains(targets)
    await vcenter.estate.domains(targets)

    assert mixed.calls().get("RetrievePropertiesEx") == 1
    vcenter.estate.forget()
    await vcenter.estate.domains(targets)
    assert mixed.calls().get("RetrievePropertiesEx") == 3, "hosts once more, and rules"
    assert [one.pins_host for one in (drs, none, solo)] == [False, True, False]
    assert [(host.name, host.memory_mib) for host in drs.hosts] == [
        ("east-a1.lab", 256 * 1024),
        ("east-a2.lab", 128 * 1024),
    ]
    assert len(none.hosts) == 3
    (store,) = drs.datastores
    assert (store.name, store.capacity_bytes) == ("shared", 4096 * GIB)
    assert 0 < store.free_bytes < store.capacity_bytes
    for domain in (drs, none, solo):
        assert all(domain.network in host.networks for host in domain.hosts)
        assert all(store.ref in host.datastores for host in domain.hosts)


async def test_what_is_out_of_service_is_known_without_a_call(mixed: Site) -> None:
    vcenter = await mixed.connect()
    target = await vcenter.resolve(Target(**EAST))
    (domain,) = await vcenter.estate.domains({"a": [target]})
    first = domain.hosts[0]
    assert vcenter.estate.out_of_service(first.ref) == ""

    for state, said in (
        ("maintenance", "in maintenance mode"),
        ("disconnected", "disconnected"),
        ("notResponding", "not responding"),
    ):
        mixed.process.control.set_host(f"/east/host/cc1/{first.name}", state)
        await until(lambda said=said: vcenter.estate.out_of_service(first.ref) == said)
        (domain,) = await vcenter.estate.domains({"a": [target]})
        assert domain.hosts[0].out_of_service == said
    assert vcenter.estate.out_of_service("host-9999") == "gone from vCenter"


async def test_what_a_host_can_still_reserve_is_known_where_its_host_is_chosen(
    mixed: Site,
) -> None:
    vcenter = await mixed.connect()
    target = await vcenter.resolve(Target(**{**EAST, "compute_cluster": "cc2"}))
    automated = await vcenter.resolve(Target(**{**EAST, "compute_cluster": "cc1"}))
    targets = {"none": [target], "drs": [automated]}

    async def left() -> dict[str, Reserved | None]:
        vcenter.estate.forget()
        none, drs = await vcenter.estate.domains(targets, reserving=True)
        assert {host.unreserved for host in drs.hosts} == {None}
        return {host.ref: host.unreserved for host in none.hosts}

    request = a_request(target, memory_allocation=Allocation(1500), cpu_allocation=Allocation(700))
    vm = await clone_and_wait(vcenter, request)
    before = await left()
    vm = await power_on_and_wait(vcenter, vm)
    after = await left()
    plain, _ = await vcenter.estate.domains(targets)

    assert vm.host is not None
    was, now = before[vm.host], after[vm.host]
    assert was is not None
    assert now is not None
    assert was.memory_mib == next(one.memory_mib for one in plain.hosts if one.ref == vm.host)
    assert (was.memory_mib - now.memory_mib, was.cpu_mhz - now.cpu_mhz) == (1500, 700)
    assert all(after[ref] == one for ref, one in before.items() if ref != vm.host)


def a_promise(target: ResolvedTarget, size: int, host: str = "host-1") -> Resident:
    """Return a machine that takes some bytes, and memory of a host."""
    taken = {target.datastore: Load(size_bytes=size), host: Load(memory_mib=4096)}
    return Resident("", "a", host, taken)


async def test_what_was_placed_counts_once_however_far_it_is(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    request = a_request(target, mode="full", extra_disks=(NewDisk(8),))
    size = target.template.committed_bytes + 8 * GIB

    async def room() -> int:
        (domain,) = await vcenter.estate.domains({"a": [target]})
        (coming,) = vcenter.estate.promised.residents()
        assert not vcenter.estate.promised.residents(but=request.uid)
        return domain.datastores[0].free_bytes - coming.loads[target.datastore].size_bytes

    await vcenter.estate.domains({"a": [target]})
    vcenter.estate.promised.add({request.uid: a_promise(target, size)})
    before = await room()

    vm = await clone_and_wait(vcenter, request)
    stale = await room()
    vcenter.estate.forget()
    fresh = await room()

    assert before == stale == fresh, "whether the figures are older than the VM, or not"
    (coming,) = vcenter.estate.promised.residents()
    assert coming.loads[target.datastore].size_bytes == 0
    assert coming.loads["host-1"].memory_mib == 4096, "it does not run yet"
    await vcenter.destroy(vm)
    await until(lambda: vm.name not in site.vms())


async def test_what_was_placed_is_forgotten_after_a_minute_and_counted_anew_when_placed_again(
    site: Site,
) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    now = [0.0]
    promised = Promised(Inventory(), lambda: now[0])

    promised.add({"m": a_promise(target, 8 * GIB), "n": a_promise(target, GIB)})
    promised.add({"m": a_promise(target, 2 * GIB)})
    promised.take({}, [target.datastore])

    sizes = [one.loads[target.datastore].size_bytes for one in promised.residents()]
    assert sizes == [2 * GIB, GIB]
    now[0] = 61.0
    assert promised.residents() == []
