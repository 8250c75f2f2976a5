"""``moorage machines`` and ``moorage logs``."""

import sys

from cyclopts import App

from moorage.cli.context import Context
from moorage.cli.kubeconfig import operate
from moorage.cli.output import age, describe_resource, phase, show_list, show_one
from moorage.resources import Machine
from moorage.resources.operation import OperationSpec, Verb

app = App(name="machines", help="Machines: virtual machines that are, or become, nodes.")


@app.command(name="list")
async def list_(cluster: str | None = None) -> None:
    """List machines.

    Args:
        cluster: Only those of this cluster.
    """
    context = Context.current()
    async with context.api() as api:
        items = await api.list(Machine, project=context.project)
    show_list(
        [machine for machine in items if cluster in (None, machine.spec.cluster)],
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


@app.command
async def describe(name: str) -> None:
    """Show one machine: each step of its life, and what it waits for.

    Args:
        name: Name of the machine.
    """
    context = Context.current()
    async with context.api() as api:
        machine = await api.get(Machine, name, project=context.project)
    status = machine.status
    facts = [
        ("cluster", machine.spec.cluster),
        ("VM", status.vm),
        ("power", status.power),
        ("addresses", ", ".join(status.addresses)),
        ("provider ID", status.provider_id),
        ("the node says", " ".join(filter(None, (status.progress, status.progress_detail)))),
        *sorted(status.timeline.items(), key=lambda item: item[1]),
    ]
    show_one(machine, lambda: describe_resource(machine, facts))


async def logs(machine: str, *, timeout_s: float = 60) -> None:
    """Fetch the boot logs of a machine through vCenter: also of one that never joined.

    Args:
        machine: Name of the machine.
        timeout_s: How long to wait for the node's answer.
    """
    context = Context.current()
    async with context.api() as api:
        spec = OperationSpec(verb=Verb.LOGS, subject_kind="Machine", subject_name=machine)
        operation = await operate(api, context.project, spec, timeout_s)
    sys.stdout.write(str(operation.status.result.get("logs", "")))
