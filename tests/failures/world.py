"""What the tests of failures ask of a site, beside what the fault runs ask."""

import json
from typing import Any

from moorage.vsphere.types import OWNER_KEY
from tests.faults.site import Site

PATIENCE_S = 90.0


def vms(site: Site) -> dict[str, str]:
    """Return instance UUID and name of all VMs, templates left out."""
    return {vm["instanceUuid"]: vm["name"] for vm in site.listed()}


def seen(site: Site, *words: str) -> Any:
    """Return what a command of the CLI shows as JSON; ``None`` while the hub cannot answer."""
    code, out, _ = site._moorage("-o", "json", *words)
    return json.loads(out) if code == 0 else None


def await_ready(site: Site, name: str, nodes: int) -> None:
    """Wait until one cluster of several is Ready with so many nodes."""

    def is_ready() -> bool:
        found = seen(site, "clusters", "describe", name)
        return bool(
            found
            and found["status"].get("nodes") == nodes
            and any(
                claim["type"] == "Ready" and claim["status"] == "True"
                for claim in found["status"].get("conditions", ())
            )
        )

    site.until(is_ready, f"{name} is Ready with {nodes} nodes", PATIENCE_S)


def delete(site: Site, name: str) -> None:
    """Delete a cluster, and wait until neither side knows anything of it."""
    site.ask("clusters", "delete", name, "--yes")
    await_gone(site, name)


def await_gone(site: Site, name: str) -> None:
    """Wait until neither side knows anything of a cluster."""

    def is_gone() -> bool:
        rows = {row for side in (site.hub, site.gateway) for row in site.rows(side)}
        return not any(name in row for row in rows if not row.startswith("queue "))

    site.until(is_gone, f"{name} is gone", PATIENCE_S)


def assert_clean(site: Site) -> None:
    """Assert by vCenter's own ledger that nothing was doubled, and that nothing is left."""
    ledger = site.vcenter.control.ledger()
    assert not ledger.duplicates(OWNER_KEY)
    assert not ledger.orphans(OWNER_KEY, set(site.machines().values()))
    assert not vms(site)
    assert not list(ledger.stray_files())
    assert not list(site.vcenter.guests.guests())
