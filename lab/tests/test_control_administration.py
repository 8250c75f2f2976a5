"""The control socket's verbs, as Python has them, against a real lab-vcenter."""

from collections.abc import Iterator

import pytest
from pyVmomi import vim

from lab.tests.vsphere import connected
from moorage_lab.api import LabError, VCenterProcess

TEMPLATE = "/dc1/vm/templates/ubuntu-2404-kube-v1.34.4"


@pytest.fixture(scope="module")
def vc() -> Iterator[VCenterProcess]:
    with VCenterProcess.start() as running:
        yield running


def names(vc: VCenterProcess) -> list[str]:
    return sorted(vm["path"] for vm in vc.control.inventory()["vms"])


def test_machines_are_moved_renamed_and_destroyed(vc: VCenterProcess) -> None:
    control = vc.control
    control.rename_vm(TEMPLATE, "image")
    control.move_vm("/dc1/vm/templates/image", "/dc1/vm/clusters")
    assert names(vc) == ["/dc1/vm/clusters/image"]
    control.move_vm("/dc1/vm/clusters/image", "/dc1/vm/templates")
    control.rename_vm("/dc1/vm/templates/image", TEMPLATE.rpartition("/")[2])

    with pytest.raises(LabError, match="nothing with that path"):
        control.destroy_vm("/dc1/vm/none")


def test_hosts_and_datastores_change(vc: VCenterProcess) -> None:
    control = vc.control
    control.set_host("/dc1/host/cc2/cc2-esx1.lab", "disconnected")
    control.remove_host("/dc1/host/cc2/cc2-esx1.lab")
    control.set_datastore("/dc1/datastore/ds2", free_gib=1, accessible=False)

    seen = control.inventory()
    assert "/dc1/host/cc2/cc2-esx1.lab" not in [host["path"] for host in seen["hosts"]]
    free = {one["path"]: one["freeSpace"] for one in seen["datastores"]}
    assert free["/dc1/datastore/ds2"] == 1024**3


def test_permissions_are_set_and_withdrawn(vc: VCenterProcess) -> None:
    control = vc.control
    control.grant("somebody@lab", "ReadOnly", "/dc1")
    assert [one["on"] for one in control.permissions() if one["role"] == "ReadOnly"] == ["/dc1"]
    control.withdraw("somebody@lab", "/dc1")
    assert not [one for one in control.permissions() if one["role"] == "ReadOnly"]
    with pytest.raises(LabError, match="no role"):
        control.grant("somebody@lab", "Wizard", "/dc1")


def test_limits_are_read_and_set(vc: VCenterProcess) -> None:
    control = vc.control
    assert control.limits()["guestinfoValueKib"] == 64
    control.set_limits(tasksPerHost=4, taskSeconds={"*": 0.5})
    assert control.limits()["tasksPerHost"] == 4
    control.set_limits(tasksPerHost=0, taskSeconds={"*": 0})
    with pytest.raises(LabError, match="tasksPerMoon"):
        control.set_limits(tasksPerMoon=1)


def test_a_changed_password_and_certificate_are_met(vc: VCenterProcess) -> None:
    control = vc.control
    control.set_password(vc.user, "another")
    with (
        pytest.raises(vim.fault.InvalidLogin),
        connected(vc.host, vc.port, vc.ca_file, vc.user, vc.password),
    ):
        pass
    authority = control.new_certificate(new_authority=True, seconds=0)
    assert authority != vc.ca_file
    with connected(vc.host, vc.port, authority, vc.user, "another") as si:
        assert si.content.about.apiType == "VirtualCenter"
    with (
        pytest.raises(OSError, match="certificate"),
        connected(vc.host, vc.port, vc.ca_file, vc.user, "another"),
    ):
        pass
