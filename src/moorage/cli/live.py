"""Waiting: what each thing waits for and since when, as a live table or as a log of changes."""

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from moorage.cli.milestones import summary
from moorage.cli.output import clip, size_of, table_of, terminal_lines
from moorage.cli.say import say
from moorage.client import Api
from moorage.kit.clock import SystemClock
from moorage.kit.errors import NotFoundError, UnavailableError
from moorage.resources import Cluster, Machine, NodePool, Resource
from moorage.resources.phase import HOPELESS, phase

if TYPE_CHECKING:
    from rich.console import RenderableType

R = TypeVar("R", bound=Resource)

EXIT_FAILED, EXIT_TIMEOUT = 1, 3
LABEL_CLUSTER = "moorage.dev/cluster"
"""The gateway puts it on every machine."""
_LOOK_S = 1.0
_DETAIL = 120
_FRAME_LINES = 6
_STEP = 10
"""Percent, between two lines of a log."""
_BAR = 24
"""Columns."""

GIVEN_UP = frozenset(
    {"KubeadmMissing", "KubeletMissing", "RegistryMirrorsUnsupported", "VersionMismatch"}
)
"""Last words of a node that does not try again."""


@dataclass(frozen=True, slots=True)
class Meter:
    """How far something is that has a size."""

    done: int
    """Bytes."""
    total: int
    per_second: int = 0
    """Bytes; 0: not known."""

    @property
    def share(self) -> int:
        """Percent."""
        return min(100, 100 * self.done // max(1, self.total))

    def text(self) -> str:
        """Return how much of how much, how fast, and for how long still."""
        said = f"{self.share:3d} %  {size_of(self.done)} of {size_of(self.total)}"
        if self.per_second:
            left = max(0, self.total - self.done) // self.per_second
            said += f"  {size_of(self.per_second)}/s  {left // 60}:{left % 60:02d} left"
        return said


@dataclass(frozen=True, slots=True)
class View:
    """What one look showed."""

    line: str
    """The whole in one line."""
    rows: Sequence[tuple[str, str, str, str]] = ()
    """Machine, state, since, detail; those that are not ready."""
    verdict: int | None = None
    """Exit code, once there is nothing to wait for."""
    why: str = ""
    """Which object cannot get there, and what it says."""
    names: frozenset[str] = frozenset()
    """Every machine that is there, those that are ready too."""
    meter: Meter | None = None
    """Drawn as a bar; ``line`` tells it in coarse steps."""


@dataclass(slots=True)
class Seen:
    """What a look leaves for the end."""

    cluster: Cluster | None = None
    machines: list[Machine] = field(default_factory=list)
    was_new: bool | None = None


async def follow(
    api: Api,
    kind: type[R],
    name: str,
    *,
    project: str = "",
    timeout_s: float,
    meter_of: Callable[[R], Meter | None] = lambda _: None,
) -> int:
    """Stay until the resource is ready; return the exit code.

    ``meter_of`` tells how far it is, while that can be told in bytes.
    """

    async def look() -> View:
        item = await api.get(kind, name, project=project)
        return view_item(item, meter_of(item))

    return await _stay(look, timeout_s, f"{kind.kind_name()} {name}")


async def follow_cluster(api: Api, name: str, *, project: str, timeout_s: float) -> int:
    """Stay until cluster and pools are ready, showing every machine; return the exit code.

    Of a new cluster it is told at the end where the time went.
    """
    seen = Seen()

    async def look() -> View:
        cluster = await api.get(Cluster, name, project=project)
        pools = [p for p in await api.list(NodePool, project=project) if p.spec.cluster == name]
        machines = await machines_of(api, name, project)
        seen.cluster, seen.machines = cluster, machines
        if seen.was_new is None:
            seen.was_new = "Ready" not in cluster.status.timeline
        return view_cluster(cluster, pools, machines)

    code = await _stay(look, timeout_s, f"cluster {name}")
    if code == 0 and seen.was_new and seen.cluster is not None:
        for text in summary(seen.cluster, seen.machines):
            say(text)
    return code


async def follow_deletion(
    api: Api, kind: type[R], name: str, *, project: str = "", timeout_s: float
) -> int:
    """Stay until the resource is gone; return the exit code."""

    async def look() -> View:
        try:
            item = await api.get(kind, name, project=project)
        except NotFoundError:
            return View(f"{kind.kind_name()} {name} is gone", verdict=0)
        rows = []
        if kind is Cluster:
            rows = [_row(machine) for machine in await machines_of(api, name, project)]
        return View(_line(item), rows, names=frozenset(row[0] for row in rows))

    return await _stay(look, timeout_s, f"deletion of {name}")


async def machines_of(api: Api, cluster: str, project: str) -> list[Machine]:
    """Return the machines of one cluster."""
    return await api.list(Machine, project=project, selector=f"{LABEL_CLUSTER}={cluster}")


def view_item(item: Resource, meter: Meter | None) -> View:
    """Return one look at a resource."""
    line = _line(item)
    if meter is not None:  # the message has other figures at each look
        line = f"{phase(item)}, {meter.share // _STEP * _STEP} % of {size_of(meter.total)}"
    return View(line, verdict=_verdict(item), why=_message(item), meter=meter)


def view_cluster(cluster: Cluster, pools: Sequence[NodePool], machines: Sequence[Machine]) -> View:
    """Return one look at a cluster: machines that wait come as rows, the rest as a count."""
    names = frozenset(machine.metadata.name for machine in machines)
    waiting = [m for m in machines if m.is_deleting or not m.status.is_true("Ready")]
    asked = cluster.spec.control_plane.replicas + sum(pool.spec.replicas for pool in pools)
    state = "Preparing" if phase(cluster) == "NodesMissing" else phase(cluster)
    line = f"{state}, {len(machines) - len(waiting)} of {asked} nodes Ready"
    if not machines and (message := _message(cluster)):
        line += f": {message}"
    rows = [_row(machine) for machine in waiting]
    for item in (cluster, *pools):
        if _verdict(item) == EXIT_FAILED:
            why = f"{phase(item)}: {_message(item, limit=2000)}"
            return View(line, rows, EXIT_FAILED, why, names)
    for machine in waiting:
        if is_hopeless(machine):
            why = f"machine {machine.metadata.name}: {phase(machine)}: "
            return View(line, rows, EXIT_FAILED, why + _message(machine, limit=2000), names)
    ready = all(_verdict(item) == 0 for item in (cluster, *pools))
    return View(line, rows, 0 if ready else None, names=names)


def is_hopeless(item: Resource) -> bool:
    """Tell whether waiting cannot help this resource."""
    ready = item.status.condition("Ready")
    if isinstance(item, Machine) and item.status.progress_failed:
        return item.status.progress in GIVEN_UP
    return ready is not None and ready.status != "True" and ready.reason in HOPELESS


async def _stay(look: Callable[[], Awaitable[View]], timeout_s: float, what: str) -> int:
    screen: Screen | Log = Screen(what) if sys.stderr.isatty() else Log(what)
    began = time.monotonic()
    with screen:
        while True:
            try:
                view = await look()
            except UnavailableError as error:
                view = View(f"the hub is away, trying again: {clip(str(error), _DETAIL)}")
            elapsed = time.monotonic() - began
            screen.show(view, elapsed)
            if view.verdict is not None or elapsed > timeout_s:
                break
            await anyio.sleep(min(_LOOK_S, max(0.05, timeout_s - elapsed)))
    if view.verdict is None:
        say(
            f"{what} did not get there in {timeout_s:.0f} s ({view.line}); it goes on at the hub",
            "warning",
        )
        return EXIT_TIMEOUT
    if view.verdict:
        say(f"{what} cannot get there without a change. {view.why}", "error")
    return view.verdict


class Screen:
    """A table that is drawn anew: for terminals."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._what = what
        self._live = Live(
            console=Console(stderr=True, highlight=False, emoji=False, markup=False),
            auto_refresh=False,
        )

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, view: View, elapsed: float) -> None:
        from rich.console import Group
        from rich.text import Text

        head = f"{self._what}  {elapsed:.0f} s  {view.line}"
        if view.meter is not None:
            head = f"{self._what}  {elapsed:.0f} s"
        parts: list[RenderableType] = [Text(head, "bold")]
        if view.meter is not None:
            parts.append(_bar(view.meter))
        room = max(1, terminal_lines() - _FRAME_LINES)
        if view.rows:
            rows = list(view.rows[:room])
            parts.append(table_of(("MACHINE", "STATE", "SINCE", "DETAIL"), rows))
            if len(view.rows) > room:
                parts.append(Text(f"… and {len(view.rows) - room} more"))
        self._live.update(Group(*parts), refresh=True)


def _bar(meter: Meter) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=max(1, meter.total), completed=meter.done, width=_BAR)
    row.add_row(bar, Text(meter.text()))
    return row


class Log:
    """A line for each change: for pipes and logs."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._line = ""
        self._told: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, view: View, elapsed: float) -> None:
        if view.line != self._line:
            self._line = view.line
            say(f"[{elapsed:6.1f} s] {self._what}: {view.line}")
        for name, state, _, detail in view.rows:
            if self._told.get(name) != (state, detail):
                self._told[name] = (state, detail)
                say(f"[{elapsed:6.1f} s]   {name}: {state}" + (f" ({detail})" if detail else ""))
        if view.names or view.verdict == 0:  # not while the hub is away
            waiting = {row[0] for row in view.rows}
            for name in [name for name in self._told if name not in waiting]:
                del self._told[name]
                word = "Ready" if name in view.names else "gone"
                say(f"[{elapsed:6.1f} s]   {name}: {word}")


