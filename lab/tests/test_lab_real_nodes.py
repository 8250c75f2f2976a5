"""Virtual machines that are real nodes, driven through vCenter as a product would."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.tests import kubeadm, vsphere
from lab.tests.vsphere import (
    clone,
    done,
    extra_config,
    find,
    guestinfo,
    mac_of,
    power,
    reconfigure,
    wait,
)
from moorage_lab import cgroup, forward
from moorage_lab.api import Lab
from moorage_lab.estate import find_vm

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

Figure = Callable[[str, float], None]
TEMPLATE = "ubuntu-2404-kube-v1.34.4"
HOUR = "#cloud-config\n{}\n"


@contextmanager
def logged_in(lab: Lab) -> Iterator[Any]:
    """A session of its own: one of the tests restarts vCenter."""
    started = forward.start(lab.state, "127.0.0.1:0=10.77.0.2:443")
    port = int(started.listen.rpartition(":")[2])
    try:
        with vsphere.connected("127.0.0.1", port, lab.ca_file, lab.user, lab.password) as si:
            yield si
    finally:
        forward.remove(lab.state, started.listen)


@pytest.fixture
def vcenter(lab: Lab) -> Iterator[Any]:
    with logged_in(lab) as si:
        yield si


@pytest.fixture
def made(vcenter: Any) -> Iterator[list[Any]]:
    """VMs that are destroyed at the test's end."""
    vms: list[Any] = []
    yield vms
    for vm in vms:
        if power(vm) == "poweredOn":
            done(vm.PowerOffVM_Task())
        done(vm.Destroy_Task())


def a_node(si: Any, made: list[Any], name: str, address: str, user_data: str = HOUR) -> Any:
    vm = clone(si, TEMPLATE, name, {})
    made.append(vm)
    reconfigure(vm, guestinfo(f"i-{name}", name, mac_of(vm), address, user_data))
    return vm


