"""What ``test_full_disk`` runs inside a namespace: processes whose disk is full for a while."""

import contextlib
import json
import shutil
import ssl
import time
import urllib.request
from collections.abc import Iterator

from tests.failures.disk import SmallDisk, small_disk
from tests.failures.world import PATIENCE_S, assert_clean, await_ready, delete, seen, vms
from tests.faults.site import START_S, Site


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
        assert seen(site, "clusters", "describe", "before")["metadata"]["name"] == "before"
        assert _health(site)["status"] == "degraded"
        assert "disk is full" in _health(site)["storage"]

        disk.free()
        site.until(lambda: _health(site)["status"] == "ok", "the hub has recovered", PATIENCE_S)
        site.apply("after", 0)
        for name in ("before", "after"):
            await_ready(site, name, 1)
        for name in ("before", "after"):
            delete(site, name)
        assert_clean(site)
        assert site.hub.deaths + site.gateway.deaths == started, "a process has ended"


def test_a_gateway_whose_disk_fills_in_the_middle_doubles_nothing(site: Site) -> None:
    with on_small_disk(site, "gateway") as disk:
        started = site.gateway.deaths
        site.apply("middle", 2)
        site.until(lambda: len(vms(site)) > 0, "a first VM is there", PATIENCE_S)
        disk.fill()
        end = time.monotonic() + 3
        site.until(lambda: time.monotonic() > end, "some time passes", 10)
        disk.free()
        await_ready(site, "middle", 3)
        delete(site, "middle")
        assert_clean(site)
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
