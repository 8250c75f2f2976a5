"""`moorage-lab node`: the nodes themselves, behind vCenter's back."""

import os
import signal
from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from moorage_lab import cgroup, estate
from moorage_lab.command import output
from moorage_lab.errors import LabError
from moorage_lab.places import State
from moorage_lab.vm import VM

app = App(name="node", help="Look at the nodes and crash them, behind vCenter's back.")


def show(nodes: Iterable[estate.Node]) -> None:
    output.show_table(
        ("NAME", "POWER", "PID", "ADDRESSES", "MEMORY", "CPUS", "UUID"),
        (
            (
                node.name,
                node.power,
                node.pid,
                " ".join(node.addresses) or None,
                f"{node.memory_mib or 0}/{node.memory_limit_mib} MiB",
                node.cpus,
                node.uuid,
            )
            for node in nodes
        ),
    )


@app.command(name="list")
def list_nodes(
    *, output_format: Annotated[output.Format, Parameter(name=["-o"])] = "table"
) -> None:
    """The hypervisor's VMs.

    Args:
        output_format: `table` or `json`.
    """
    nodes = estate.nodes(State.default())
    if output_format == "json":
        output.show_json([estate.plain(node) for node in nodes])
    else:
        show(nodes)


@app.command
def kill(vm: str) -> None:
    """Crash a node: SIGKILL to its init. vCenter sees the VM power off.

    Example: `moorage-lab node kill cp-1`

    Args:
        vm: Name or UUID of the VM.
    """
    found = estate.find_vm(State.default(), vm)
    init = found.container.init()
    if init is None or not init.send(signal.SIGKILL):
        raise LabError(f"VM {found.document.name} is not powered on")


def enter(vm: VM, command: Sequence[str]) -> NoReturn:
    """Become a command inside a node: its namespaces and control groups."""
    init = vm.container.init()
    if init is None:
        raise LabError(f"VM {vm.document.name} is not powered on")
    cgroup.join(vm.container.name)
    inside = ["nsenter", f"--target={init.pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
    inside += ["--cgroup", "--wd", "--", *command]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, "TERM": os.environ.get("TERM", "dumb"), "HOME": "/root"}
    os.execvpe(inside[0], inside, environment)  # noqa: S606 - a shell is not wanted
