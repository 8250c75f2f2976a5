"""``moorage machines`` and ``moorage logs``."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from moorage.cli.say import examples, say

app = App(name="machines", help="Machines: virtual machines that are, or become, nodes.")
logs_app = App()


@app.command(name="list", help_epilogue=examples("moorage machines list demo"))
async def list_(cluster: str | None = None) -> None:
    """List machines.

    Args:
        cluster: Only those of this cluster.
    """
    from moorage.cli.context import Context
    from moorage.cli.live import LABEL_CLUSTER
    from moorage.cli.output import age, show_list
    from moorage.resources import Machine
    from moorage.resources.phase import phase

    context = Context.current()
    selector = f"{LABEL_CLUSTER}={cluster}" if cluster else None
    async with context.api() as api:
        items = await api.list(Machine, project=context.project, selector=selector)
    show_list(
        items,
        (
            ("NAME", lambda m: m.metadata.name),
            ("STATE", phase),
            ("POOL", lambda m: m.spec.pool or "(control plane)"),
            ("DOMAIN", lambda m: m.spec.failure_domain.name),
            ("ADDRESS", lambda m: m.status.addresses[0] if m.status.addresses else "-"),
            ("VERSION", lambda m: m.spec.kubernetes_version),
            ("AGE", lambda m: age(m.metadata.created_at)),
        ),
    )


@app.command(help_epilogue=examples("moorage machines describe demo-workers-0a1b2c3d4e"))
async def describe(name: str) -> None:
    """Show one machine: each step of its life, and what it waits for.

    Args:
        name: Name of the machine.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import describe_resource, show_one
    from moorage.resources import Machine

    context = Context.current()
    async with context.api() as api:
        machine = await api.get(Machine, name, project=context.project)
    status = machine.status
    facts = [
        ("cluster", machine.spec.cluster),
        ("pool", machine.spec.pool or "(control plane)"),
        ("domain", machine.spec.failure_domain.name),
        ("region", machine.spec.failure_domain.region),
        ("zone", machine.spec.failure_domain.zone or machine.spec.failure_domain.name),
        ("template", machine.spec.template),
        ("VM", f"{machine.vm_name} ({status.vm})" if status.vm else machine.vm_name),
        ("power", status.power),
        ("addresses", ", ".join(status.addresses)),
        ("provider ID", status.provider_id),
        ("the node says", ": ".join(filter(None, (status.progress, status.progress_detail)))),
        *sorted(status.timeline.items(), key=lambda item: item[1]),
    ]
    show_one(machine, lambda: describe_resource(machine, facts))


@app.command(help_epilogue=examples("moorage machines delete demo-workers-0a1b2c3d4e"))
async def delete(name: str, *, yes: bool = False, timeout_s: float = 60) -> None:
    """Replace a machine: drained first, then gone with its disk; another one is made.

    A control plane goes once another one serves in its place; it is refused while etcd has a
    member that is ill, or another one is being replaced. To have fewer workers, scale the pool.

    Args:
        name: Name of the machine.
        yes: Do not ask for the name again.
        timeout_s: How long to wait until its gateway has taken it up.
    """
    from moorage.cli.ask import confirm_name
    from moorage.cli.context import Context
    from moorage.cli.kubeconfig import operate
    from moorage.resources import Machine
    from moorage.resources.operation import OperationSpec, Verb

    context = Context.current()
    async with context.api() as api:
        machine = await api.get(Machine, name, project=context.project)
        if not yes:
            confirm_name("machine", name, "and its disk")
        spec = OperationSpec(verb=Verb.DELETE, subject_kind="Machine", subject_name=name)
        await operate(api, context.project, spec, timeout_s)
    if machine.spec.pool is None:
        say(f"control plane {name} is being replaced; it goes when another one serves")
    else:
        say(f"machine {name} is being deleted; pool {machine.spec.pool} makes another one")


@logs_app.command(
    help_epilogue=examples(
        "moorage logs demo-workers-0a1b2c3d4e",
        "moorage logs demo-workers-0a1b2c3d4e --file node.log",
    )
)
async def logs(
    machine: str,
    *,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    timeout_s: float = 60,
) -> None:
    """Fetch the boot logs of a machine through vCenter: also of one that never joined.

    Args:
        machine: Name of the machine.
        file: Where to write them, readable by you only; standard output by default.
        timeout_s: How long to wait for the node's answer.
    """
    from moorage.cli.config import write_private
    from moorage.cli.context import Context
    from moorage.cli.kubeconfig import operate
    from moorage.resources.operation import OperationSpec, Verb

    context = Context.current()
    async with context.api() as api:
        spec = OperationSpec(verb=Verb.LOGS, subject_kind="Machine", subject_name=machine)
        operation = await operate(api, context.project, spec, timeout_s)
    text = str(operation.status.result.get("logs", ""))
    if file is None:
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
        return
    write_private(file, text)
    say(f"logs of {machine} written to {file}")
