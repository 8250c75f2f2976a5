"""Memory and start of hub and gateway, as users have them: two processes, one cluster.

The vCenter is the lab's, on loopback. Its machines have nobody behind them, so what is measured
is a system in the middle of making a cluster: every machine cloned and on, no node joined yet.
"""

import json
import subprocess
import time

from bench.fleet import MEMORY_MIB
from bench.result import Report, say
from bench.system import BIN, System, environment, until
from moorage_lab.api import cluster_document

CASE = "memory, 1 cluster"
START = "start"
BUDGET_MIB = MEMORY_MIB[1]
MACHINES = 5
SETTLE_S = 5.0
RUNS = 3
"""A start is measured this often; the quickest counts, for the machine does other things too."""

# Addresses of loopback: nobody listens there, and nothing leaves this machine.
POOL = {"start": "127.77.1.10", "end": "127.77.1.99", "prefix": 16, "router": "127.77.0.1"}


def memory(report: Report) -> None:
    """Measure the memory of both processes, and how long they take to start."""
    report.add_machine(CASE)
    starts(report)
    say(CASE)
    with System.start() as system:
        system.add_account()
        time.sleep(SETTLE_S)
        measure(report, system, "account connected")
        system.add_pool(POOL)
        file = system.folder / "cluster.yaml"
        file.write_text(json.dumps(cluster_document("one", control_plane=3, workers=2)))
        system.moorage("clusters", "apply", f"--file={file}")
        until(lambda: machines_on(system) == MACHINES, f"{MACHINES} machines are on")
        time.sleep(SETTLE_S)
        measure(report, system, "cluster of 3 + 2 cloned", budget=BUDGET_MIB)
        served(report, system)


def machines_on(system: System) -> int:
    """Return how many machines run at vCenter."""
    vms = system.vcenter.control.inventory()["vms"]
    return sum(not vm["template"] and vm["power"] == "poweredOn" for vm in vms)


def measure(report: Report, system: System, when: str, *, budget: float | None = None) -> None:
    """Read the memory of both processes."""
    found = system.memory()
    both = found["hub"].rss + found["gateway"].rss
    report.add(CASE, f"{when}: hub + gateway RSS", both, "MiB", budget)
    for name in ("hub", "gateway"):
        one = found[name]
        for what, value in (("RSS", one.rss), ("PSS", one.pss), ("private", one.private)):
            report.add(CASE, f"{when}: {name} {what}", value, "MiB")


def served(report: Report, system: System) -> None:
    """Measure the start of both processes on the data that they have by now."""
    seconds: dict[str, list[float]] = {"moorage-hub": [], "moorage-gateway": []}
    for _ in range(RUNS):
        system.stop(system.hub)
        system.start_hub()
        system.stop(system.gateway)
        system.start_gateway()
        for name, measured in seconds.items():
            measured.append(system.seconds[name])
    for name, measured in seconds.items():
        report.add(START, f"{name}, from start until it serves", min(measured), "s")


def starts(report: Report) -> None:
    """Measure how long the modules of both processes take to load."""
    say(START)
    report.add_machine(START)
    for module in ("moorage.hub.serve", "moorage.gateway.app"):
        seconds = [imported(module) for _ in range(RUNS + 1)]  # the first may write bytecode
        report.add(START, f"import {module}", min(seconds), "s")


def imported(module: str) -> float:
    """Return how many seconds a fresh interpreter takes to import a module."""
    code = f"import time; t = time.monotonic(); import {module}; print(time.monotonic() - t)"
    command = [str(BIN / "python"), "-c", code]
    said = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
    return float(said.stdout)
