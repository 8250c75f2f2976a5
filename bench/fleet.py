"""Clusters made, scaled, idle and deleted: on thin guests, without any task time.

What is measured is the product: hub and gateway as users run them. vCenter and guests are the lab's
processes on the same processors, so times hold their work too.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from bench.api import Api
from bench.meter import STREAM, Cost, measured, report_busy, report_memory
from bench.restart import report_restart
from bench.result import Report, say
from bench.system import System, until
from moorage_lab.api import cluster_document

IDLE_S = 180.0
IDLE_RETURNS_PER_MIN = 2.0
SETTLE_S = 5.0
QUIET_S = 20.0
"""After the last change, until nothing that was scheduled for soon is left to be done."""
MEMORY_MIB = {1: 200.0, 50: 220.0, 1000: 500.0}
"""The first is not the design page's: docs/adr/0017-budgets.md."""
SECONDS = {1: 4.5, 50: 60.0, 1000: 25 * 60.0}
DELETE_SECONDS = {10: 5.0}


class Fleet:
    """The clusters of one system, and what they cost."""

    def __init__(self, system: System, report: Report) -> None:
        self.system = system
        self.report = report
        system.add_account()
        system.add_pool()
        self.api = Api.login(system.url, system.folder / "hub")

    def make(
        self, count: int, control_plane: int, workers: int, *, budget_s: float | None = None,
        memory_mib: float | None = None, case: str | None = None,
    ) -> None:  # fmt: skip
        """Make clusters, all at once."""
        case = case or f"{count} x ({control_plane} + {workers})"
        documents = [
            cluster_document(
                f"c{control_plane}-{workers}-{n}", control_plane=control_plane, workers=workers
            )
            for n in range(count)
        ]
        file = self.system.folder / "clusters.yaml"
        file.write_text("\n---\n".join(json.dumps(one) for one in documents))
        names = {one["metadata"]["name"] for one in documents}

        def ask() -> None:
            self.system.moorage("clusters", "apply", f"--file={file}")

        nodes = control_plane + workers
        cost = self._cost(case, ask, lambda: self._are_ready(names, nodes), count)
        report_busy(self.report, case, cost, machines=count * nodes, budget_s=budget_s)
        time.sleep(SETTLE_S)
        report_memory(self.report, case, self.system, memory_mib)

    def scale(
        self, cluster: str, before: int, more: int, *, budget_s: float | None = None,
        case: str | None = None,
    ) -> Cost:  # fmt: skip
        """Add workers to one cluster, which has that many machines before."""
        case = case or f"{more} more workers"
        workers = int(cluster.split("-")[1])

        def ask() -> None:
            words = ("clusters", "scale", cluster, "workers", f"--replicas={workers + more}")
            self.system.moorage(*words)

        cost = self._cost(case, ask, lambda: self._are_ready({cluster}, before + more), 1)
        report_busy(self.report, case, cost, machines=more, budget_s=budget_s)
        return cost

    def delete(self, count: int, machines: int, *, budget_s: float | None = None) -> None:
        """Delete clusters, all at once.

        Args:
            count: How many clusters.
            machines: How many machines each has.
            budget_s: Most time that it may take.
        """
        case = f"{count} deleted"
        names = [one["metadata"]["name"] for one in self.api.clusters()][:count]

        def ask() -> None:
            for name in names:
                self.api.delete(name)

        def are_gone() -> bool:
            return not {one["metadata"]["name"] for one in self.api.clusters()} & set(names)

        cost = self._cost(case, ask, are_gone, count)
        total = count * machines
        report_busy(self.report, case, cost, machines=total, budget_s=budget_s, made=False)

    def _cost(
        self, case: str, ask: Callable[[], None], is_so: Callable[[], bool], size: int
    ) -> Cost:
        say(case)
        # Looking costs the hub time too: rarely, where there is much to look at.
        every_s = min(5.0, max(0.2, size / 50))
        with measured(self.system) as cost:
            ask()
            until(is_so, case, patience_s=3 * 3600, every_s=every_s)
        say(f"{case}: {cost.seconds:.1f} s")
        return cost

    def _are_ready(self, names: set[str], nodes: int) -> bool:
        found = [one for one in self.api.clusters() if one["metadata"]["name"] in names]
        return len(found) == len(names) and all(is_ready(one, nodes) for one in found)


