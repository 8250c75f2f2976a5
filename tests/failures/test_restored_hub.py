"""A hub comes back from an older backup: nothing breaks, and people decide what differs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from moorage.hub.backup import back_up, restore
from moorage.kit.clock import SystemClock
from tests.failures.world import (
    PATIENCE_S,
    assert_clean,
    await_gone,
    await_ready,
    delete,
    seen,
    vms,
)
from tests.faults.site import GATEWAY, Site, StuckError

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]


def test_people_decide_what_a_restored_hub_does_not_know(site: Site) -> None:
    site.apply("scaled", 0)
    site.apply("deleted", 0)
    await_ready(site, "scaled", 1)
    await_ready(site, "deleted", 1)
    backup = site.folder / "backup.tar.gz"
    back_up(site.hub.data, backup, SystemClock())
    site.apply("scaled", 1)
    site.apply("newer", 0)
    site.apply("unwanted", 0)
    await_ready(site, "scaled", 2)
    await_ready(site, "newer", 1)
    await_ready(site, "unwanted", 1)
    delete(site, "deleted")
    running = vms(site)

    _restore(site, backup)
    # Each difference is shown; what runs is left alone.
    wanted = {
        "Cluster/default/newer": "UnknownToHub",
        "Cluster/default/unwanted": "UnknownToHub",
        "NodePool/default/scaled-workers": "HubIsOlder",
    }
    site.until(lambda: wanted.items() <= _conflicts(site).items(), "all is told", PATIENCE_S)
    site.until(lambda: _claim(site, "deleted") == "DeletedHere", "its end is told", PATIENCE_S)
    shown = seen(site, "gateways", "describe", GATEWAY)["status"]["conditions"]
    assert any(one["type"] == "IntentConflict" and one["status"] == "True" for one in shown)
    assert vms(site) == running

    decide = ("gateways", "decide", GATEWAY)
    site.moorage(*decide, "Cluster/default/newer", "--keep", "gateway")
    site.moorage(*decide, "Cluster/default/unwanted", "--keep", "hub")
    site.moorage(*decide, "NodePool/default/scaled-workers", "--keep", "gateway")
    delete(site, "deleted")
    await_gone(site, "unwanted")
    _await_decided(site)
    assert len(vms(site)) == 3
    assert vms(site).items() <= running.items(), "only the unwanted one went"

    # All is as ever: scaled, and deleted.
    site.apply("newer", 1)
    site.apply("scaled", 0)
    await_ready(site, "newer", 2)
    await_ready(site, "scaled", 1)
    for name in ("newer", "scaled"):
        delete(site, name)
    assert_clean(site)


def test_the_restored_hubs_version_may_stay(site: Site) -> None:
    site.apply("scaled", 0)
    await_ready(site, "scaled", 1)
    backup = site.folder / "backup.tar.gz"
    back_up(site.hub.data, backup, SystemClock())
    site.apply("scaled", 1)
    await_ready(site, "scaled", 2)
    _restore(site, backup)
    subject = "NodePool/default/scaled-workers"
    site.until(lambda: subject in _conflicts(site), "the conflict is told", PATIENCE_S)
    site.moorage("gateways", "decide", GATEWAY, subject, "--keep", "hub")
    await_ready(site, "scaled", 1)
    _await_decided(site)
    code, _, said = site._moorage("gateways", "decide", GATEWAY, subject, "--keep", "hub")
    assert code == 1
    assert "has no conflict about" in said


def _restore(site: Site, backup: Path) -> None:
    site.hub.kill()
    shutil.move(site.hub.data, site.folder / "hub.lost")
    restore(backup, site.hub.data)
    site.hub.start()
    password = site.folder / "hub.lost" / "initial-admin-password"
    site.ask(
        "login", f"https://127.0.0.1:{site.port}",
        "--ca-file", str(site.hub.data / "ca.crt"), "--password-file", str(password),
    )  # fmt: skip


def _await_decided(site: Site) -> None:
    try:
        site.until(lambda: not _conflicts(site), "all is decided", PATIENCE_S)
    except StuckError as error:
        raise StuckError(f"{error}: {seen(site, 'gateways', 'conflicts', GATEWAY)}") from error


def _conflicts(site: Site) -> dict[str, str]:
    found: dict[str, Any] = seen(site, "gateways", "conflicts", GATEWAY) or {"items": [{}]}
    return {
        f"{one.get('kind')}/{one.get('project')}/{one.get('name')}": str(one.get("reason"))
        for one in found["items"]
    }


def _claim(site: Site, name: str) -> str:
    found = seen(site, "clusters", "describe", name) or {"status": {}}
    claims = found["status"].get("conditions", ())
    return next((str(c["reason"]) for c in claims if c["type"] == "IntentConflict"), "")
