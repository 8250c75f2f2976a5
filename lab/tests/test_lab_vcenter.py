"""lab-vcenter for tests: started, asked, ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.tests.vsphere import connected
from moorage_lab.api import LabError, NotRunningError, VCenterProcess
from moorage_lab.control import Control
from moorage_lab.process import Identity


def test_vcenter_answers_pyvmomi_and_counts(tmp_path: Path) -> None:
    with VCenterProcess.start() as vc:
        assert vc.address == f"127.0.0.1:{vc.port}"
        with connected(vc.host, vc.port, vc.ca_file, vc.user, vc.password) as si:
            assert si.content.about.apiType == "VirtualCenter"
            assert vc.control.counters()["sessions"]["open"] == 1
            vc.control.expire_sessions()
            assert vc.control.counters()["sessions"]["open"] == 0
        vc.control.reset_counters()
        assert vc.control.counters()["calls"] == {}
        assert vc.control.is_healthy()
        assert vc.control.inventory()["vms"]
        directory = vc.ca_file.parent

    assert not directory.exists()


def test_two_vcenters_side_by_side() -> None:
    with VCenterProcess.start() as one, VCenterProcess.start() as two:
        assert one.port != two.port
        assert one.control.is_healthy()
        assert two.control.is_healthy()


def test_bad_inventory_says_lab_vcenters_own_words() -> None:
    broken = {"users": [{"name": "a", "password": "b"}], "datacenters": [{"nam": "x"}]}

    with pytest.raises(LabError, match="nam"), VCenterProcess.start(broken):
        pass


def test_unknown_fault_action_is_an_error_with_the_answer() -> None:
    with VCenterProcess.start() as vc, pytest.raises(LabError, match="/faults"):
        vc.control.fault("CloneVM_Task", "explode")


def test_absent_control_socket_says_what_to_do(short_dir: Path) -> None:
    with Control(short_dir / "none.sock") as control:
        with pytest.raises(NotRunningError, match="moorage-lab status"):
            control.counters()
        assert not control.is_healthy()


def test_killed_tests_leave_no_vcenter() -> None:
    script = (
        "import json, os, time\n"
        "from moorage_lab.api import VCenterProcess\n"
        "with VCenterProcess.start() as vc:\n"
        "    print(json.dumps({'dir': str(vc.ca_file.parent)}), flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    directory = json.loads(child.stdout.readline())["dir"]
    vcenters = [
        identity
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if directory.encode() in _read(path)
        and (identity := Identity.of(int(path.parent.name))) is not None
    ]
    assert vcenters

    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()

    deadline = time.monotonic() + 10
    while any(process.is_alive() for process in vcenters):
        assert time.monotonic() < deadline, "lab-vcenter survives the tests"
        time.sleep(0.05)
    for path in sorted(Path(directory).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(directory).rmdir()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
