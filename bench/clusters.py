"""Many clusters, large ones, deleted ones, idle ones: on thin guests, without any task time.

What is measured is the product: hub and gateway as users run them. vCenter and guests are the lab's
processes on the same two processors, so times hold their work too.
"""

import argparse
import json
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from harness import GATEWAY, Memory, Result, System, finish, machine

CALLS_PER_MACHINE, CPU_PER_MACHINE_S, CONNECTIONS = 5.0, 0.3, 10.0
BUSY_RETURNS_PER_S, IDLE_RETURNS_PER_MIN = 2.0, 2.0
IDLE_S = 60.0
SETTLE_S = 5.0
_NOT_FOR_A_MACHINE = {"WaitForUpdatesEx", "Login", "Logout", "RetrieveServiceContent"}


@dataclass
class Api:
    """The hub's REST API, as far as this needs it."""

    http: httpx2.Client

    @classmethod
    def of(cls, system: System) -> "Api":
        """Log in."""
        tls = ssl.create_default_context(cafile=f"{system.folder}/hub/ca.crt")
        http = httpx2.Client(base_url=system.url, verify=tls, trust_env=False, timeout=60)
        password = (system.folder / "hub" / "initial-admin-password").read_text().strip()
        answer = http.post("/v1/login", json={"username": "admin", "password": password})
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['token']}"
        return cls(http)

    def clusters(self) -> list[dict[str, Any]]:
        """Return all clusters."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            params = {"limit": "200"} | ({"continue": after} if after else {})
            page = self.http.get("/v1/projects/default/clusters", params=params)
            found += page.raise_for_status().json()["items"]
            after = page.json().get("continue")
            if not after:
                return found

    def delete(self, name: str) -> None:
        """Ask for a cluster's deletion."""
        self.http.delete(f"/v1/projects/default/clusters/{name}").raise_for_status()


def a_cluster(name: str, control_plane: int, workers: int) -> dict[str, Any]:
    domain = {"datastore": "ds1", "network": "nodes", "ipPool": "nodes"}
    spec = {
        "account": "lab",
        "kubernetesVersion": "v1.34.4",
        "placement": {
            "datacenter": "dc1",
            "folder": "clusters",
            "template": "templates/ubuntu-2404-kube-v1.34.4",
            "failureDomains": [
                {"name": name, "computeCluster": where, **domain}
                for name, where in (("a", "cc1"), ("b", "cc2"))
            ],
        },
        "controlPlane": {"replicas": control_plane},
    }
    pool = {"name": "workers", "replicas": workers}
    return {"kind": "Cluster", "metadata": {"name": name}, "spec": spec, "nodePools": [pool]}


