"""``moorage apply``, ``diff`` and ``export``: what shall exist, as files."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import ConflictError, ForbiddenError, InvalidError, MoorageError

if TYPE_CHECKING:
    from moorage.cli.context import Context
    from moorage.client import Api
    from moorage.client.declare import Change, Wanted
    from moorage.resources import Resource
    from moorage.resources.meta import Document

app = App()

EXIT_CHANGES = 2
"""Nothing was written, but something would be."""

Files = Annotated[list[Path], Parameter(name=["--file", "-f"], allow_leading_hyphen=True)]
Label = Annotated[str | None, Parameter(name=["--selector", "-l"])]

_DONE = {"create": "created", "update": "changed", "delete": "deleted", "keep": "as it is"}


@app.command(
    help_epilogue=examples(
        "moorage apply -f site/",
        "moorage apply -f site/ --dry-run --diff",
        "moorage apply -f site/ --prune -l origin=site-repo --yes",
        "moorage export | ssh there moorage apply -f -",
    )
)
async def apply(
    *,
    file: Files,
    dry_run: bool = False,
    diff: bool = False,
    prune: bool = False,
    selector: Label = None,
    yes: bool = False,
    wait: bool = False,
    timeout_s: float = 1800,
) -> int:
    """Make everything as files say. Applying twice changes nothing.

    All documents are judged before anything is written, and all that is wrong is told at once.
    What no document names stays, unless it is pruned. Exit codes: 0 done or nothing to do, 1
    error; with --dry-run 2 when something would change.

    Args:
        file: File, folder, or - for standard input; may be repeated.
        dry_run: Only judge, and say what would be done.
        diff: Show each difference.
        prune: Delete what carries the label of --selector and is in no document: node pools,
            clusters, templates, IP pools, service accounts, teams and roles; clusters and node
            pools in the projects that documents name and the current one.
        selector: Label selector of what belongs to these files.
        yes: Do not ask before pruning.
        wait: Stay until clusters that were changed are ready, and exit with 1 if one fails.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    if prune and not (selector or "").strip():
        raise InvalidError("--prune needs --selector: it would delete everything else")
    if selector and not prune:
        raise InvalidError("--selector says what --prune may delete: give both or none")
    code, clusters = await _apply(
        file, selector if prune else None, dry_run=dry_run, diff=diff, yes=yes
    )
    if not wait or dry_run or code:
        return code
    return await _follow(clusters, timeout_s)


@app.command(
    name="diff",
    help_epilogue=examples(
        "moorage diff -f site/", "moorage diff -f site/ --prune -l origin=site-repo"
    ),
)
async def diff_(*, file: Files, prune: bool = False, selector: Label = None) -> int:
    """Show what `moorage apply` would change. Nothing is written.

    Exit codes: 0 nothing would change, 1 error, 2 something would.

    Args:
        file: File, folder, or - for standard input; may be repeated.
        prune: Show too what would be deleted.
        selector: Label selector of what belongs to these files.
    """
    return await apply(file=file, dry_run=True, diff=True, prune=prune, selector=selector)


@app.command(
    help_epilogue=examples(
        "moorage export > everything.yaml",
        "moorage export --to site/ -l origin=site-repo",
        "moorage export --kind Cluster --kind IPPool",
    )
)
async def export(
    *,
    to: Path | None = None,
    kind: Annotated[list[str] | None, Parameter(name="--kind")] = None,
    selector: Label = None,
) -> None:
    """Write what exists as documents that apply again without a change. They hold no secrets.

    Clusters of all projects that you see, or of the one given by --project.

    Args:
        to: Folder that gets a file for each document; standard output by default.
        kind: Only this kind, such as Cluster; may be repeated.
        selector: Label selector.
    """
    from moorage.cli.context import Context
    from moorage.client.declare import WRITTEN

    names = [one.kind_name() for one in WRITTEN]
    unknown = sorted({*(kind or ())} - {*names})
    if unknown:
        raise InvalidError(f"there is no kind {', '.join(unknown)}: give {', '.join(names)}")
    wanted = kind or names
    context = Context.current()
    async with context.api() as api:
        documents = await _existing(api, context, wanted, selector)
    if to is None:
        sys.stdout.write(_yaml(documents))
        return
    for document in documents:
        head = document["metadata"]
        path = to / head.get("project", "") / document["kind"].lower() / f"{head['name']}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_yaml([document]), encoding="utf-8")
    say(f"{len(documents)} documents written to {to}")


async def _apply(
    files: Sequence[Path], selector: str | None, *, dry_run: bool, diff: bool, yes: bool
) -> tuple[int, list[tuple[str, str]]]:
    from moorage.cli.context import Context
    from moorage.cli.manifests import read_manifests
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format
    from moorage.client.declare import Action, survey

    context = Context.current()
    try:
        wanted = read_manifests(files, context.project)
        async with context.api() as api:
            changes = await survey(api, wanted)
            changes += await _pruned(api, context, wanted, selector)
            moving = [change for change in changes if change.action is not Action.KEEP]
            if diff:
                sys.stdout.writelines(_differences(moving))
            if not dry_run:
                _ask_before(moving, yes=yes)
                await _write(api, changes)
    except InvalidError as error:
        # Exit code 1: 2 says to a pipeline that there is something to change.
        raise MoorageError(str(error)) from error
    if dry_run:
        for change in changes:
            say(f"{_name(change)} {_would(change)}")
    if output_format() != "table" and not diff:
        show_document([_summary(change) for change in changes])
    clusters = [
        (change.key[1], change.key[2])
        for change in moving
        if change.key[0] == "Cluster" and change.action is not Action.DELETE
    ]
    return (EXIT_CHANGES if dry_run and moving else 0), clusters


