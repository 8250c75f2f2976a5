"""`moorage-lab thin`: all it starts ends with it, however it ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from moorage_lab.api import Control, LabError, ThinGuests, VCenterProcess


def wait_for_lab(directory: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    file = directory / "lab.json"
    while not file.exists():
        assert time.monotonic() < deadline, "the lab did not come up"
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_command_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    program = "from moorage_lab.command.entry import main; main()"
    command = [sys.executable, "-c", program, "thin", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        lab = wait_for_lab(tmp_path)
        with Control(Path(lab["control"])) as control:
            assert control.is_healthy()
        assert lab["pool"]["start"].startswith("127.")

        process.send_signal(number)

        process.wait(timeout=20)
    deadline = time.monotonic() + 20
    while left := processes_with(lab["control"]):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    if number is not signal.SIGKILL:
        assert process.returncode == 0
        assert list(tmp_path.iterdir()) == []


def processes_with(word: str) -> list[str]:
    """Command lines that have the word, of processes that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if word in line and "pytest" not in line:
            found.append(line)
    return found


def test_guests_of_two_vcenters_share_no_address() -> None:
    with VCenterProcess.start(guests="thin") as one, VCenterProcess.start(guests="thin") as two:
        assert not one.guests.network.overlaps(two.guests.network)


def test_a_vcenter_without_guests_says_how_to_get_some() -> None:
    with VCenterProcess.start() as vcenter, pytest.raises(LabError, match='guests="thin"'):
        _ = vcenter.guests


def test_wrong_wishes_are_refused(tmp_path: Path) -> None:
    with ThinGuests.start(tmp_path, tmp_path / "no-vcenter.sock") as guests:
        with pytest.raises(LabError, match="unknown field"):
            guests.settings(bootMinutes=1)
        with pytest.raises(LabError, match="it is boot, cloud-init, redacted, address or kubeadm"):
            guests.fault("*", "lunch")  # type: ignore[arg-type]
        with pytest.raises(LabError, match="no thin guest is called nobody"):
            guests.die("nobody")
    with (
        pytest.raises(LabError, match="an IPv4 network of 16 bits or less is wanted"),
        ThinGuests.start(tmp_path, tmp_path / "no-vcenter.sock", network="10.0.0.0/24"),
    ):
        pass
