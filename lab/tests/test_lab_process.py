"""Processes known by id and start time."""

import subprocess
import sys
from pathlib import Path

from moorage_lab.process import Identity, write_atomically

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_process_is_found_again_and_stopped(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEP)
    identity = Identity.of(child.pid)
    assert identity is not None
    identity.save(tmp_path / "p.json")

    assert Identity.load(tmp_path / "p.json") == identity
    assert identity.stop(grace_s=5)
    assert not identity.is_alive(), "a zombie does not count as alive"
    assert Identity.load(tmp_path / "p.json") is None
    child.wait()


def test_successor_under_the_same_id_is_never_signalled() -> None:
    child = subprocess.Popen(SLEEP)
    identity = Identity.of(child.pid)
    assert identity is not None
    earlier = Identity(identity.pid, identity.start - 1)

    assert not earlier.is_alive()
    assert not earlier.send(9)
    assert earlier.wait(0)
    assert identity.is_alive()
    child.kill()
    child.wait()


def test_torn_file_is_no_process(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"pid": 1')

    assert Identity.load(tmp_path / "p.json") is None
    assert Identity.load(tmp_path / "never.json") is None


def test_atomic_write_leaves_one_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "1")
    write_atomically(tmp_path / "a", "2")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "2")]
