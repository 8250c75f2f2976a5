"""Datastore clusters: a choice among their datastores, and no linked clone that would not last."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from moorage.kit.errors import InvalidError, TerminalError
from moorage.vsphere import Target, copied_bytes, why_full
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.vsphere.harness import Site, a_request, clone_and_wait

pytestmark = pytest.mark.anyio

TARGET = Target(
    datacenter="dc1",
    folder="clusters",
    template="on-gold-v1.34.4",
    compute_cluster="cc1",
    datastore="gold",
    datastore_is_cluster=True,
    datastore_field="datastoreCluster",
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


async def test_it_stands_for_the_datastores_that_hosts_there_reach(site: Site) -> None:
    vcenter = await site.connect()

    async def names(target: Target) -> list[str]:
        return [one.datastore for one in await vcenter.estate.each_datastore(target)]

    silver = replace(TARGET, datastore="silver")
    assert await names(TARGET) == ["/dc1/datastore/gold/gold1", "/dc1/datastore/gold/gold2"]
    assert [name[-7:] for name in await names(silver)] == ["silver1", "silver2"]
    on_cc2 = replace(silver, compute_cluster="cc2")
    assert [name[-7:] for name in await names(on_cc2)] == ["silver1", "silver2", "silver3"]
    for one in await vcenter.estate.each_datastore(on_cc2):
        assert await vcenter.resolve(one)


async def test_what_automated_storage_drs_would_undo_is_cloned_whole(site: Site) -> None:
    vcenter = await site.connect()
    gold, _ = [await vcenter.resolve(one) for one in await vcenter.estate.each_datastore(TARGET)]
    on_silver = replace(TARGET, datastore="silver", template="ubuntu-2404-kube-v1.34.4")
    silver, _ = [
        await vcenter.resolve(one) for one in await vcenter.estate.each_datastore(on_silver)
    ]

    vm = await clone_and_wait(vcenter, a_request(gold))
    linked = await clone_and_wait(vcenter, a_request(silver))

    assert (gold.storage_drs, silver.storage_drs) == ("gold", "")
    assert "parent" not in site.vms()[vm.name]["disks"][0]
    assert "parent" in site.vms()[linked.name]["disks"][0]
    assert copied_bytes(gold, "auto", None, replicas=False) == gold.template.committed_bytes > 0
    assert copied_bytes(silver, "auto", None, replicas=False) == 0
    assert why_full(silver, "auto", None) == ""
    assert why_full(silver, "auto", 30) == "its disk must grow to 30 GiB"
    assert why_full(silver, "full", 30) == "cloneMode is full"
    with pytest.raises(TerminalError, match="storage DRS of datastore cluster gold moves its"):
        await vcenter.clone(a_request(gold, mode="linked"))


async def test_a_datastore_of_it_that_is_named_alone_is_the_same(site: Site) -> None:
    vcenter = await site.connect()

    resolved = await vcenter.resolve(replace(TARGET, datastore="gold1", datastore_is_cluster=False))

    assert resolved.storage_drs == "gold"
    assert not resolved.can_link


async def test_one_that_is_not_there_is_named_at_its_field(site: Site) -> None:
    vcenter = await site.connect()

    (one,) = await vcenter.estate.each_datastore(replace(TARGET, datastore="golf"))
    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(one)

    (fault,) = refused.value.faults
    assert fault.path == "spec.placement.failureDomains[0].datastoreCluster"
    assert "no datastore cluster 'golf': did you mean gold" in fault.message


async def test_it_costs_no_call_beside_those_of_any_place(site: Site) -> None:
    vcenter = await site.connect()
    site.process.control.reset_counters()

    for one in await vcenter.estate.each_datastore(TARGET):
        await vcenter.resolve(one)

    calls = site.calls()
    calls.pop("WaitForUpdatesEx", None)
    assert calls == {"RetrievePropertiesEx": 1}


@pytest.mark.parametrize(
    ("template", "why"), [("encrypted", "is encrypted"), ("with-tpm", "has a virtual TPM")]
)
async def test_a_template_whose_clones_could_not_run_is_refused(
    site: Site, template: str, why: str
) -> None:
    vcenter = await site.connect()

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(replace(TARGET, template=template))

    (fault,) = refused.value.faults
    assert fault.path == "spec.placement.template"
    assert f"template {template} {why}" in fault.message


async def test_limits_of_a_pool_and_mirrors_of_vsan_are_seen(site: Site) -> None:
    vcenter = await site.connect()
    plain = replace(TARGET, datastore="silver1", datastore_is_cluster=False)
    limited = await vcenter.resolve(replace(plain, resource_pool="small", datastore="vsan"))
    free = await vcenter.resolve(plain)

    small, whole = await vcenter.estate.domains({"a": [limited], "b": [free]})

    assert [(pool.name, pool.limit_mib) for pool in small.pools] == [("small", 5000)]
    assert small.datastores[0].copies == 2
    assert (whole.pools, whole.datastores[0].copies) == ((), 1)
