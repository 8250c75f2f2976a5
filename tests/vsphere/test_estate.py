"""What planning knows of hosts and datastores: right, and read once for all who ask."""

import pytest

from moorage.planning import Load, Resident
from moorage.vsphere import Target
from vsphere.harness import Site, until
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


async def test_what_was_placed_is_remembered_for_all_who_plan(site: Site) -> None:
    vcenter = await site.connect()
    coming = Resident("", "a", "host-1", {"datastore-1": Load(size_bytes=GIB)})

    vcenter.estate.promise([coming])

    assert vcenter.estate.promised() == [coming]
