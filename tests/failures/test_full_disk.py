"""The disk under a hub or a gateway is full: it says so, loses nothing, and goes on by itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.failures.disk import UNSHARE, why_no_disk

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]

BODY = Path(__file__).with_name("on_small_disk.py")


@pytest.mark.parametrize(
    "name",
    [
        "test_a_full_hub_refuses_writes_and_goes_on_when_there_is_room",
        "test_a_gateway_whose_disk_fills_in_the_middle_doubles_nothing",
    ],
)
def test_on_a_small_disk(name: str, tmp_path: Path) -> None:
    """Run one test of ``on_small_disk`` where a file system can be mounted for it."""
    if why := why_no_disk():
        pytest.skip(f"no file system of one's own on this machine: {why}")
    command = [*UNSHARE, sys.executable, "-m", "pytest", f"{BODY}::{name}"]
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", str(tmp_path / "inner")]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "skipped" not in done.stdout, done.stdout
