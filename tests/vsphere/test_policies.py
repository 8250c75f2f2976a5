"""Storage policies: found by name, kept for a while, followed by home and disks of clones."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from moorage.kit.errors import InvalidError
from moorage.vsphere import NewDisk, Target, VCenter, needs_replica
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.vsphere.harness import Site, a_request, clone_and_wait, until

GIB = 1024**3
SILVER = "Silber / 50% ä"
TARGET = Target(
    datacenter="dc1",
    folder="clusters",
    template="templates/ubuntu-2404-kube-v1.34.4",
    compute_cluster="cc1",
    datastore="",
    storage_policy=SILVER,
    network="nodes",
)
ASKED = ("PbmRetrieveServiceContent", "PbmQueryProfile", "PbmRetrieveContent")


@pytest.fixture(scope="module")
def estate() -> Iterator[VCenterProcess]:
    with VCenterProcess.start(lab_dir() / "inventories" / "pods.yaml") as running:
        yield running


@pytest.fixture
async def site(estate: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(estate, stack)


async def faults(vcenter: VCenter, target: Target) -> str:
    (one,) = await vcenter.estate.each_datastore(target)
    with pytest.raises(InvalidError) as error:
        await vcenter.resolve(one)
    return str(error.value)


async def test_a_policy_stands_for_the_datastores_that_satisfy_it_and_are_reached(
    site: Site,
) -> None:
    vcenter = await site.connect()

    each = await vcenter.estate.each_datastore(TARGET)
    pod = replace(TARGET, datastore="silver", datastore_is_cluster=True, compute_cluster="cc2")
    inside = await vcenter.estate.each_datastore(pod)

    assert [one.datastore[-7:] for one in each] == ["silver1", "silver2"]
    assert [one.datastore[-7:] for one in inside] == ["silver1", "silver2"], "silver3 does not"
    for one in each:
        assert (await vcenter.resolve(one)).storage_profile


async def test_a_policy_is_asked_for_once_and_never_where_there_is_none(site: Site) -> None:
    vcenter = await site.connect()
    site.process.control.reset_counters()

    await vcenter.resolve(replace(TARGET, datastore="silver1", storage_policy=None))
    without = dict(site.process.control.counters()["calls"])
    for _ in range(5):
        for one in await vcenter.estate.each_datastore(TARGET):
            await vcenter.resolve(one)

    calls = site.process.control.counters()["calls"]
    assert not [name for name in without if name.startswith("Pbm")]
    assert {name: calls[name] for name in calls if name.startswith("Pbm")} == dict.fromkeys(
        (*ASKED, "PbmQueryMatchingHub"), 1
    )


@pytest.mark.parametrize(
    ("policy", "datastore", "said"),
    [
        ("Silver", "", "storagePolicy: no storage policy 'Silver': there is Silber / 50% ä"),
        ("twice", "", "storagePolicy: storage policy 'twice' is not unique: give one of 5e1f"),
        ("nowhere", "", "satisfies storage policy nowhere: nothing satisfies it"),
        ("gold", "silver1", "datastore silver1 does not satisfy storage policy gold: it is "),
        ("one site", "vsan", "data on one site of a stretched vSAN (Preferred Fault Domain)"),
        ("encrypted", "silver1", "storage policy encrypted encrypts: machines would need"),
    ],
)  # fmt: skip
async def test_a_policy_that_machines_cannot_follow_is_refused_with_the_reason(
    policy: str, datastore: str, said: str, site: Site
) -> None:
    vcenter = await site.connect()

    text = await faults(vcenter, replace(TARGET, storage_policy=policy, datastore=datastore))

    assert "spec.placement.failureDomains[0]." in text
    assert said in text


async def test_one_of_two_policies_of_a_name_is_given_by_its_identifier(site: Site) -> None:
    vcenter = await site.connect()
    (first, second) = await vcenter.estate.policies.called("twice")

    stores = [
        one.datastore[-7:]
        for policy in (first, second)
        for one in await vcenter.estate.each_datastore(
            replace(TARGET, storage_policy=policy.profile)
        )
    ]

    assert stores == ["silver1", "silver2"]


async def test_home_and_all_disks_of_a_clone_follow_the_policy(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(replace(TARGET, datastore="silver1"))
    request = a_request(target, disk_gib=30, extra_disks=(NewDisk(5), NewDisk(6, thin=False)))

    vm = await clone_and_wait(vcenter, request)

    followed = site.vms()[vm.name]["policies"]
    assert followed.pop("home") == SILVER
    assert len(followed) == 3, "the template's disk and two more"
    assert set(followed.values()) == {SILVER}
    await vcenter.destroy(vm)
    await until(lambda: vm.name not in site.vms())


async def test_disks_are_shared_only_with_what_follows_the_same_policy(site: Site) -> None:
    vcenter = await site.connect()
    plain = await vcenter.resolve(replace(TARGET, datastore="silver1", storage_policy=None))
    target = await vcenter.resolve(replace(TARGET, datastore="silver1"))
    assert plain.can_link
    assert not target.can_link
    assert needs_replica(target, "auto", None)
    replica = await clone_and_wait(vcenter, a_request(target, mode="full"))
    await vcenter.replicas.take_snapshot(replica)
    await until(lambda: site.vms()[replica.name]["snapshots"] == 1)

    source = await vcenter.replicas.source(target, replica.moref)

    assert source is not None
    vm = await clone_and_wait(vcenter, a_request(source, mode="linked"))
    shown = site.vms()[vm.name]
    assert set(shown["policies"].values()) == {SILVER}
    assert shown["disks"][0]["parent"]
    for one in (vm, replica):
        await vcenter.destroy(one)
        await until(lambda name=one.name: name not in site.vms())


async def test_vsan_writes_as_often_as_the_policy_says(site: Site) -> None:
    vcenter = await site.connect()
    on_vsan = replace(TARGET, datastore="vsan")
    targets = {
        name: [await vcenter.resolve(replace(on_vsan, storage_policy=name))]
        for name in ("vSAN RAID-5",)
    }
    targets["default"] = [await vcenter.resolve(replace(on_vsan, storage_policy=None))]

    found = {one.name: one for one in await vcenter.estate.domains(targets)}

    assert found["default"].datastores[0].copies == 2
    assert found["vSAN RAID-5"].datastores[0].copies == pytest.approx(4 / 3)


async def test_an_expired_session_is_opened_again_for_policies_too(site: Site) -> None:
    vcenter = await site.connect()
    site.process.control.expire_sessions()

    assert await vcenter.estate.policies.called(SILVER)


def a_disk(datastore: str = "", policy: str | None = None, **changes: str) -> Target:
    """Return the place of the control plane's second extra disk."""
    path = "spec.controlPlane.extraDisks[1]"
    return replace(TARGET, datastore=datastore, storage_policy=policy, path=path, **changes)


