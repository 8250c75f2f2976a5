"""The whole product, by its command line, at each release of vCenter that is supported."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage_lab.api import cluster_document
from tests.failures.world import assert_clean, await_ready, delete, seen
from tests.faults.site import Site

pytestmark = pytest.mark.timeout(300)
TAGS = ("--region", "dc1=eu-1", "--zone", "cc1=eu-1a", "--zone", "/dc1/host/cc2=eu-1b")
HAS_API = {"6.7.3": False, "7.0.3": True, "8.0.3": True}


@pytest.fixture(params=list(HAS_API))
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(release: str, tmp_path: Path) -> Iterator[Site]:
    with Site.start(tmp_path, "--api-version", release) as site:
        yield site


def test_a_cluster_lives_its_life_at_each_release(site: Site, release: str) -> None:
    control = site.vcenter.control
    file = site.folder / "life.yaml"
    file.write_text(yaml.safe_dump(cluster_document("life", control_plane=3, workers=4)))
    (account,) = seen(site, "accounts", "list")
    assert account["status"]["apiVersion"].startswith(release)

    checked = json.loads(site.moorage("-o", "json", "accounts", "check", "lab", "-f", str(file)))
    assert checked["findings"] == []
    site.moorage("accounts", "zones", "lab", *TAGS, "--apply")
    before = control.inventory()
    site.moorage("clusters", "apply", "-f", str(file))
    await_ready(site, "life", 7)

    machines = seen(site, "machines", "list")
    domains = [machine["spec"]["failureDomain"] for machine in machines]
    assert {one["zone"] for one in domains} == {"eu-1a", "eu-1b"}
    assert {one["region"] for one in domains} == {"eu-1"}
    assert kept_apart(site) == {"control plane", "workers"}

    site.moorage("clusters", "scale", "life", "workers", "--replicas", "5")
    await_ready(site, "life", 8)
    site.moorage("clusters", "scale", "life", "workers", "--replicas", "1")
    await_ready(site, "life", 4)
    delete(site, "life")

    assert control.inventory() == before
    assert_clean(site)
    over_rest = {name.split()[1] for name in control.counters()["calls"] if " /" in name}
    assert over_rest, "tags were made and read"
    assert {path.startswith("/api/") for path in over_rest} == {HAS_API[release]}


def kept_apart(site: Site) -> set[str]:
    """Return for which roles there are rules."""
    rules: list[dict[str, Any]] = site.vcenter.control.inventory()["rules"]
    return {rule["name"].rpartition(".")[2] for rule in rules}