def inside(name: str, *command: str) -> str:
    """Run a command in a node; empty while it fails."""
    moorage_lab = Path(sys.executable).with_name("moorage-lab")
    ran = subprocess.run(
        [moorage_lab, "shell", name, "--", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran.stdout if ran.returncode == 0 else ""


def kubectl(name: str, *arguments: str) -> str:
    return inside(name, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments)


def is_ready(name: str) -> bool:
    got = kubectl(name, "get", "node", name, "-o", "json")
    conditions = json.loads(got)["status"]["conditions"] if got else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_kubeadm_makes_a_ready_node_that_survives_a_power_cycle(
    lab: Lab, vcenter: Any, made: list[Any], figure: Figure
) -> None:
    vm = a_node(vcenter, made, "cp-1", "10.77.1.10", kubeadm.user_data("10.77.1.10"))
    begin = time.monotonic()

    def mark(what: str) -> None:
        figure(what, time.monotonic() - begin)

    done(vm.PowerOnVM_Task())
    mark("powered on")
    wait(lambda: vm.guest.ipAddress, "guest.ipAddress", 60)
    mark("address in guest.ipAddress")
    assert vm.guest.ipAddress == "10.77.1.10"
    assert vm.guest.hostName == "cp-1"
    assert vm.guest.toolsRunningStatus == "guestToolsRunning"
    code = wait(lambda: extra_config(vm).get(kubeadm.RESULT), "kubeadm init", 200)
    mark("kubeadm init done")
    assert code == "0", inside("cp-1", "tail", "/var/log/kubeadm.log")
    wait(lambda: is_ready("cp-1"), "node Ready", 60)
    mark("Ready")

    node = json.loads(kubectl("cp-1", "get", "node", "cp-1", "-o", "json"))
    assert node["status"]["capacity"]["memory"] == "3Gi"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.34.4"
    assert inside("cp-1", "cat", "/sys/class/net/eth0/address").strip() == mac_of(vm)
    machine_id = inside("cp-1", "cat", "/etc/machine-id")

    done(vm.PowerOffVM_Task())
    assert cgroup.pids(find_vm(lab.state, "cp-1").container.name) == set()
    assert not vm.guest.ipAddress
    begin = time.monotonic()
    done(vm.PowerOnVM_Task())
    wait(lambda: vm.guest.ipAddress == "10.77.1.10", "the same address", 60)
    wait(lambda: is_ready("cp-1"), "Ready again", 120)
    mark("after power cycle: Ready")
    assert inside("cp-1", "cat", "/etc/machine-id") == machine_id


def test_five_nodes_boot_at_once_and_have_their_own_addresses(
    lab: Lab, vcenter: Any, made: list[Any], figure: Figure
) -> None:
    vms = [a_node(vcenter, made, f"n-{i}", f"10.77.1.{20 + i}") for i in range(5)]
    begin = time.monotonic()
    tasks = [vm.PowerOnVM_Task() for vm in vms]
    for task in tasks:
        done(task)
    figure("five powered on", time.monotonic() - begin)
    wait(lambda: all(vm.guest.ipAddress for vm in vms), "five addresses", 90)
    figure("five addresses", time.monotonic() - begin)

    assert [vm.guest.ipAddress for vm in vms] == [f"10.77.1.{20 + i}" for i in range(5)]
    assert inside("n-0", "ping", "-c1", "-W2", "10.77.1.24")
    assert len({node.pid for node in lab.nodes() if node.name.startswith("n-")}) == 5


def test_without_static_address_dhcp_gives_one_and_names_resolve(
    vcenter: Any, made: list[Any]
) -> None:
    vm = clone(vcenter, TEMPLATE, "d-1", {})
    made.append(vm)
    values = guestinfo("i-d-1", "d-1", mac_of(vm), "10.77.1.30", HOUR)
    del values["guestinfo.metadata"], values["guestinfo.metadata.encoding"]
    eth0 = {"match": {"macaddress": mac_of(vm)}, "set-name": "eth0", "dhcp4": True}
    network = {"version": 2, "ethernets": {"id0": eth0}}
    metadata = {"instance-id": "i-d-1", "local-hostname": "d-1", "network": network}
    reconfigure(vm, values | {"guestinfo.metadata": json.dumps(metadata)})
    done(vm.PowerOnVM_Task())

    address = wait(lambda: vm.guest.ipAddress, "a DHCP address", 60)

    low, high = (10 << 24 | 77 << 16 | 8 << 8 | 1), (10 << 24 | 77 << 16 | 15 << 8 | 254)
    number = int.from_bytes(bytes(map(int, address.split("."))), "big")
    assert low <= number <= high
    assert inside("d-1", "getent", "hosts", "vcenter.lab").split() == ["10.77.0.2", "vcenter.lab"]

    script = "getent hosts d-1.lab; cat /proc/self/mounts"
    words = [Path(sys.executable).with_name("moorage-lab"), "exec", "--", "sh", "-c", script]
    ran = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    found, *mounts = ran.stdout.splitlines()
    assert found.split() == [address, "d-1.lab"], "commands in the lab's network ask its DNS"
    held = [line for line in mounts if line.startswith("overlay") and "/vms/" in line]
    assert held == [], "and hold no node's disk"


def test_guest_ends_by_itself_and_vcenter_knows(lab: Lab, vcenter: Any, made: list[Any]) -> None:
    vm = a_node(vcenter, made, "g-1", "10.77.1.31")
    done(vm.PowerOnVM_Task())
    wait(lambda: vm.guest.ipAddress, "an address", 60)
    init = find_vm(lab.state, "g-1").container.init()
    assert init is not None

    vm.RebootGuest()
    container = find_vm(lab.state, "g-1").container
    wait(lambda: container.init() not in (None, init), "a new init", 60)
    wait(lambda: vm.guest.ipAddress == "10.77.1.31", "the address after the reboot", 60)
    assert power(vm) == "poweredOn"

    vm.ShutdownGuest()
    wait(lambda: power(vm) == "poweredOff", "power off after shutdown", 60)
    done(vm.PowerOnVM_Task())
    again = wait(find_vm(lab.state, "g-1").container.init, "init", 20)
    again.send(9)
    wait(lambda: power(vm) == "poweredOff", "power off after a crash", 20)
    assert cgroup.pids(find_vm(lab.state, "g-1").container.name) == set()


def test_report_reaches_a_vcenter_that_was_away(lab: Lab) -> None:
    with logged_in(lab) as si:
        vm = a_node(si, [], "r-1", "10.77.1.32")
        done(vm.PowerOnVM_Task())
        wait(lambda: vm.guest.ipAddress, "an address", 60)
        init = find_vm(lab.state, "r-1").container.init()

        lab.control.restart(2)
    assert inside("r-1", "vmware-rpctool", "info-set guestinfo.lab.word said meanwhile") == ""
    wait(lab.control.is_healthy, "vCenter is back", 20)

    with logged_in(lab) as si:
        assert find_vm(lab.state, "r-1").container.init() == init
        vm = find(si, vsphere.vim.VirtualMachine, "r-1")
        wait(lambda: extra_config(vm).get("guestinfo.lab.word") == "said meanwhile", "word", 20)
        done(vm.PowerOffVM_Task())
        done(vm.Destroy_Task())


def test_destroyed_vm_leaves_no_file(lab: Lab, vcenter: Any) -> None:
    vm = a_node(vcenter, [], "x-1", "10.77.1.33")
    done(vm.PowerOnVM_Task())
    path = find_vm(lab.state, "x-1").path
    done(vm.PowerOffVM_Task())
    assert path.exists()

    done(vm.Destroy_Task())

    assert not path.exists()
    assert path.name not in Path("/proc/self/mountinfo").read_text()
    with pytest.raises(StopIteration):
        find(vcenter, type(vm), "x-1")
