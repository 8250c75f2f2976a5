"""``moorage clusters plan``: what would become of each machine, before anything is changed."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError

if TYPE_CHECKING:
    from moorage.client import Api
    from moorage.resources import Plan
    from moorage.resources.plan import PlannedMachine

PLAN_EXAMPLES = examples(
    "moorage clusters plan -f cluster.yaml",
    "moorage clusters plan -f cluster.yaml --apply",
    "moorage clusters plan -f cluster.yaml -o json",
    "moorage clusters plan -f cluster.yaml --what-if-host-lost esx3.example.com",
    "moorage clusters plan -f cluster.yaml --how-many",
)
_TIMEOUT_S = 120.0
_LOOK_S = 0.3
_ENDED = frozenset({"Ready", "Refused", "Outdated", "Applied"})
_GIB = 1024**3


async def plan(
    *,
    file: Annotated[Path, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)],
    apply: bool = False,
    what_if_host_lost: str | None = None,
    how_many: bool = False,
    timeout_s: float = _TIMEOUT_S,
) -> int:
    """Say what a cluster document would make, replace, keep and delete, and where.

    Nothing is changed. The gateway plans by what would carry it out: each VM with compute
    cluster, datastore, network and addresses. The plan is kept for 24 hours; `moorage clusters
    apply --plan NAME` makes exactly what it says, or nothing when the world has moved.

    Exit code 0: the plan is ready; 1: it is refused, and says why; 3: no answer in time.

    Args:
        file: YAML with one document of kind Cluster; - for standard input.
        apply: Apply the plan when it is ready.
        what_if_host_lost: Only say what would become of the machines if this host failed.
        how_many: Only say how many more such clusters fit.
        timeout_s: How long to wait for the gateway, in seconds.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import check_cluster, read_documents
    from moorage.cli.live import EXIT_TIMEOUT
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format
    from moorage.resources.plan import PlanState

    documents = read_documents(file, "Cluster")
    if len(documents) != 1:
        raise InvalidError(f"{file} holds {len(documents)} clusters: a plan is of one")
    if apply and (how_many or what_if_host_lost is not None):
        raise InvalidError("--apply: an answer to a question cannot be applied")
    document = documents[0]
    check_cluster(document)
    context = Context.current()
    project = str(document["metadata"].get("project") or context.project)
    async with context.api() as api:
        made = await api.plan_cluster(
            document, project=project, host_lost=what_if_host_lost, how_many=how_many
        )
        found = await _wait(api, made, timeout_s)
        if output_format() == "table":
            _show(found)
        else:
            show_document(found.document())
        if found.status.state not in _ENDED:
            say(
                f"{_waits(found)}. No answer in {timeout_s:g} s: is gateway "
                f"{found.metadata.route} connected? The plan stays, and is answered later"
            )
            return EXIT_TIMEOUT
        if found.status.state is not PlanState.READY:
            return 1
        if apply:
            await apply_plan(api, found)
    return 0


async def apply_plan(api: "Api", plan: "Plan") -> None:
    """Apply a plan that is ready."""
    name, cluster = plan.metadata.name, plan.spec.cluster
    await api.apply_plan(cluster, name, project=plan.metadata.project)
    say(f"plan {name} of cluster {cluster} applied")


async def _wait(api: "Api", plan: "Plan", timeout_s: float) -> "Plan":
    """Follow a plan until its gateway has answered, or the time is over; returns it as it is."""
    import anyio

    from moorage.resources import Plan

    deadline, said = time.monotonic() + timeout_s, ""
    while plan.status.state not in _ENDED and time.monotonic() < deadline:
        if (now := _waits(plan)) != said:
            say(now)
            said = now
        await anyio.sleep(_LOOK_S)
        plan = await api.get(Plan, plan.metadata.name, project=plan.metadata.project)
    return plan


def _waits(plan: "Plan") -> str:
    ready = plan.status.condition("Ready")
    why = f": {ready.message}" if ready is not None and ready.message else ""
    return f"plan {plan.metadata.name}: {plan.status.state.value}{why}"


