"""Waiting with a live view: what each thing waits for, since when."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import anyio
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from moorage.cli.context import stderr
from moorage.cli.output import phase
from moorage.client import Api
from moorage.kit.errors import NotFoundError, UnavailableError
from moorage.resources import Cluster, Machine, NodePool, Resource

R = TypeVar("R", bound=Resource)

EXIT_FAILED, EXIT_TIMEOUT = 1, 3
_LOOK_S = 1.0

HOPELESS = frozenset(
    {
        "InvalidCredentials",
        "PlacementInvalid",
        "SecretNotForThisUse",
        "KeysNotReadable",
        "LayerInvalid",
        "FailureDomainNotFound",
        "VersionMismatch",
        "NameTaken",
        "CertificateNotTrusted",
    }
)
"""Reasons that waiting does not mend: ``--wait`` ends with 1 instead of staying."""


async def follow(api: Api, kind: type[R], name: str, *, project: str = "", timeout_s: float) -> int:
    """Stay until the resource is ready; return the exit code."""

    async def look() -> tuple[RenderableType, int | None]:
        item = await api.get(kind, name, project=project)
        return _line(item), _verdict(item)

    return await _stay(look, timeout_s, f"{kind.kind_name()} {name}")


async def follow_cluster(api: Api, name: str, *, project: str, timeout_s: float) -> int:
    """Stay until cluster and pools are ready, showing every machine; return the exit code."""

    async def look() -> tuple[RenderableType, int | None]:
        cluster = await api.get(Cluster, name, project=project)
        pools = await _of(api, NodePool, project, lambda p: p.spec.cluster == name)
        machines = await _of(api, Machine, project, lambda m: m.spec.cluster == name)
        verdicts = [_verdict(item) for item in (cluster, *pools)]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("MACHINE", "STATE", "SINCE", "WHAT IT WAITS FOR"):
            table.add_column(heading, overflow="fold")
        for machine in machines:
            ready = machine.status.condition("Ready")
            since = f"{_seconds(ready.last_transition_time)} s" if ready else ""
            message = ready.message if ready and ready.status != "True" else ""
            table.add_row(machine.metadata.name, phase(machine), since, message)
        lines: list[RenderableType] = [_line(cluster), *(_line(pool) for pool in pools), table]
        if EXIT_FAILED in verdicts:
            return Group(*lines), EXIT_FAILED
        return Group(*lines), 0 if all(v == 0 for v in verdicts) else None

    return await _stay(look, timeout_s, f"cluster {name}")


async def follow_deletion(
    api: Api, kind: type[R], name: str, *, project: str, timeout_s: float
) -> int:
    """Stay until the resource is gone; return the exit code."""

    async def look() -> tuple[RenderableType, int | None]:
        try:
            item = await api.get(kind, name, project=project)
        except NotFoundError:
            return Text(f"{kind.kind_name()} {name} is gone"), 0
        return _line(item), None

    return await _stay(look, timeout_s, f"deletion of {name}")


async def _stay(look: Callable[[], object], timeout_s: float, what: str) -> int:
    console = stderr()
    began = time.monotonic()
    said = ""
    with Live(console=console, transient=False, auto_refresh=False) as live:
        while True:
            try:
                view, verdict = await look()  # type: ignore[misc]
            except UnavailableError as error:
                view, verdict = Text(f"the hub is away, trying again: {error}"), None
            elapsed = time.monotonic() - began
            if console.is_terminal:
                live.update(Group(Text(f"{what}: {elapsed:.0f} s"), view), refresh=True)
            else:
                said = _log_change(view, said, elapsed)
            if verdict is not None:
                break
            if elapsed > timeout_s:
                console.print(
                    f"{what} did not get there in {timeout_s:.0f} s; it goes on at the hub"
                )
                return EXIT_TIMEOUT
            await anyio.sleep(_LOOK_S)
    if verdict:
        console.print(f"{what} cannot get there without a change", style="red")
    return int(verdict)


def _log_change(view: RenderableType, said: str, elapsed: float) -> str:
    """Print the first line of the view when it says something new: for pipes and logs."""
    first = view.renderables[0] if isinstance(view, Group) else view
    text = first.plain if isinstance(first, Text) else ""
    if text != said:
        stderr().print(f"[{elapsed:6.1f} s] {text}")
    return text


def _line(item: Resource) -> Text:
    ready = item.status.condition("Ready")
    text = Text(f"{item.kind} {item.metadata.name}: {phase(item)}")
    if ready is not None and ready.status != "True":
        text.append(f" ({ready.message})" if ready.message else "")
    return text


def _verdict(item: Resource) -> int | None:
    ready = item.status.condition("Ready")
    if ready is None or item.status.observed_generation < item.metadata.generation:
        return None
    if ready.status == "True":
        return 0
    return EXIT_FAILED if ready.reason in HOPELESS else None


async def _of(api: Api, kind: type[R], project: str, mine: Callable[[R], bool]) -> list[R]:
    return [item for item in await api.list(kind, project=project) if mine(item)]


def _seconds(moment: datetime) -> int:
    return int((datetime.now(UTC) - moment).total_seconds())