async def _pruned(
    api: "Api", context: "Context", wanted: "Sequence[Wanted]", selector: str | None
) -> "list[Change]":
    from moorage.client.declare import superfluous
    from moorage.resources import Project

    if selector is None:
        return []
    named = {one.resource.metadata.project for one in wanted}
    named |= {one.resource.metadata.name for one in wanted if one.resource.kind == "Project"}
    there = {one.metadata.name for one in await api.list(Project)}
    return await superfluous(api, wanted, selector, sorted((named | {context.project}) & there))


async def _write(api: "Api", changes: "Sequence[Change]") -> None:
    from moorage.client.declare import Action, carry_out

    left = []
    for number, change in enumerate(changes):
        try:
            await carry_out(api, change)
        except ConflictError as error:
            if change.action is not Action.DELETE:
                raise _stopped(changes, number, error) from error
            left.append(str(error))  # others are on their way out, and it stays until then
            continue
        except MoorageError as error:
            raise _stopped(changes, number, error) from error
        say(f"{_name(change)} {_DONE[change.action]}")
        if change.key[0] == "User" and change.action is Action.CREATE:
            say(f"it has no password yet: `moorage users set-password {change.key[2]}`")
    if left:
        raise MoorageError("not pruned yet, apply again later:\n  " + "\n  ".join(left))


def _stopped(changes: "Sequence[Change]", number: int, error: MoorageError) -> MoorageError:
    return MoorageError(
        f"{_name(changes[number])}: {error}\n{number} of {len(changes)} documents are as they "
        "say, the rest was not touched: apply again"
    )


async def _follow(clusters: list[tuple[str, str]], timeout_s: float) -> int:
    import time

    from moorage.cli.context import Context
    from moorage.cli.live import follow_cluster

    end, codes = time.monotonic() + timeout_s, [0]
    async with Context.current().api() as api:
        for project, name in clusters:
            left = max(0.0, end - time.monotonic())
            codes.append(await follow_cluster(api, name, project=project, timeout_s=left))
    return max(codes)


def _ask_before(changes: "Sequence[Change]", *, yes: bool) -> None:
    doomed = [_name(change) for change in changes if change.action == "delete"]
    if not doomed or yes:
        return
    listed = "".join(f"\n  {name}" for name in doomed)
    if not sys.stdin.isatty():
        raise InvalidError(f"this deletes {listed}\nadd --yes where nobody can be asked")
    say(f"This deletes {listed}", "warning")
    sys.stderr.write("Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise InvalidError("nothing was changed")


async def _existing(
    api: "Api", context: "Context", kinds: Sequence[str], selector: str | None
) -> "list[Document]":
    """Return the documents of all that is there and that the caller may list."""
    from moorage.cli.settings import settings
    from moorage.client.declare import asked, kind_of
    from moorage.resources import Cluster, NodePool, Project, Role, Scope
    from moorage.resources.nodepool import document_of_pool

    projects = [one.metadata.name for one in await api.list(Project)]
    if settings().project:
        projects = [context.project]
    documents = []
    embedded: set[str] = set()
    for kind in map(kind_of, kinds):
        for project in projects if kind.scope is Scope.PROJECT else [""]:
            found: Sequence[Resource]
            try:
                found = await api.list(kind, project=project, selector=selector)
            except ForbiddenError:
                say(f"{kind.plural} are left out: you may not list them", "warning")
                continue
            plain = []
            if kind is Cluster:
                pools = await api.list(NodePool, project=project)
                plain = [p for p in pools if not asked(p)["metadata"].get("labels")]
            for one in found:
                if one.is_deleting or (isinstance(one, Role) and one.status.built_in):
                    continue
                mine = [p for p in plain if p.spec.cluster == one.metadata.name]
                embedded |= {p.metadata.uid for p in mine}
                if one.metadata.uid not in embedded:
                    documents.append(asked(one, [document_of_pool(p) for p in mine]))
    return documents


def _differences(changes: "Sequence[Change]") -> Iterator[str]:
    import difflib

    for change in changes:
        before, after = (
            _yaml([one]).splitlines(keepends=True) if one else []
            for one in (change.before, change.after)
        )
        name = _name(change)
        yield from difflib.unified_diff(before, after, f"hub: {name}", f"files: {name}")


def _yaml(documents: "Sequence[Document]") -> str:
    import yaml

    return yaml.safe_dump_all(
        documents, sort_keys=False, allow_unicode=True, explicit_start=len(documents) > 1
    )


def _name(change: "Change") -> str:
    kind, project, name = change.key
    return f"{kind} {project}/{name}" if project else f"{kind} {name}"


def _would(change: "Change") -> str:
    done = _DONE[change.action]
    return done if change.action == "keep" else f"would be {done}"


def _summary(change: "Change") -> "Document":
    kind, project, name = change.key
    return {"kind": kind, "project": project, "name": name, "action": str(change.action)}
