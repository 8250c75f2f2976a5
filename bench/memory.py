"""Memory and start of hub and gateway, as users have them: two processes, one cluster.

The vCenter is the lab's, on loopback. Its machines have nobody behind them, so what is measured
is a system in the middle of making a cluster: every machine cloned and on, no node joined yet.
"""

import subprocess
import sys
import time

from harness import BIN, GATEWAY, Memory, Result, System, environment, finish, machine

CASE = "memory, 1 cluster"
START = "start"
BUDGET_MIB = 180.0
MACHINES = 5
SETTLE_S = 5.0
RUNS = 3
"""A start is measured this often; the quickest counts, for the machine does other things too."""

CLUSTER = """\
kind: Cluster
metadata: {name: one}
spec:
  account: lab
  kubernetesVersion: v1.34.4
  placement:
    datacenter: dc1
    folder: clusters
    template: templates/ubuntu-2404-kube-v1.34.4
    failureDomains:
      - {name: a, computeCluster: cc1, datastore: ds1, network: nodes, ipPool: nodes, region: dc1}
      - {name: b, computeCluster: cc2, datastore: ds1, network: nodes, ipPool: nodes, region: dc1}
  controlPlane: {replicas: 3, cpus: 2, memoryMib: 3072}
nodePools:
  - {name: workers, replicas: 2, cpus: 2, memoryMib: 2048}
"""


def main() -> int:
    results = [*machine(CASE), *starts()]
    with System.start() as system:
        system.add_account()
        time.sleep(SETTLE_S)
        results += measure(system, "account connected")
        # Addresses of loopback: nobody listens there, and nothing leaves this machine.
        system.moorage(
            "ippools", "add", "nodes", f"--gateway={GATEWAY}", "--start=127.77.1.10",
            "--end=127.77.1.99", "--prefix=16", "--router=127.77.0.1",
        )  # fmt: skip
        file = system.folder / "cluster.yaml"
        file.write_text(CLUSTER)
        system.moorage("clusters", "apply", f"--file={file}")
        system.until(lambda: machines_on(system) == MACHINES, f"{MACHINES} machines are on")
        time.sleep(SETTLE_S)
        results += measure(system, "cluster of 3 + 2 cloned", budget=BUDGET_MIB)
        results += served(system)
    return finish(results)


def machines_on(system: System) -> int:
    vms = system.vcenter.control.inventory()["vms"]
    return sum(not vm["template"] and vm["power"] == "poweredOn" for vm in vms)


def measure(system: System, when: str, *, budget: float | None = None) -> list[Result]:
    """Read the memory of both processes."""
    hub, gateway = Memory.of(system.hub.pid), Memory.of(system.gateway.pid)
    both = round(hub.rss + gateway.rss, 1)
    return [
        Result(CASE, f"{when}: hub + gateway RSS", both, "MiB", budget),
        *(
            Result(CASE, f"{when}: {name} {what}", value, "MiB")
            for name, memory in (("hub", hub), ("gateway", gateway))
            for what, value in (
                ("RSS", memory.rss),
                ("PSS", memory.pss),
                ("private", memory.private),
            )
        ),
    ]


def served(system: System) -> list[Result]:
    """Measure the start of both processes on the data that they have by now."""
    seconds: dict[str, list[float]] = {"moorage-hub": [], "moorage-gateway": []}
    for _ in range(RUNS):
        system.stop(system.hub)
        system.start_hub()
        system.stop(system.gateway)
        system.start_gateway()
        for name, measured in seconds.items():
            measured.append(system.seconds[name])
    return [
        Result(START, f"{name}, from start until it serves", min(measured), "s")
        for name, measured in seconds.items()
    ]


def starts() -> list[Result]:
    """Measure how long the modules of both processes take to load."""
    found = [*machine(START)]
    for module in ("moorage.hub.serve", "moorage.gateway.app"):
        seconds = [imported(module) for _ in range(RUNS + 1)]  # the first may write bytecode
        found.append(Result(START, f"import {module}", min(seconds), "s"))
    return found


def imported(module: str) -> float:
    code = f"import time; t = time.monotonic(); import {module}; print(time.monotonic() - t)"
    command = [BIN / "python", "-c", code]
    said = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
    return round(float(said.stdout), 2)


if __name__ == "__main__":
    sys.exit(main())
