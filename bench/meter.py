"""What a stretch of time cost: vCenter's and API servers' counters, processor time, memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.result import Report
from bench.system import System

STREAM = "WaitForUpdatesEx"
_REST = ("POST /api/session", "DELETE /api/session")
NOT_FOR_A_MACHINE = {STREAM, "Login", "Logout", "RetrieveServiceContent", *_REST}
"""The stream is counted by time; logging in and out belongs to the account."""
OURS = ("hub", "gateway")

CALLS_PER_MACHINE, CPU_PER_MACHINE_S, CONNECTIONS, SESSIONS = 5.0, 0.3, 10.0, 2.0
BUSY_RETURNS_PER_S = 2.0
RETURNS_OVER_S = 5.0
"""Stream returns are counted for at least as long, on past the end of what is quicker. The budget
is a rate that a vCenter has to bear while much happens: an operation that is over after half a
second would by the two returns that show its begin and its end alone have four a second, and the
sooner they come, the worse."""


@dataclass
class Cost:
    """Of one stretch; complete when its block has ended."""

    seconds: float = 0.0
    calls: dict[str, int] = field(default_factory=dict)
    """vCenter's, by method."""
    connections: int = 0
    """To vCenter, opened."""
    sessions: int = 0
    """Open at vCenter at the end."""
    logins: int = 0
    api_calls: int = 0
    """Requests to clusters' API servers."""
    api_connections: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds by process."""
    passes: dict[str, int] = field(default_factory=dict)
    """The gateway's, by controller."""
    stream_returns: int = 0
    """Returns of the inventory stream, in ``returns_seconds``."""
    returns_seconds: float = 0.0

    @property
    def returns_a_second(self) -> float:
        """Returns of the inventory stream a second, over ``RETURNS_OVER_S`` or more."""
        return self.stream_returns / self.returns_seconds

    @property
    def machine_calls(self) -> dict[str, int]:
        """Calls that a machine's life needs, by method."""
        return {name: n for name, n in self.calls.items() if name not in NOT_FOR_A_MACHINE}

    @property
    def our_cpu(self) -> float:
        """Processor time of hub and gateway."""
        return sum(self.cpu.get(name, 0.0) for name in OURS)


@contextmanager
def measured(system: System) -> Iterator[Cost]:
    """Measure what happens in the block."""
    control, thin = system.vcenter.control, system.vcenter.thin
    control.reset_counters()
    if thin is not None:
        thin.counters(reset=True)
    cost, before, passes, begun = Cost(), system.cpu(), system.passes(), time.monotonic()
    yield cost
    cost.seconds = time.monotonic() - begun
    after, counted = system.cpu(), control.counters()
    cost.cpu = {name: after[name] - before.get(name, 0.0) for name in after}
    cost.passes = {name: n - passes.get(name, 0) for name, n in system.passes().items()}
    cost.calls = dict(counted["calls"])
    cost.connections = counted["connections"]["opened"]
    cost.sessions, cost.logins = counted["sessions"]["open"], counted["sessions"]["logins"]
    if thin is not None:
        asked = thin.counters()
        cost.api_calls = sum(asked["calls"].values())
        cost.api_connections = asked["connections"]["opened"]
    if (rest := begun + RETURNS_OVER_S - time.monotonic()) > 0:
        time.sleep(rest)
    cost.returns_seconds = time.monotonic() - begun
    cost.stream_returns = control.counters()["calls"].get(STREAM, 0)


def report_busy(
    report: Report,
    case: str,
    cost: Cost,
    *,
    machines: int,
    budget_s: float | None,
    made: bool = True,
) -> None:
    """Keep what it cost to make, or else to delete, machines."""
    add = report.add
    report.add_machine(case)
    add(case, "time", cost.seconds, "s", budget_s)
    add(case, "machines a second", machines / cost.seconds, "machines/s")
    add(case, "stream returns", cost.returns_a_second, "a second", BUSY_RETURNS_PER_S)
    add(case, "connections opened", cost.connections, "connections", CONNECTIONS)
    add(case, "sessions open", cost.sessions, "sessions", SESSIONS)
    add(case, "logins", cost.logins, "logins")
    calls, all_calls = cost.machine_calls, sum(cost.calls.values())
    budget = CALLS_PER_MACHINE if made else None
    add(case, "vCenter calls a machine", sum(calls.values()) / machines, "calls", budget)
    add(case, "vCenter calls a machine, all of any kind", all_calls / machines, "calls")
    for method, count in sorted(calls.items(), key=lambda item: -item[1]):
        add(case, f"vCenter calls a machine: {method}", count / machines, "calls")
    add(case, "API-server calls a machine", cost.api_calls / machines, "calls")
    add(case, "API-server connections a machine", cost.api_connections / machines, "connections")
    for name, count in sorted(cost.passes.items(), key=lambda item: -item[1]):
        if count:
            add(case, f"passes a machine: {name}", count / machines, "passes")
    share = cost.our_cpu / machines
    budget = CPU_PER_MACHINE_S if made else None
    add(case, "CPU of hub + gateway a machine", share, "s", budget)
    for name, seconds in cost.cpu.items():
        add(case, f"CPU of {name}", seconds, "s")


def report_memory(report: Report, case: str, system: System, budget_mib: float | None) -> None:
    """Keep the memory of all processes as it is now."""
    memory = system.memory()
    both = sum(memory[name].rss for name in OURS)
    report.add(case, "hub + gateway RSS", both, "MiB", budget_mib)
    for name, one in memory.items():
        report.add(case, f"{name} RSS", one.rss, "MiB")