def _show(plan: "Plan") -> None:
    from moorage.cli.output import print_table

    status = plan.status
    if status.actions:
        headings = ("ACTION", "MACHINE", "WHERE", "STORAGE", "NETWORK", "WHY")
        print_table(headings, [_row(one) for one in status.actions])
    failed = [one for one in status.checks if not one.ok]
    if failed:
        print_table(
            ("CHECK", "", "MESSAGE"),
            [[one.name, "failed" if one.blocking else "warns", one.message] for one in failed],
        )
    for line in _summary(plan):
        say(line)


def _row(action: "PlannedMachine") -> list[str]:
    """Return cells of two lines and more: a line of twelve columns fits no terminal."""
    replaced = [f"for {action.replaces}"] if action.replaces else []
    addresses = [one.rpartition("/")[2] for one in action.addresses] or ["DHCP"]
    policy = [f"policy {action.storage_policy}"] if action.storage_policy else []
    cells = (
        [action.action],
        [action.machine, action.pool or "control plane", *replaced],
        [f"{action.compute_cluster} ({action.failure_domain})", *filter(None, [action.host])],
        [action.datastore, *policy, *_copied(action)],
        [action.network, *addresses],
        [action.reason],
    )
    return ["\n".join(cell) for cell in cells]


def _copied(action: "PlannedMachine") -> list[str]:
    """Say how the disks of a new machine come to be, a line each."""
    if action.clone_mode is None:
        return []
    linked = "linked to replica" if action.replica else "linked"
    is_full = action.clone_mode == "full"
    disks = [
        f"+ {one.size_gib} GiB{'' if one.thin else ', thick'}"
        f"{'' if one.datastore == action.datastore else f' on {one.datastore}'}"
        f"{f', policy {one.storage_policy}' if one.storage_policy else ''}"
        for one in action.extra_disks
    ]
    return [f"{_gib(action.bytes_to_copy)} copied" if is_full else linked, *disks]


def _summary(plan: "Plan") -> Sequence[str]:
    status, name = plan.status, plan.metadata.name
    counted: dict[str, int] = {}
    for one in status.actions:
        counted[one.action] = counted.get(one.action, 0) + 1
    lines = []
    if counted:
        actions = ", ".join(f"{number} to {action}" for action, number in counted.items())
        copied = _gib(status.bytes_to_copy)
        lines.append(f"{actions}; at most {status.surge_peak} at a time; {copied} copied")
    lines += [
        f"template replica {one.name} is made first on {one.datastore}: "
        f"{_gib(one.bytes_to_copy)} copied"
        for one in status.replicas
    ]
    if status.folder is not None:
        is_made = "is made" if status.folder.is_new else "is there"
        lines.append(f"VM folder {status.folder.path} {is_made}")
    if status.endpoint is not None:
        lines.append(f"API endpoint: {status.endpoint} of {status.endpoint_pool}")
    lines += [
        f"IP pool {room.pool}: {room.needed} of {room.free} free addresses; the cluster holds "
        f"{room.peak} at most"
        for room in status.addresses
    ]
    if status.fit is not None:
        fit = status.fit
        more = "at least " if fit.at_least else ""
        why = f"; the next one has no room: {fit.limited_by}" if fit.limited_by else ""
        lines.append(
            f"{more}{fit.clusters} more such clusters fit, {fit.by_memory} of them without "
            f"overcommitted memory{why}"
        )
    lines.append(f"plan {name} is {status.state.value}: {status.message}")
    if status.state.value == "Ready" and not plan.is_question and plan.spec.applied is None:
        lines.append(f"`moorage clusters apply --plan {name}` makes it so")
    return lines


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"


async def apply_by_name(name: str, *, dry_run: bool, wait: bool, timeout_s: float) -> int:
    """Apply a plan by its name, and stay until the cluster is ready if asked to."""
    from moorage.cli.context import Context
    from moorage.cli.live import follow_cluster
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format
    from moorage.resources import Plan

    context = Context.current()
    async with context.api() as api:
        plan = await api.get(Plan, name, project=context.project)
        cluster = plan.spec.cluster
        answer: dict[str, Any] = await api.apply_plan(
            cluster, name, project=context.project, dry_run=dry_run
        )
        say(f"plan {name} of cluster {cluster} {'would be accepted' if dry_run else 'applied'}")
        if output_format() != "table" and not wait:
            show_document(answer)
        if dry_run or not wait:
            return 0
        return await follow_cluster(api, cluster, project=context.project, timeout_s=timeout_s)
