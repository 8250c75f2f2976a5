"""A database is damaged, at the start or while a process works: it stops, and says what to do."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from moorage.kit.process import DAMAGED_STORE
from tests.failures.world import PATIENCE_S, assert_clean, await_ready, delete, vms
from tests.faults.site import START_S, Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]

_PAGE = 4096


def damage(file: Path) -> bytes:
    """Write noise over the middle of the file, as a failing disk does; return what is there now."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'resource'"
        (page,) = connection.execute(query).fetchone()
    with file.open("r+b") as handle:
        handle.seek((page - 1) * _PAGE)
        handle.write(os.urandom(_PAGE))
    return file.read_bytes()


def truncate(file: Path) -> bytes:
    """Cut off the second half of the file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = file.stat().st_size // _PAGE
    os.truncate(file, pages // 2 * _PAGE)
    return file.read_bytes()


def start_command(side: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Start hub or gateway as a user does; for one that does not stay."""
    extra = ["--listen", "127.0.0.1:0"] if side == "hub" else ["--health", "off"]
    return subprocess.run(
        [sys.executable, "-m", f"moorage.{side}", "run", "--data", str(data), *extra],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("harm", [damage, truncate])
def test_neither_starts_on_a_damaged_file(site: Site, harm: object) -> None:
    for child, advice in (
        (site.hub, "moorage-hub restore"),
        (site.gateway, "move this file"),
    ):
        child.kill()
        file = child.data / f"{child.name}.db"
        left = harm(file)  # type: ignore[operator]

        ended = start_command(child.name, child.data)

        assert ended.returncode == DAMAGED_STORE, ended.stderr
        assert f"{file} is damaged" in ended.stderr
        assert "page" in ended.stderr.lower() or "malformed" in ended.stderr
        assert advice in ended.stderr
        assert file.read_bytes() == left, "the damaged file was written to"


@pytest.mark.parametrize("side", ["hub", "gateway"])
def test_a_running_process_stops_when_it_meets_damage(site: Site, side: str) -> None:
    child = getattr(site, side)
    file = child.data / f"{side}.db"
    damage(file)
    # Work makes it read: a new cluster on the hub, its intent and status on the gateway.
    end = time.monotonic() + PATIENCE_S
    number = 0
    while child._process.is_alive():
        assert time.monotonic() < end, "it works on with a damaged file"
        number += 1
        site._moorage("projects", "add", f"project-{number}")
        _apply_once(site, f"cluster-{number}")
        time.sleep(0.1)
    log = (site.folder / f"{side}.log").read_text()
    assert "is damaged" in log
    assert file.exists()


def test_a_gateway_goes_on_with_a_new_file(site: Site) -> None:
    """What the message says to do: move the file aside, start, and the hub gives back."""
    site.apply("kept", 1)
    await_ready(site, "kept", 2)
    before = vms(site)
    site.gateway.kill()
    damage(site.gateway.data / "gateway.db")
    aside = site.folder / "aside"
    aside.mkdir()
    for file in site.gateway.data.glob("gateway.db*"):
        shutil.move(file, aside / file.name)
    site.gateway.start()
    site.until(lambda: _machines(site) == 2, "the machines are known again", PATIENCE_S)
    site.apply("kept", 2)
    await_ready(site, "kept", 3)
    assert before.items() <= vms(site).items(), "what ran was not touched"
    delete(site, "kept")
    assert_clean(site)


@pytest.mark.parametrize("side", ["hub", "gateway"])
def test_a_lost_log_is_made_good_by_the_other_side(site: Site, side: str) -> None:
    site.apply("kept", 1)
    await_ready(site, "kept", 2)
    before = vms(site)
    child = getattr(site, side)
    child.kill()
    with closing(sqlite3.connect(f"file:{child.data}/{side}.db?mode=ro", uri=True)) as looked:
        assert looked.execute("SELECT count(*) FROM resource").fetchone()[0]
    (child.data / f"{side}.db-wal").unlink()
    (child.data / f"{side}.db-shm").unlink(missing_ok=True)
    child.start()
    said = "begins a new incarnation" if side == "hub" else "is asked for what may be missing"
    log = site.folder / f"{side}.log"
    site.until(lambda: said in log.read_text(), "the loss is noticed", START_S)
    if side == "gateway":
        site.until(lambda: len(site.machines()) == 2, "its machines are back", PATIENCE_S)
        site.apply("kept", 2)
        await_ready(site, "kept", 3)
    assert before.items() <= vms(site).items(), "what ran was not touched"


def _machines(site: Site) -> int:
    """Count the gateway's machines; none while its new file is being made."""
    try:
        return len(site.machines())
    except sqlite3.OperationalError:
        return 0


def _apply_once(site: Site, name: str) -> None:
    """Ask for a cluster, whether the hub can take it or not."""
    until, site.until = site.until, lambda claim, *_: claim()  # type: ignore[method-assign]
    try:
        site.apply(name, 0)
    finally:
        site.until = until  # type: ignore[method-assign]
