"""`down` leaves nothing, whatever was killed before it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from moorage_lab import cgroup, lifecycle
from moorage_lab.api import Lab
from moorage_lab.control import unix_client
from moorage_lab.estate import nodes
from moorage_lab.inventory import default_inventory
from moorage_lab.network import Nic
from moorage_lab.places import NAME, POINTER, State
from moorage_lab.service import Service

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("own_lab_possible"),
]

Figure = Callable[[str, float], None]
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


def traces() -> dict[str, object]:
    """What the machine shows of a lab: asked of the kernel, not of the lab's code."""
    own = re.compile(rf"({re.escape(str(State.default().root))}|/{NAME}|sleep.987)(?![\w-])")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            processes.add(path.read_text())
    found: dict[str, object] = {
        "mounts": sorted(mount for mount in mounts if own.search(mount)),
        "processes": {command for command in processes if own.search(command)},
        "groups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{NAME}")),
        "run": sorted(str(path) for path in Path("/run").rglob("*") if own.search(str(path))),
        "nspawn": sorted(Path("/run/systemd").glob(f"nspawn/propagate/{NAME}.*")),
        "state": State.default().root.exists(),
    }
    if "MOORAGE_LAB_NAME" not in os.environ:  # nobody else's lab is beside this one
        links = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
        found |= {
            "all mounts": sorted(mounts),
            "links": sorted(link["ifname"] for link in json.loads(links)),
            "all of run": sorted(path.name for path in Path("/run").iterdir()),
            "all nspawns": sorted(Path("/run/systemd").glob("nspawn/*/*")),
            "inotify": INOTIFY.read_text(),
        }
    return found


def up() -> Lab:
    state = State.default()
    lifecycle.up(state, default_inventory(), nodes=True, progress=print)
    return Lab.attach(state)


def kill_daemon(state: State) -> None:
    daemon = Service("daemon", state).running()
    assert daemon is not None
    daemon.send(signal.SIGKILL)
    assert daemon.wait(10)


def boot(client: httpx2.Client, number: int) -> None:
    uuid = f"00000000-0000-4000-8000-{number:012x}"
    body = {
        "uuid": uuid,
        "name": f"node-{number}",
        "image": "1.34.4",
        "cpus": 2,
        "memoryMib": 1024,
        "nics": [{"mac": Nic(f"00:50:56:00:00:{number:02x}").mac, "connected": True}],
    }
    assert client.put(f"/vms/{uuid}", json=body).status_code == 204
    answer = client.post(f"/vms/{uuid}/power-on")
    assert answer.status_code == 204, answer.text


def test_killed_daemon_with_running_nodes_then_down(figure: Figure) -> None:
    before = traces()
    lab = up()
    try:
        assert int(INOTIFY.read_text()) >= 8192
        with unix_client(lab.state.hypervisor_socket, timeout_s=60) as client:
            for number in range(1, 4):
                boot(client, number)
        moorage_lab = Path(sys.executable).with_name("moorage-lab")
        stray = subprocess.Popen([moorage_lab, "exec", "--", "sleep", "987"])
        subprocess.run([moorage_lab, "forward", "127.0.0.1:0=10.77.0.1:53"], check=True)
        kill_daemon(lab.state)
    finally:
        begin = time.monotonic()
        lifecycle.down(lab.state)
        figure("down_s", time.monotonic() - begin)
    assert stray.wait(10) != 0

    assert traces() == before


def test_next_daemon_adopts_nodes_and_reports_those_that_died_meanwhile() -> None:
    lab = up()
    try:
        with unix_client(lab.state.hypervisor_socket, timeout_s=60) as client:
            for number in (1, 2):
                boot(client, number)
        pids = {node.name: node.pid for node in nodes(lab.state)}
        vcenter = Service("vcenter", lab.state).running()
        kill_daemon(lab.state)
        os.kill(pids["node-2"] or 0, signal.SIGKILL)

        up()

        assert Service("vcenter", lab.state).running() == vcenter, "vCenter was not restarted"
        found = {node.name: node for node in nodes(lab.state)}
        assert found["node-1"].pid == pids["node-1"], "the running node went on"
        assert found["node-2"].power == "poweredOff"
        with unix_client(lab.state.hypervisor_socket, timeout_s=60) as client:
            boot(client, 2)
            boot(client, 1)
        assert {node.power for node in nodes(lab.state)} == {"poweredOn"}
        assert nodes(lab.state)[0].pid == pids["node-1"], "power on of a running VM is no boot"
    finally:
        lifecycle.down(lab.state)