def _row(machine: Machine) -> tuple[str, str, str, str]:
    """Return name, state, since and the short detail of a machine that waits."""
    status = machine.status
    ready = status.condition("Ready")
    since = _ago(ready.last_transition_time) if ready else ""
    detail = _message(machine)
    if status.progress and not machine.is_deleting and status.power == "poweredOn":
        # The node's own last word says more than what the gateway sees from outside.
        said = ": ".join(filter(None, (status.progress, status.progress_detail)))
        detail = clip(said, _DETAIL)
    return machine.metadata.name, phase(machine), since, detail


def _line(item: Resource) -> str:
    message = _message(item)
    return phase(item) + (f" ({message})" if message else "")


def _message(item: Resource, *, limit: int = _DETAIL) -> str:
    ready = item.status.condition("Ready")
    return clip(ready.message, limit) if ready is not None and ready.status != "True" else ""


def _verdict(item: Resource) -> int | None:
    """Return 0 for ready, 1 for hopeless; ``None`` until the present generation was looked at."""
    ready = item.status.condition("Ready")
    if ready is None or item.status.observed_generation < item.metadata.generation:
        return None
    if ready.status == "True":
        return 0
    return EXIT_FAILED if is_hopeless(item) else None


def _ago(moment: Any) -> str:
    return f"{max(0, int((SystemClock().now() - moment).total_seconds()))} s"
