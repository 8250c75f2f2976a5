"""Names and paths to morefs: all faults at once, at the caller's fields, with what is meant."""

from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim

from moorage.kit.errors import FieldFault, InvalidError, UnavailableError
from moorage.vsphere import Target
from vsphere.harness import TARGET, Site, a_request, clone_and_wait, raw_task, until

pytestmark = pytest.mark.anyio

EAST: dict[str, Any] = {
    "datacenter": "east",
    "folder": "infra/clusters/team-a",
    "template": "infra/templates/ubuntu-2404-kube-v1.34.4",
    "compute_cluster": "cc1",
    "datastore": "shared",
    "network": "nodes",
}


async def _faults(site: Site, **fields: Any) -> dict[str, str]:
    vcenter = await site.connect()
    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(Target(**fields))
    return {fault.path: fault.message for fault in refused.value.faults}


async def test_a_target_resolves_once_and_then_from_memory(site: Site) -> None:
    vcenter = await site.connect()
    site.process.control.reset_counters()

    first = await vcenter.resolve(TARGET)
    again = await vcenter.resolve(TARGET)

    assert first == again
    assert first.can_link
    assert first.template_name == TARGET.template
    calls = site.calls()
    calls.pop("WaitForUpdatesEx", None)
    assert calls == {"RetrievePropertiesEx": 1}


async def test_networks_of_further_cards_are_found_and_their_faults_told(site: Site) -> None:
    vcenter = await site.connect()
    found = await vcenter.resolve(replace(TARGET, more_networks=("VM Network", TARGET.network)))
    assert [one.name for one in found.more_networks] == ["VM Network", TARGET.network]
    assert [bool(one.portgroup_key) for one in found.more_networks] == [False, True]

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(replace(TARGET, more_networks=("VM Network", "storage")))

    (fault,) = refused.value.faults
    assert fault.path == "spec.placement.failureDomains[0].moreNetworks[1].network"
    assert "no network 'storage'" in fault.message


async def test_before_the_first_sync_it_is_not_known(site: Site) -> None:
    site.process.control.fault("WaitForUpdatesEx", "delay", seconds=1.0)
    vcenter = await site.connect_only()

    with pytest.raises(UnavailableError, match="not complete"):
        await vcenter.resolve(TARGET)


async def test_all_faults_come_at_once_with_what_was_perhaps_meant(site: Site) -> None:
    faults = await _faults(
        site,
        datacenter="dc1",
        folder="cluster",
        template="ubuntu-2404-kube-v1.34.5",
        compute_cluster="cc9",
        datastore="fast-ssd",
        network="Nodes",
        path="spec.placement.failureDomains[1]",
    )

    assert set(faults) == {
        "spec.placement.folder",
        "spec.placement.template",
        "spec.placement.failureDomains[1].computeCluster",
        "spec.placement.failureDomains[1].datastore",
        "spec.placement.failureDomains[1].network",
    }
    assert "did you mean clusters" in faults["spec.placement.folder"]
    assert "did you mean templates/ubuntu-2404-kube-v1.34.4?" in faults["spec.placement.template"]
    assert "did you mean nodes?" in faults["spec.placement.failureDomains[1].network"]
    assert "ds1, ds2" in faults["spec.placement.failureDomains[1].datastore"]
    assert "cc1" in faults["spec.placement.failureDomains[1].computeCluster"]


async def test_an_unknown_datacenter_names_those_there_are(mixed: Site) -> None:
    faults = await _faults(mixed, **{**EAST, "datacenter": "north"})

    assert list(faults) == ["spec.placement.datacenter"]
    assert "east, west" in faults["spec.placement.datacenter"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"folder": "team-a"},
        {"folder": "/east/vm/infra/clusters/team-a"},
        {"template": "ubuntu-2404-kube-v1.34.4"},
        {"template": "/east/vm/infra/templates/ubuntu-2404-kube-v1.34.4"},
        {"compute_cluster": "/east/host/cc1"},
        {"resource_pool": "prod/kubernetes"},
        {"resource_pool": "kubernetes"},
        {"resource_pool": "Resources/prod/kubernetes"},
        {"network": "VM Network"},
        {"network": "/east/network/VM Network"},
    ],
    ids=str,
)
async def test_paths_and_unique_names_are_equal(mixed: Site, changes: dict[str, Any]) -> None:
    vcenter = await mixed.connect()

    resolved = await vcenter.resolve(Target(**{**EAST, **changes}))

    listing = mixed.process.control.inventory()
    paths = {
        one["moref"]: one["path"]
        for kind in ("folders", "computeClusters", "resourcePools", "networks", "vms")
        for one in listing[kind]
    }
    assert paths[resolved.folder].endswith("/infra/clusters/team-a")
    assert paths[resolved.template.moref].endswith("/ubuntu-2404-kube-v1.34.4")
    assert paths[resolved.compute_cluster].endswith("east/host/cc1")
    pool = "/prod/kubernetes" if "resource_pool" in changes else "/cc1/Resources"
    assert paths[resolved.resource_pool].endswith(pool)