def test_reset_removes_the_nodes_and_starts_a_new_vcenter() -> None:
    lab = up()
    try:
        with unix_client(lab.state.hypervisor_socket, timeout_s=60) as client:
            boot(client, 1)
        vcenter = Service("vcenter", lab.state).running()

        lifecycle.reset(lab.state)

        assert nodes(lab.state) == []
        assert list(lab.state.vms.iterdir()) == []
        assert Service("vcenter", lab.state).running() != vcenter
        assert lab.control.is_healthy()
    finally:
        lifecycle.down(lab.state)


def test_up_killed_at_any_moment_then_down() -> None:
    before = traces()
    moorage_lab = Path(sys.executable).with_name("moorage-lab")
    for delay in (0.7, 0.9, 1.1, 1.4):
        child = subprocess.Popen([moorage_lab, "up"], stderr=subprocess.DEVNULL)
        time.sleep(delay)
        child.kill()
        child.wait()
        lifecycle.down(State.default())

        assert traces() == before, f"up was killed after {delay} s"


def test_up_twice_and_another_inventory() -> None:
    lab = up()
    try:
        vcenter = Service("vcenter", lab.state).running()
        up()
        assert Service("vcenter", lab.state).running() == vcenter
        other = default_inventory().with_name("mixed.yaml")
        with pytest.raises(lifecycle.LabError, match="moorage-lab down"):
            lifecycle.up(lab.state, other, nodes=True, progress=print)
    finally:
        lifecycle.down(lab.state)
        lifecycle.down(lab.state)


def test_up_after_the_machines_own_crash() -> None:
    """Only files are left of the lab: its VMs went with vCenter's memory."""
    before = traces()
    lab = up()
    try:
        with unix_client(lab.state.hypervisor_socket, timeout_s=60) as client:
            boot(client, 1)
        for group in sorted(cgroup.names()):
            cgroup.kill(group)
        cgroup.remove()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if line.split()[4].startswith(str(lab.state.root)):
                subprocess.run(["umount", line.split()[4]], check=True)
        subprocess.run(["ip", "netns", "del", NAME], check=True)
        POINTER.unlink()
        for lock in Path("/run/systemd/nspawn/locks").glob("inode-*"):
            lock.unlink()  # a machine that crashed comes back with an empty /run

        up()

        assert nodes(lab.state) == []
        with unix_client(lab.state.hypervisor_socket, timeout_s=60) as client:
            boot(client, 1)
    finally:
        lifecycle.down(lab.state)
    assert traces() == before


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("verb", ["power-on", "power-off", "reset", "delete"])
def test_daemon_killed_in_the_middle_of_an_operation(
    crashing: Lab, verb: str, delay: float
) -> None:
    """Whatever the call had done, the next daemon goes on from there."""
    state, uuid = crashing.state, "00000000-0000-4000-8000-000000000001"
    with unix_client(state.hypervisor_socket, timeout_s=60) as client:
        client.delete(f"/vms/{uuid}")
        boot(client, 1)
        if verb == "power-on":
            client.post(f"/vms/{uuid}/power-off")

    def call() -> None:
        method, path = ("DELETE", "") if verb == "delete" else ("POST", f"/{verb}")
        with (
            unix_client(state.hypervisor_socket, timeout_s=60) as client,
            suppress(httpx2.HTTPError),
        ):
            client.request(method, f"/vms/{uuid}{path}")

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(delay)
    kill_daemon(state)
    caller.join(20)
    up()

    assert verb == "delete" or len(nodes(state)) == 1
    with unix_client(state.hypervisor_socket, timeout_s=60) as client:
        boot(client, 1)
        assert [node.power for node in nodes(state)] == ["poweredOn"]
        assert client.delete(f"/vms/{uuid}").status_code == 204
    assert nodes(state) == []
    assert list(state.vms.iterdir()) == []
    assert str(state.vms) not in Path("/proc/self/mountinfo").read_text()
    assert list(Path("/sys/fs/cgroup").glob(f"*/{NAME}/vm-{uuid}")) == []


@pytest.fixture(scope="module")
def crashing() -> Iterator[Lab]:
    """One lab for the tests below: they stand last, since it is up until the module's end."""
    before = traces()
    lab = up()
    try:
        yield lab
    finally:
        lifecycle.down(lab.state)
    assert traces() == before