async def test_an_extra_disk_lies_where_it_says_by_its_own_policy_or_none(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(replace(TARGET, datastore="silver1"))
    named = await vcenter.estate.disk_storage([a_disk("gold1")])
    gold = await vcenter.estate.disk_storage([a_disk(policy="gold")])
    assert sorted(gold.names.values()) == ["gold1", "gold2"]
    ((on_gold1, _),) = named.names.items()
    other = next(moref for moref in gold.names if moref != on_gold1)
    free = free_space(site)
    disks = (
        NewDisk(3),
        NewDisk(5, datastore=on_gold1, datastore_name=named.names[on_gold1]),
        NewDisk(6, False, other, gold.names[other], gold.profile),
    )

    vm = await clone_and_wait(vcenter, a_request(target, disk_gib=30, extra_disks=disks))

    shown = site.vms()[vm.name]
    assert [disk["file"].partition("]")[0][1:] for disk in shown["disks"]] == [
        "silver1",
        "silver1",
        "gold1",
        "gold2",
    ]
    assert sorted(shown["policies"].values()) == [SILVER, SILVER, SILVER, "gold"]
    after = free_space(site)
    taken = {name: free[name] - left for name, left in after.items() if left != free[name]}
    assert taken == {"silver1": 33 * GIB, "gold1": 5 * GIB, "gold2": 6 * GIB}
    await vcenter.destroy(vm)
    await until(lambda: free_space(site) == free)


def free_space(site: Site) -> dict[str, int]:
    """Return what each datastore has left."""
    stores = site.process.control.inventory()["datastores"]
    return {one["path"].rpartition("/")[2]: one["freeSpace"] for one in stores}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (a_disk("gold9"), "extraDisks[1].datastore: no datastore 'gold9': there is gold/gold1"),
        (a_disk("silver3"), "extraDisks[1].datastore: no host of cc1 reaches datastore silver3"),
        (a_disk("gold1", SILVER), "extraDisks[1].datastore: datastore gold1 does not satisfy"),
        (a_disk(policy="Gold"), "extraDisks[1].storagePolicy: no storage policy 'Gold'"),
        (a_disk(policy="nowhere"), "extraDisks[1].storagePolicy: no datastore that hosts of cc1"),
        (a_disk(policy="encrypted"), "extraDisks[1].storagePolicy: storage policy encrypted encr"),
    ],
)  # fmt: skip
async def test_a_place_that_an_extra_disk_cannot_have_is_refused_at_its_field(
    asked: Target, said: str, site: Site
) -> None:
    vcenter = await site.connect()

    with pytest.raises(InvalidError) as error:
        await vcenter.estate.disk_storage([asked])

    assert f"spec.controlPlane.{said}" in str(error.value)


async def test_one_failure_domain_that_reaches_the_datastore_of_a_disk_will_do(site: Site) -> None:
    vcenter = await site.connect()

    found = await vcenter.estate.disk_storage(
        [a_disk("silver3"), a_disk("silver3", compute_cluster="cc2")]
    )

    assert [*found.names.values()] == ["silver3"]
