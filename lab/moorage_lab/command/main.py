"""`moorage-lab`: a simulated vCenter whose virtual machines are real Linux nodes."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from moorage_lab import deploy, estate, forward, govc, lifecycle, thin, vcenter
from moorage_lab.command import node, output
from moorage_lab.command import thin as thin_command
from moorage_lab.command import vcenter as vcenter_command
from moorage_lab.errors import LabError
from moorage_lab.inventory import default_inventory, images_of, users_of
from moorage_lab.namespace import exec_in_lab
from moorage_lab.places import VCENTER, State

FAILED, USAGE = 1, 2

app = App(
    name="moorage-lab",
    help="""A simulated vCenter whose powered-on virtual machines are real Linux nodes.

    Example: `moorage-lab up`, then
    `moorage-lab exec -- curl --cacert /var/lib/moorage-lab/ca.crt https://10.77.0.2/about`,
    and `moorage-lab down`, which leaves nothing behind.
    """,
    version_flags=(),
    help_format="markdown",
    result_action="return_value",
)
build = App(name="build", help="Build what the lab needs, into the cache, and print its path.")
app.command(build)
app.command(vcenter_command.app)
app.command(node.app)
app.command(thin_command.thin)


@app.command
def up(
    *,
    inventory: Path | None = None,
    nodes: bool = True,
) -> None:
    """Start the lab; what is missing is built first. May be repeated.

    Example: `moorage-lab up --inventory lab/inventories/mixed.yaml`

    Args:
        inventory: YAML file of the vCenter's inventory (default: lab/inventories/default.yaml).
        nodes: `--no-nodes` starts network and vCenter only: VMs power on with nobody behind them.
    """
    state, file = State.default(), inventory or default_inventory()
    lifecycle.up(state, file, nodes=nodes, progress=output.progress)
    output.say(f"vCenter:  https://{VCENTER}/sdk (inside the lab: moorage-lab exec -- …)")
    output.say(f"CA:       {state.ca}")
    for name, password in users_of(file):
        output.say(f"user:     {name}  password: {password}")


@app.command
def down() -> None:
    """Stop the lab: no process, mount, namespace, control group or file stays."""
    lifecycle.down(State.default())


@app.command
def reset() -> None:
    """Begin again from the inventory file: nodes and all changes in vCenter are gone."""
    lifecycle.reset(State.default())


@app.command
def status(*, output_format: Annotated[output.Format, Parameter(name=["-o"])] = "table") -> int:
    """What runs, and what the nodes use. Exit code 1: vCenter is not healthy.

    Args:
        output_format: `table` or `json`.
    """
    found = estate.status(State.default())
    healthy = bool(found["vcenter"]["healthy"])
    if output_format == "json":
        output.show_json(found)
        return 0 if healthy else FAILED
    say = output.say
    say(
        f"vCenter {VCENTER}: {'healthy' if healthy else 'NOT healthy'}, CA {found['vcenter']['ca']}"
    )
    services = (f"{name} {pid or 'NOT running'}" for name, pid in found["services"].items())
    say(f"processes: {', '.join(services)}")
    if counters := found["vcenter"]["counters"]:
        sessions = counters.get("sessions", {}).get("open", 0)
        say(f"calls: {sum(counters.get('calls', {}).values())}, open sessions: {sessions}")
    for one in found["forwards"]:
        say(f"forward: {one['listen']} -> {one['target']}")
    if found["nodes"]:
        node.show(estate.nodes(State.default()))
    return 0 if healthy else FAILED


@app.command(name="exec")
def execute(*command: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> NoReturn:
    """Run a command inside the lab's network; directory, environment and exit code stay.

    What it leaves running in the background belongs to the lab: `down` ends it.

    Example: `moorage-lab exec -- curl -k https://10.77.0.2/about`
    """
    if not command:
        raise LabError("exec needs a command: moorage-lab exec -- CMD …")
    exec_in_lab(command)


@app.command
def shell(vm: str, *command: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> NoReturn:
    """Run a shell, or a command, inside a node.

    Example: `moorage-lab shell cp-1 -- journalctl -u kubelet`

    Args:
        vm: Name or UUID of the VM.
        command: What to run instead of a shell.
    """
    node.enter(estate.find_vm(State.default(), vm), command or ("bash", "-l"))


@app.command
def logs(vm: str, *, path: bool = False) -> None:
    """What a node printed on its console, the last run at the end.

    Args:
        vm: Name or UUID of the VM.
        path: Print the paths of console and journal instead.
    """
    found = estate.find_vm(State.default(), vm)
    if path:
        output.say(found.container.console)
        output.say(found.disk.upper / "var" / "log" / "journal")
        return
    sys.stdout.write(found.container.console.read_text(errors="replace"))


@app.command(name="forward")
def forward_command(
    *specs: str,
    remove: tuple[str, ...] = (),
    list_all: Annotated[bool, Parameter(name="--list", negative=())] = False,
    output_format: Annotated[output.Format, Parameter(name=["-o"])] = "table",
) -> None:
    """Offer addresses inside the lab on the loopback of this machine.

    Example: `moorage-lab forward 127.0.0.1:8443=10.77.0.3:443`

    Args:
        specs: LISTEN=TARGET pairs; the forwards run until removed, or until `down`.
        remove: Listening address of a forward to end.
        list_all: Show the running forwards.
        output_format: `table` or `json`.
    """
    state = State.default()
    for listen in remove:
        forward.remove(state, listen)
    for spec in specs:
        started = forward.start(state, spec)
        output.progress(f"{started.listen} -> {started.target}")
    if list_all:
        found = forward.running(state)
        if output_format == "json":
            rows = [{"listen": f.listen, "target": f.target, "pid": f.process.pid} for f in found]
            output.show_json(rows)
        else:
            output.show_table(
                ("LISTEN", "TARGET", "PID"), ((f.listen, f.target, f.process.pid) for f in found)
            )


@build.command(name="vcenter")
def build_vcenter() -> None:
    """Build lab-vcenter, unless these sources are in the cache."""
    output.say(vcenter.find_or_build(output.progress))


@build.command(name="thin")
def build_thin() -> None:
    """Build lab-thin, the thin guests, unless these sources are in the cache."""
    output.say(thin.find_or_build(output.progress))


@build.command(name="govc")
def build_govc() -> None:
    """Build govc's commands for roles and permissions, unless these sources are in the cache."""
    output.say(govc.find_or_build(output.progress))


@build.command(name="deploy")
def build_deploy() -> None:
    """Build Helm's renderer and Prometheus' parser, unless these sources are in the cache."""
    output.say(deploy.find_or_build(output.progress))


@build.command(name="image")
def build_node_image(version: str | None = None) -> None:
    """Build a node image with real Kubernetes; the first time takes 20 minutes or more.

    Args:
        version: Kubernetes version (default: those of the default inventory).
    """
    wanted = [version] if version else sorted(images_of(default_inventory()))
    for one in wanted:
        output.say(lifecycle.node_image(one, output.progress))


def main() -> None:
    """Entry of the command."""
    try:
        code = app(sys.argv[1:], exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(USAGE)
    except LabError as error:
        output.stderr.print(f"moorage-lab: {error}", markup=False, style="red")
        sys.exit(FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
