"""A gateway that starts beside a full vCenter: how soon it knows everything, and what that costs.

Foreign VMs are clones that an administrator makes: they bear no mark of ours.
"""

import json
import ssl
import time
from contextlib import suppress
from typing import Any

import yaml
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from bench.meter import OURS, STREAM, Cost, measured
from bench.result import Report, say
from bench.system import System, until
from moorage_lab.inventory import default_inventory

SYNC_S, SYNC_CALLS = 10.0, 30.0
FOREIGN, FOREIGN_LONG = 5_000, 20_000
FOREIGN_GROWTH = 5.0
"""Percent."""
RUNS = 3
_SETTLE_S = 8.0
_TEMPLATE = "ubuntu-2404-kube-v1.34.4"


def restarted(system: System) -> Cost:
    """Restart the gateway; measure from its start until its first complete sync."""
    system.stop(system.gateway)
    before = synced(system)
    with measured(system) as cost:
        system.start_gateway()
        until(lambda: synced(system) > before, "the inventory is synced", every_s=0.02)
    return cost


def synced(system: System) -> int:
    """Return how often the gateway has said that its inventory is complete."""
    said = 0
    for line in system.log("moorage-gateway").splitlines():
        with suppress(json.JSONDecodeError):
            said += json.loads(line).get("event") == "inventory synced"
    return said


def report_restart(report: Report, case: str, system: System, *, has_budgets: bool = True) -> None:
    """Restart the gateway a few times; the quickest counts. Budgets are set for machines only."""
    say(case)
    costs = [restarted(system) for _ in range(RUNS)]
    cost = min(costs, key=lambda one: one.seconds)
    report.add_machine(case)
    report.add(
        case, "start to first complete sync", cost.seconds, "s", SYNC_S if has_budgets else None
    )
    returns = cost.calls.get(STREAM, 0)
    report.add(case, "stream returns until then", returns, "returns")
    asked = sum(cost.calls.values()) - returns
    report.add(
        case, "vCenter calls until then", asked, "calls", SYNC_CALLS if has_budgets else None
    )
    for method, count in sorted(cost.calls.items(), key=lambda item: -item[1]):
        report.add(case, f"vCenter calls until then: {method}", count, "calls")
    time.sleep(_SETTLE_S)
    report.add(case, "gateway RSS", system.memory()["gateway"].rss, "MiB")


def foreign(report: Report) -> None:
    """Measure beside 5,000 foreign VMs."""
    _foreign(report, FOREIGN)


def foreign_long(report: Report) -> None:
    """Measure beside 20,000 foreign VMs."""
    _foreign(report, FOREIGN_LONG)


def _foreign(report: Report, count: int) -> None:
    """Measure memory beside an empty vCenter, and beside one that is full of others' VMs."""
    case = f"{count} foreign VMs"
    say(case)
    with System.start(inventory=_roomy()) as system:
        system.add_account()
        alone = _memory_after_restart(system)
        begun = time.monotonic()
        _fill(system, count)
        say(f"{case}: made in {time.monotonic() - begun:.0f} s")
        time.sleep(_SETTLE_S)
        watched = sum(system.memory()[name].rss for name in OURS)
        report_restart(report, case, system, has_budgets=False)
        beside = _memory_after_restart(system)
        report.add(case, "hub + gateway RSS, empty vCenter", alone, "MiB")
        report.add(case, "hub + gateway RSS, after they were made", watched, "MiB")
        report.add(case, "hub + gateway RSS, after a restart", beside, "MiB")
        growth = 100 * (beside - alone) / alone
        report.add(case, "growth of memory", growth, "%", FOREIGN_GROWTH)


def _memory_after_restart(system: System) -> float:
    restarted(system)
    time.sleep(_SETTLE_S)
    memory = system.memory()
    return sum(memory[name].rss for name in OURS)


def _roomy() -> dict[str, Any]:
    """Return the lab's default inventory with room for all of them."""
    inventory: dict[str, Any] = yaml.safe_load(default_inventory().read_text())
    for datastore in inventory["datacenters"][0]["datastores"]:
        datastore["capacityGib"] = 1_000_000
    return inventory


def _fill(system: System, count: int) -> None:
    vcenter = system.vcenter
    context = ssl.create_default_context(cafile=str(vcenter.ca_file))
    service = SmartConnect(
        host=vcenter.host, port=vcenter.port, user=vcenter.user, pwd=vcenter.password,
        sslContext=context,
    )  # fmt: skip
    try:
        content = service.RetrieveContent()
        template = content.searchIndex.FindByInventoryPath(f"dc1/vm/templates/{_TEMPLATE}")
        where = content.searchIndex.FindByInventoryPath("dc1/host/cc1")
        place = vim.vm.RelocateSpec(pool=where.resourcePool, datastore=template.datastore[0])
        spec = vim.vm.CloneSpec(location=place, powerOn=False, template=False)
        template.CloneVM_Task(folder=template.parent, name="foreign", spec=spec)
        control = vcenter.control
        until(lambda: any(vm["name"] == "foreign" for vm in control.inventory()["vms"]), "a VM")
    finally:
        Disconnect(service)
    for n in range(1, count):
        control.clone_vm("/dc1/vm/templates/foreign", f"foreign-{n}")
