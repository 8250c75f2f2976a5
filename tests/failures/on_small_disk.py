"""What ``test_full_disk`` runs inside a namespace: processes whose disk is full for a while."""

import contextlib
import json
import shutil
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.vsphere.types import OWNER_KEY
from tests.failures.disk import SmallDisk, small_disk
from tests.faults.runs import Verdict, await_nothing, await_ready, judge
from tests.faults.site import START_S, Site

PATIENCE_S = 90.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.start(tmp_path) as site:
        yield site


@contextlib.contextmanager
def on_small_disk(site: Site, side: str) -> Iterator[SmallDisk]:
    """Have a process of the site work on a small disk, its log with it."""
    child = getattr(site, side)
    child.kill()
    kept = child.data.rename(site.folder / f"{side}.kept")
    child.data.mkdir(mode=0o700)
    with small_disk(child.data) as disk:
        shutil.copytree(kept, child.data, dirs_exist_ok=True)
        log = site.folder / f"{side}.log"
        log.rename(site.folder / f"{side}.first.log")
        log.symlink_to(disk.path / "log")
        child.start()
        try:
            yield disk
        finally:
            shutil.copyfile(disk.path / "log", site.folder / f"{side}.full.log")
            site.hub.kill()
            site.gateway.kill()


def test_a_full_hub_refuses_writes_and_goes_on_when_there_is_room(site: Site) -> None:
    with on_small_disk(site, "hub") as disk:
        site.apply("before", 0)
        await_ready(site, "before", 1)
        started = site.hub.deaths + site.gateway.deaths
        disk.fill()

        site.until(lambda: "full" in _refusal(site), "a write is refused", START_S)
        refused = _refusal(site)
        assert "hub.db" in refused
        assert "free some space" in refused
        # Reads go on, and the link lives: nothing was lost or ended.
        assert site.seen("clusters", "describe", "before")["metadata"]["name"] == "before"
        assert _health(site)["status"] == "degraded"
        assert "disk is full" in _health(site)["storage"]

        disk.free()
        site.until(lambda: _health(site)["status"] == "ok", "the hub has recovered", PATIENCE_S)
        site.apply("after", 0)
        _await_both(site, "before", "after")
        _delete_all(site, "before", "after")
        assert site.hub.deaths + site.gateway.deaths == started, "a process has ended"


def test_a_full_gateway_starts_nothing_that_it_could_not_remember(site: Site) -> None:
    with on_small_disk(site, "gateway") as disk:
        site.apply("before", 0)
        await_ready(site, "before", 1)
        started = site.hub.deaths + site.gateway.deaths
        disk.fill()
        site.apply("during", 1)

        said = site.until(lambda: _storage(site), "the hub shows the full disk", PATIENCE_S)
        assert "gateway.db" in said
        assert "free some space" in said
        # Whatever was cloned has its UID in the gateway's store: none was made without.
        assert not site.vcenter.control.ledger().orphans(OWNER_KEY, set(site.machines().values()))

        disk.free()
        _await_both(site, "before", "during", machines=3)
        site.until(lambda: not _storage(site), "it is no longer shown", PATIENCE_S)
        _delete_all(site, "before", "during")
        assert site.hub.deaths + site.gateway.deaths == started, "a process has ended"


def test_a_gateway_whose_disk_fills_in_the_middle_doubles_nothing(site: Site) -> None:
    with on_small_disk(site, "gateway") as disk:
        started = site.gateway.deaths
        site.apply("middle", 2)
        site.until(lambda: len(site.vms()) > 0, "a first VM is there", PATIENCE_S)
        disk.fill()
        end = time.monotonic() + 3
        site.until(lambda: time.monotonic() > end, "some time passes", 10)
        disk.free()
        await_ready(site, "middle", 3)
        _delete_all(site, "middle")
        assert site.gateway.deaths == started


def _refusal(site: Site) -> str:
    code, _, err = site._moorage("projects", "add", f"p{time.monotonic_ns()}")
    return err if code else ""


def _health(site: Site) -> dict[str, str]:
    context = ssl.create_default_context(cafile=str(site.hub.data / "ca.crt"))
    address = f"https://127.0.0.1:{site.port}/healthz"
    with urllib.request.urlopen(address, context=context, timeout=20) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def _storage(site: Site) -> str:
    seen = site.seen("gateways", "describe", "site-a") or {}
    for claim in seen.get("status", {}).get("conditions", ()):
        if claim["type"] == "StorageFull" and claim["status"] == "True":
            return str(claim["message"])
    return ""


def _await_both(site: Site, *names: str, machines: int = 2) -> None:
    def are_ready() -> bool:
        seen = [site.seen("clusters", "describe", name) for name in names]
        return len(site.machines()) == machines and all(
            one
            and any(
                claim["type"] == "Ready" and claim["status"] == "True"
                for claim in one["status"].get("conditions", ())
            )
            for one in seen
        )

    site.until(are_ready, f"{names} are Ready", PATIENCE_S)


def _delete_all(site: Site, *names: str) -> None:
    for name in names:
        site.ask("clusters", "delete", name, "--yes")
    for name in names:
        await_nothing(site, name)
    found, told = Verdict(runs=1), []  # type: ignore[var-annotated]
    judge(site, found, told, {})
    assert found.is_clean, told
