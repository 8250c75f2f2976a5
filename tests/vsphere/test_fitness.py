"""What a template tells of itself, and why machines cannot be made of it."""

from dataclasses import replace
from typing import Any

import pytest

from moorage.vsphere.fitness import kubernetes_version_of, unfit
from moorage.vsphere.template import Disk, Template
from vsphere.harness import TARGET, Site

DISK = Disk(2000, 1000, 0, 20 << 30, "ds-1")


def a_template(**changes: Any) -> Template:
    given: dict[str, Any] = {
        "moref": "vm-1",
        "name": "ubuntu",
        "snapshot": "snapshot-1",
        "disks": (DISK,),
        "nics": (),
        "guestinfo_keys": (),
        "firmware": "efi",
        "hardware_version": "vmx-15",
        "guest_id": "ubuntu64Guest",
        "cores_per_socket": 1,
        "committed_bytes": 1,
        "digest": "d",
    }
    return Template(**{**given, **changes})


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ubuntu-2404-kube-v1.34.4", "v1.34.4"),
        ("r_u-2204-0-k-1294-0", "v1.29.4"),
        ("u-2204-0-k-13410-0", "v1.34.10"),
        ("ubuntu-24.04.1", None),
        ("ubuntu-24.04.1-1.34.4", "v1.34.4"),
        ("golden", None),
    ],
)
def test_names_speak_of_kubernetes_in_two_ways(name: str, version: str | None) -> None:
    found = kubernetes_version_of(a_template(name=name))

    assert (found[0] if found else None) == version


def test_the_property_of_an_ova_counts_before_the_name() -> None:
    template = a_template(name="kube-v1.33.0", kubernetes_version="v1.34.4+rke2r1")

    assert unfit(template, "v1.34.4", "8.0.3.0") == []
    (why,) = unfit(template, "v1.33.0", "8.0.3.0")
    assert "holds Kubernetes v1.34.4 by its OVA property KUBERNETES_SEMVER" in why


@pytest.mark.parametrize(
    ("changes", "api", "said"),
    [
        ({"hardware_version": "vmx-13"}, "8.0.3.0", "has hardware version 13"),
        ({"hardware_version": "vmx-19"}, "6.7.3", "run 15 at most"),
        ({"hardware_version": "vmx-21"}, "7.0.3.0", "run 19 at most"),
    ],
)
def test_what_is_unfit_is_named(changes: dict[str, Any], api: str, said: str) -> None:
    (why,) = unfit(a_template(**changes), "v1.34.4", api)

    assert said in why


def test_all_faults_are_named_at_once() -> None:
    template = a_template(name="kube-v1.33.0", hardware_version="vmx-10")

    assert len(unfit(template, "v1.34.4", "8.0.3.0")) == 2


async def test_it_is_read_with_the_template(site: Site) -> None:
    vcenter = await site.connect()
    site.process.control.reset_counters()

    target = await vcenter.resolve(TARGET)

    assert target.template.kubernetes_version == "v1.34.4"
    assert site.calls()["RetrievePropertiesEx"] == 1


async def test_a_disk_that_snapshots_leave_out_is_never_shared(site: Site) -> None:
    vcenter = await site.connect()
    target = await vcenter.resolve(TARGET)
    disks = tuple(replace(disk, independent=True) for disk in target.template.disks)

    assert target.can_link
    assert not replace(target, template=replace(target.template, disks=disks)).can_link
