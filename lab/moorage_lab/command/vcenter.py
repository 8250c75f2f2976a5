"""`moorage-lab vcenter`: counters, faults and restarts of the simulated vCenter."""

from typing import Literal

from cyclopts import App

from moorage_lab.command import output
from moorage_lab.control import Control
from moorage_lab.places import State

app = App(name="vcenter", help="Counters, faults and restarts of the simulated vCenter.")

Action = Literal["dropAnswer", "fail", "delay", "dieBefore"]


def _control() -> Control:
    return Control(State.default().control_socket)


@app.command
def counters(*, reset: bool = False) -> None:
    """Calls by method, sessions, connections and stream returns, as JSON.

    Args:
        reset: Set them to zero after showing them.
    """
    with _control() as control:
        output.show_json(control.counters())
        if reset:
            control.reset_counters()


@app.command
def inventory() -> None:
    """Every object, as JSON: the witness's view."""
    with _control() as control:
        output.show_json(control.inventory())


@app.command
def events() -> None:
    """Every event kept, as JSON; reconfigurations with their old and new values."""
    with _control() as control:
        output.show_json(control.events())


@app.command
def restart(*, seconds: float = 20) -> None:
    """Close vCenter's port: sessions, version tokens and running tasks are lost.

    Args:
        seconds: How long the port stays closed.
    """
    with _control() as control:
        control.restart(seconds)


@app.command(name="expire-sessions")
def expire_sessions() -> None:
    """End every session now."""
    with _control() as control:
        control.expire_sessions()


@app.command
def fault(
    method: str = "",
    action: Action = "fail",
    *,
    fault_type: str = "",
    count: int = 1,
    after: int = 0,
    seconds: float = 0,
    clear: bool = False,
) -> None:
    """Make vCenter fail.

    Example: `moorage-lab vcenter fault CloneVM_Task dropAnswer --count 2`

    Args:
        method: SOAP method that it meets.
        action: What happens to the call.
        fault_type: Type of the fault to answer, when the action is `fail`.
        count: How many calls it meets.
        after: How many calls pass before the first is met.
        seconds: How long `delay` takes.
        clear: Take all faults back first.
    """
    with _control() as control:
        if clear:
            control.clear_faults()
        if method:
            control.fault(
                method, action, fault=fault_type, count=count, after=after, seconds=seconds
            )