async def test_the_same_name_in_another_datacenter_is_another_place(mixed: Site) -> None:
    vcenter = await mixed.connect()
    east = await vcenter.resolve(Target(**EAST))

    faults = await _faults(mixed, **{**EAST, "datacenter": "west", "network": "VM Network"})

    assert "there is none" in faults["spec.placement.template"]
    assert set(faults) == {"spec.placement.folder", "spec.placement.template"}
    assert east.compute_cluster


async def test_a_datastore_that_the_hosts_do_not_mount_is_refused(mixed: Site) -> None:
    faults = await _faults(mixed, **{**EAST, "compute_cluster": "cc2", "datastore": "fast"})

    message = faults["spec.placement.failureDomains[0].datastore"]
    assert "no usable host of cc2 reaches datastore fast: they reach shared" in message


async def test_a_standalone_host_is_a_compute_cluster_of_one(mixed: Site) -> None:
    vcenter = await mixed.connect()

    resolved = await vcenter.resolve(
        Target(**{**EAST, "compute_cluster": "east-solo.lab", "datastore": "solo"})
    )

    assert resolved.resource_pool
    assert not resolved.can_link, "the template is on another datastore"


async def test_a_template_without_a_snapshot_cannot_be_linked(mixed: Site) -> None:
    vcenter = await mixed.connect()

    resolved = await vcenter.resolve(
        Target(
            **{
                **EAST,
                "template": "ubuntu-2404-kube-v1.34.4-plain",
                "datastore": "fast",
            }
        )
    )

    assert resolved.template.snapshot is None
    assert not resolved.can_link
    assert resolved.template.hardware_version == "vmx-19"


async def test_a_name_used_twice_must_be_given_as_a_path(mixed: Site) -> None:
    stranger = await mixed.stranger()
    vcenter = await mixed.connect()
    resolved = await vcenter.resolve(Target(**{**EAST, "folder": "others"}))
    others = stranger.ref(vim.Folder, resolved.folder)
    await stranger.call("make a folder", lambda: others.CreateFolder("team-a"))

    await until(lambda: _folder_count(vcenter, "team-a") == 2)

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(Target(**{**EAST, "folder": "team-a"}))

    assert refused.value.faults == (
        FieldFault(
            "spec.placement.folder",
            "VM folder 'team-a' is not unique: give one of infra/clusters/team-a, others/team-a",
        ),
    )
    assert (await vcenter.resolve(Target(**{**EAST, "folder": "others/team-a"}))).folder


def _folder_count(vcenter: Any, name: str) -> int:
    folders = vcenter._stream.places.of_kind(("Folder",))
    return sum(place.name == name for place in folders)


async def test_a_slash_in_a_name_is_written_as_vsphere_does(mixed: Site) -> None:
    stranger = await mixed.stranger()
    vcenter = await mixed.connect()
    resolved = await vcenter.resolve(Target(**{**EAST, "folder": "others"}))
    others = stranger.ref(vim.Folder, resolved.folder)
    await stranger.call("make a folder", lambda: others.CreateFolder("a/b"))
    await until(lambda: _folder_count(vcenter, "a/b") == 1)

    assert (await vcenter.resolve(Target(**{**EAST, "folder": "others/a%2fb"}))).folder
    assert (await vcenter.resolve(Target(**{**EAST, "folder": "others/a%2Fb"}))).folder


async def test_a_host_in_maintenance_counts_for_nothing(mixed: Site) -> None:
    stranger = await mixed.stranger()
    vcenter = await mixed.connect()
    resolved = await vcenter.resolve(Target(**EAST))
    await stranger.call("log in", lambda: None)
    hosts = vcenter._stream.places.hosts(resolved.compute_cluster)
    for host in hosts:
        target = stranger.ref(vim.HostSystem, host.moref)
        await raw_task(stranger, lambda: target.EnterMaintenanceMode_Task(0))  # noqa: B023
    await until(
        lambda: (
            not any(
                host.is_usable() for host in vcenter._stream.places.hosts(resolved.compute_cluster)
            )
        )
    )

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(Target(**EAST))

    assert "no connected host outside maintenance" in refused.value.faults[0].message


async def test_templates_are_listed_by_path(mixed: Site) -> None:
    vcenter = await mixed.connect()

    listed = await vcenter.templates()

    assert [(info.datacenter, info.path) for info in listed] == [
        ("east", "infra/templates/ubuntu-2404-kube-v1.34.4"),
        ("east", "infra/templates/ubuntu-2404-kube-v1.34.4-plain"),
    ]
    assert await vcenter.templates("west") == []


async def test_a_vm_that_is_no_template_is_told_from_nothing(site: Site) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    await clone_and_wait(vcenter, request)
    name = f"clusters/{request.name}"

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(replace(TARGET, template=name))

    assert [fault.path for fault in refused.value.faults] == ["spec.placement.template"]
    assert "is a virtual machine, not a template" in refused.value.faults[0].message