def idle(fleets: dict[int, Fleet], report: Report, *, seconds: float = IDLE_S) -> None:
    """Let systems do nothing for a while, several at the same time.

    Args:
        fleets: By number of clusters.
        report: Gets the figures.
        seconds: How long.
    """
    say(f"idle for {seconds:g} s: {', '.join(map(str, fleets))} clusters")
    time.sleep(QUIET_S)
    costs: dict[int, Cost] = {}
    _idle(list(fleets.items()), costs, seconds)
    for count, cost in costs.items():
        case, minutes = f"idle, {count} clusters", cost.seconds / 60
        report.add_machine(case)
        returns = cost.calls.get(STREAM, 0)
        report.add(case, "stream returns", returns / minutes, "a minute", IDLE_RETURNS_PER_MIN)
        others = (sum(cost.calls.values()) - returns) / minutes
        report.add(case, "other vCenter calls", others, "a minute")
        report.add(case, "vCenter connections", cost.connections / minutes, "a minute")
        report.add(case, "API-server calls a cluster", cost.api_calls / minutes / count, "a minute")
        opened = cost.api_connections / minutes / count
        report.add(case, "API-server connections a cluster", opened, "a minute")
        report.add(case, "CPU of hub + gateway", cost.our_cpu / minutes, "s a minute")
        share = 1000 * cost.our_cpu / minutes / count
        report.add(case, "CPU of hub + gateway a cluster", share, "ms a minute")
        report_memory(report, case, fleets[count].system, None)


def _idle(left: list[tuple[int, Fleet]], costs: dict[int, Cost], seconds: float) -> None:
    if not left:
        time.sleep(seconds)
        return
    (count, fleet), *others = left
    with measured(fleet.system) as costs[count]:
        _idle(others, costs, seconds)


def is_ready(cluster: dict[str, Any], nodes: int) -> bool:
    """Tell whether a cluster is Ready, with that many nodes."""
    status = cluster["status"]
    return status.get("nodesReady") == nodes and any(
        one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"]
    )


def one(report: Report) -> None:
    """Measure one small cluster, one large one, and the large one's growth."""
    with System.start("thin") as system:
        fleet = Fleet(system, report)
        fleet.make(1, 1, 3, budget_s=SECONDS[1], memory_mib=MEMORY_MIB[1])
        fleet.delete(1, 4)
        fleet.make(1, 3, 10, budget_s=8.0)
        fleet.scale("c3-10-0", 13, 100, budget_s=15.0)


def many(report: Report) -> None:
    """Measure ten and fifty clusters: made, idle, a restart, deleted."""
    with System.start("thin") as ten, System.start("thin") as fifty:
        fleets = {10: Fleet(ten, report), 50: Fleet(fifty, report)}
        for count, fleet in fleets.items():
            budget, memory = SECONDS.get(count), MEMORY_MIB.get(count)
            fleet.make(count, 1, 3, budget_s=budget, memory_mib=memory)
        idle(fleets, report)
        report_restart(report, "gateway restart, 200 machines", fifty)
        for count, fleet in fleets.items():
            fleet.delete(count, 4, budget_s=DELETE_SECONDS.get(count))


def two_hundred(report: Report) -> None:
    """Measure 200 clusters: made, idle, deleted."""
    _large(report, 200)


def thousand(report: Report) -> None:
    """Measure 1,000 clusters: made, idle, a restart beside 4,000 machines, deleted."""
    _large(report, 1000)


def _large(report: Report, count: int) -> None:
    with System.start("thin") as system:
        fleet = Fleet(system, report)
        fleet.make(count, 1, 3, budget_s=SECONDS.get(count), memory_mib=MEMORY_MIB.get(count))
        idle({count: fleet}, report)
        report_restart(report, f"gateway restart, {4 * count} machines", system)
        fleet.delete(count, 4)


def thousand_workers(report: Report) -> None:
    """Measure one cluster that grows by a thousand workers."""
    with System.start("thin") as system:
        fleet = Fleet(system, report)
        fleet.make(1, 1, 3, budget_s=SECONDS[1], memory_mib=MEMORY_MIB[1])
        fleet.scale("c1-3-0", 4, 1000)