class Bench:
    """One system and its figures."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.results: list[Result] = []
        system.add_account()
        pool = system.vcenter.guests.pool()
        system.moorage(
            "ippools", "add", "nodes", f"--gateway={GATEWAY}", f"--start={pool['start']}",
            f"--end={pool['end']}", f"--prefix={pool['prefix']}", f"--router={pool['router']}",
        )  # fmt: skip
        self.api = Api.of(system)

    def make(
        self, count: int, control_plane: int, workers: int, *, budget_s: float | None,
        memory_mib: float | None = None,
    ) -> None:  # fmt: skip
        """Make clusters, all at once."""
        case = f"{count} x ({control_plane} + {workers})"
        documents = [
            a_cluster(f"c{control_plane}-{workers}-{n}", control_plane, workers)
            for n in range(count)
        ]
        file = self.system.folder / "clusters.yaml"
        file.write_text("\n---\n".join(json.dumps(one) for one in documents))
        machines = count * (control_plane + workers)
        names = {one["metadata"]["name"] for one in documents}

        def ask() -> None:
            self.system.moorage("clusters", "apply", f"--file={file}")

        self._measure(
            case, ask, lambda: self._are_ready(names, control_plane + workers), machines, budget_s
        )
        time.sleep(SETTLE_S)
        hub, gateway = Memory.of(self.system.hub.pid), Memory.of(self.system.gateway.pid)
        both = round(hub.rss + gateway.rss, 1)
        self._add(case, "hub + gateway RSS", both, "MiB", memory_mib)

    def scale(self, cluster: str, before: int, more: int, *, budget_s: float | None) -> None:
        """Add workers to one cluster."""
        workers = int(cluster.split("-")[1])

        def ask() -> None:
            words = ("clusters", "scale", cluster, "workers", f"--replicas={workers + more}")
            self.system.moorage(*words)

        self._measure(
            f"{more} more workers",
            ask,
            lambda: self._are_ready({cluster}, before + more),
            more,
            budget_s,
        )

    def delete(self, count: int, *, budget_s: float | None) -> None:
        """Delete clusters, all at once."""
        names = [one["metadata"]["name"] for one in self.api.clusters()][:count]

        def ask() -> None:
            for name in names:
                self.api.delete(name)

        def are_gone() -> bool:
            return not {one["metadata"]["name"] for one in self.api.clusters()} & set(names)

        self._measure(f"{count} deleted", ask, are_gone, None, budget_s)

    def idle(self, count: int) -> None:
        """Do nothing for a while."""
        time.sleep(SETTLE_S * 4)
        case, control = f"idle, {count} clusters", self.system.vcenter.control
        control.reset_counters()
        self.system.vcenter.guests.counters(reset=True)
        cpu = self.system.cpu_seconds()
        time.sleep(IDLE_S)
        minutes = IDLE_S / 60
        calls = dict(control.counters()["calls"])
        returns = calls.pop("WaitForUpdatesEx", 0)
        asked = sum(self.system.vcenter.guests.counters()["calls"].values())
        used = round((self.system.cpu_seconds() - cpu) / minutes, 2)
        self._add(case, "stream returns", returns / minutes, "a minute", IDLE_RETURNS_PER_MIN)
        self._add(case, "other vCenter calls", sum(calls.values()) / minutes, "a minute")
        self._add(case, "API-server calls", asked / minutes / count, "a minute, cluster")
        self._add(case, "CPU of hub + gateway", used, "s a minute")

    def _measure(
        self, case: str, ask: Callable[[], None], is_so: Callable[[], bool],
        machines: int | None, budget_s: float | None,
    ) -> None:  # fmt: skip
        control = self.system.vcenter.control
        control.reset_counters()
        cpu, begun = self.system.cpu_seconds(), time.monotonic()
        ask()
        self.system.until(is_so, case, patience_s=1800)
        seconds = time.monotonic() - begun
        used = self.system.cpu_seconds() - cpu
        counted = control.counters()
        calls = dict(counted["calls"])
        returns = calls.get("WaitForUpdatesEx", 0)
        self.results += machine(case)
        self._add(case, "time", round(seconds, 2), "s", budget_s)
        self._add(
            case, "stream returns", round(returns / seconds, 2), "a second", BUSY_RETURNS_PER_S
        )
        opened = counted["connections"]["opened"]
        self._add(case, "connections opened", opened, "connections", CONNECTIONS)
        if machines is None:
            self._add(case, "CPU of hub + gateway", round(used, 2), "s")
            return
        per = sum(n for name, n in calls.items() if name not in _NOT_FOR_A_MACHINE) / machines
        self._add(case, "vCenter calls a machine", round(per, 2), "calls", CALLS_PER_MACHINE)
        share = round(used / machines, 3)
        self._add(case, "CPU of hub + gateway a machine", share, "s", CPU_PER_MACHINE_S)

    def _are_ready(self, names: set[str], nodes: int) -> bool:
        found = [one for one in self.api.clusters() if one["metadata"]["name"] in names]
        return len(found) == len(names) and all(
            one["status"].get("nodesReady") == nodes
            and any(
                c["type"] == "Ready" and c["status"] == "True" for c in one["status"]["conditions"]
            )
            for one in found
        )

    def _add(
        self, case: str, metric: str, value: float, unit: str, budget: float | None = None
    ) -> None:
        self.results.append(Result(case, metric, value, unit, budget))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out fifty clusters")
    quick = parser.parse_args().quick
    results: list[Result] = []
    with System.start("thin") as system:
        bench = Bench(system)
        bench.make(1, 1, 3, budget_s=4.5, memory_mib=180.0)
        bench.delete(1, budget_s=None)
        bench.make(1, 3, 10, budget_s=8.0)
        bench.scale("c3-10-0", 13, 100, budget_s=15.0)
        results += bench.results
    with System.start("thin") as system:
        bench = Bench(system)
        bench.make(10, 1, 3, budget_s=None)
        bench.idle(10)
        bench.delete(10, budget_s=5.0)
        results += bench.results
    if not quick:
        with System.start("thin") as system:
            bench = Bench(system)
            bench.make(50, 1, 3, budget_s=60.0, memory_mib=220.0)
            bench.idle(50)
            bench.delete(50, budget_s=None)
            results += bench.results
    return finish(results)


if __name__ == "__main__":
    sys.exit(main())
