"""The runner itself, against the lab's vCenter: what it finds, and that it leaves nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.assumptions import BY_HAND, CHECKED
from conformance.site import PREFIX
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory
from tests.check_tree import unknown_assumptions

ROOT = Path(__file__).resolve().parents[2]
READER = "reader@vsphere.local"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["8.0.3"])
def vcenter(request: pytest.FixtureRequest) -> Iterator[VCenterProcess]:
    inventory = yaml.safe_load(default_inventory().read_text())
    password = inventory["users"][0]["password"]
    reads = [{"on": "/", "role": "ReadOnly"}]
    inventory["users"].append({"name": READER, "password": password, "permissions": reads})
    with VCenterProcess.start(inventory, arguments=("--api-version", request.param)) as vcenter:
        yield vcenter


def start(vcenter: VCenterProcess, folder: Path, *more: str) -> subprocess.Popen[str]:
    password = folder / "password"
    password.write_text(vcenter.password + "\n")
    words = [
        *("--vcenter", vcenter.address, "--folder", "/dc1/vm/clusters"),
        *("--template", "templates/ubuntu-2404-kube-v1.34.4", "--compute-cluster", "cc1"),
        *("--datastore", "ds1", "--network", "nodes", "--json", str(folder / "results.json")),
    ]
    credentials = {
        "MOORAGE_VCENTER_USER": vcenter.user,
        "MOORAGE_VCENTER_PASSWORD_FILE": str(password),
        "MOORAGE_VCENTER_CA_FILE": str(vcenter.ca_file),
        "MOORAGE_VCENTER_READER": READER,
        "MOORAGE_VCENTER_READER_PASSWORD_FILE": str(password),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "conformance", *words, *more],
        cwd=ROOT,
        env={**os.environ, **credentials},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def results(folder: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((folder / "results.json").read_text())
    return {one["id"]: one for one in found["outcomes"]}


@pytest.mark.parametrize("vcenter", ["6.7.3", "7.0.3", "8.0.3"], indirect=True)
def test_all_assumptions_hold_in_the_lab(vcenter: VCenterProcess, tmp_path: Path) -> None:
    before = vcenter.control.inventory()

    code, out, err = finish(start(vcenter, tmp_path, "--power-on"))

    assert code == 0, out + err
    found = results(tmp_path)
    assert {one.id for one in CHECKED} == set(found)
    assert {one["result"] for one in found.values()} == {"passed"}, out
    assert "nothing is left" in out
    assert vcenter.control.inventory() == before
    assert_only_in_the_folder(vcenter)


def assert_only_in_the_folder(vcenter: VCenterProcess) -> None:
    """Ask the lab's account of all that was ever made, and of who is logged in."""
    ledger = vcenter.control.ledger()
    made = {one.kind for one in ledger.entries if not one.is_initial}
    assert made <= {"VirtualMachine", "Folder", "Session", "RestSession"}
    assert all(one.gone is not None for one in ledger.entries if not one.is_initial)
    own = [one for one in ledger.of_kind("Folder") if one.name.startswith(PREFIX)]
    assert len(own) == 1
    assert not [one for one in ledger.entries if one.is_initial and one.gone is not None]


FAULTS: dict[str, dict[str, Any]] = {
    "events-keep-no-secret": {"method": "QueryEvents", "action": "fail", "fault": "SystemError"},
    "privileges-answered": {
        "method": "HasPrivilegeOnEntities",
        "action": "fail",
        "fault": "SystemError",
    },
}


@pytest.mark.parametrize("broken", list(FAULTS))
def test_what_a_vcenter_does_otherwise_fails(
    vcenter: VCenterProcess, tmp_path: Path, broken: str
) -> None:
    before = vcenter.control.inventory()
    vcenter.control.fault(**FAULTS[broken], count=-1)

    code, out, _ = finish(start(vcenter, tmp_path, "--only", broken, "--only", "oldest-api"))

    assert code == 1, out
    found = results(tmp_path)
    assert {name: one["result"] for name, one in found.items()} == {
        broken: "failed",
        "oldest-api": "passed",
    }
    assert "SystemError" in found[broken]["said"]
    assert re.search(rf"failed +{broken}", out)
    assert vcenter.control.inventory() == before


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up(
    vcenter: VCenterProcess, tmp_path: Path, by: signal.Signals
) -> None:
    before = vcenter.control.inventory()
    vcenter.control.set_limits(taskSeconds={"CloneVM_Task": 2.0})
    process = start(vcenter, tmp_path)
    deadline = time.monotonic() + 120
    while not vcenter.control.counters()["calls"].get("CloneVM_Task"):
        assert time.monotonic() < deadline, "the first clone is asked for"
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

    process.send_signal(by)
    code, out, err = finish(process)

    assert code == 130, out + err
    assert "nothing is left" in out
    assert vcenter.control.inventory() == before
    assert vcenter.control.counters()["sessions"]["open"] == 0


def test_wrong_input_is_named_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "conformance", "--vcenter", "vc", "--folder", "clusters"),
            *("--template", "t", "--compute-cluster", "c", "--datastore", "d", "--network", "n"),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "VCENTER" not in name},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    for said in ("--folder clusters", "MOORAGE_VCENTER_USER", "MOORAGE_VCENTER_PASSWORD_FILE"):
        assert said in done.stderr


def test_a_folder_that_is_not_there_is_named(vcenter: VCenterProcess, tmp_path: Path) -> None:
    before = vcenter.control.inventory()

    code, _, err = finish(start(vcenter, tmp_path, "--folder", "/dc1/vm/nowhere"))

    assert code == 2
    assert "nowhere" in err
    assert vcenter.control.inventory() == before


def test_the_page_and_the_runner_have_the_same_ids() -> None:
    assert list(unknown_assumptions()) == []
    assert not {one.id for one in CHECKED} & BY_HAND.keys()
