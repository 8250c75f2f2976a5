"""``moorage projects``, ``apikeys`` and ``contexts``."""

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples, say

projects = App(name="projects", help="Projects: scopes for clusters and their rights.")
apikeys = App(name="apikeys", help="Long-lived credentials for programs.")
contexts = App(name="contexts", help="Hubs and users that this machine knows.")


@projects.command(name="add", help_epilogue=examples("moorage projects add shop"))
async def add_project(name: str, *, description: str = "") -> None:
    """Add a project.

    Args:
        name: Name of the project.
        description: Free text.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import Project

    given = {"metadata": {"name": name}, "spec": {"description": description}}
    project = build(Project, f"project {name}", given)
    async with Context.current().api() as api:
        await api.create(project)
    say(f"project {name} added")


@projects.command(name="list", help_epilogue=examples("moorage projects list"))
async def list_projects() -> None:
    """List projects."""
    from moorage.cli.context import Context
    from moorage.cli.output import age, show_list
    from moorage.resources import Project

    async with Context.current().api() as api:
        items = await api.list(Project)
    columns = (
        ("NAME", lambda p: p.metadata.name),
        ("AGE", lambda p: age(p.metadata.created_at)),
        ("DESCRIPTION", lambda p: p.spec.description),
    )
    show_list(items, columns)


@projects.command(name="delete", help_epilogue=examples("moorage projects delete shop"))
async def delete_project(name: str, *, yes: bool = False) -> None:
    """Delete an empty project.

    Args:
        name: Name of the project.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import Project

    await delete_named(Project, "project", name, yes=yes)


@apikeys.command(
    name="create",
    help_epilogue=examples(
        "moorage apikeys create ci --days 30 > ci-key",
        "moorage apikeys create scale --role cluster-editor --in-project shop > shop-key",
    ),
)
async def create_key(
    name: str,
    *,
    days: Annotated[int, Parameter(validator=Number(gte=1, lte=3650))] = 90,
    role: str | None = None,
    project: Annotated[str, Parameter(name="--in-project")] = "*",
    selector: Annotated[str, Parameter(name=["--selector", "-l"])] = "",
) -> None:
    """Make an API key with your own rights, or some. It is shown once, on standard output.

    Args:
        name: What the key is for.
        days: After how many days it ends.
        role: Narrows the key to what this role permits; without it all that you may.
        project: With --role: only there.
        selector: With --role: only clusters of these labels.
    """
    from moorage.cli.context import Context

    body: dict[str, Any] = {"name": name, "days": days}
    if role is not None:
        body["grants"] = [{"role": role, "project": project, "selector": selector}]
    async with Context.current().api() as api:
        answer = await api.call("POST", "/v1/apikeys", body=body)
    say(f"store the key {answer['id']} now, it is shown only once", "strong")
    sys.stdout.write(f"{answer['key']}\n")


@apikeys.command(name="list", help_epilogue=examples("moorage apikeys list"))
async def list_keys() -> None:
    """List your API keys."""
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format

    async with Context.current().api() as api:
        items: list[dict[str, Any]] = (await api.call("GET", "/v1/apikeys"))["items"]
    if output_format() != "table":
        show_document(items)
        return
    print_table(
        ("ID", "NAME", "CREATED", "ENDS", "LAST USED"),
        [
            [
                item["id"],
                item["name"],
                str(item["createdAt"])[:19],
                str(item.get("expiresAt") or "never")[:19],
                str(item.get("lastUsedAt") or "never")[:19],
            ]
            for item in items
        ],
    )


@apikeys.command(name="revoke", help_epilogue=examples("moorage apikeys revoke 4f0c2k9s1m7a"))
async def revoke_key(identifier: str) -> None:
    """End an API key at once.

    Args:
        identifier: Its id, as `moorage apikeys list` shows it.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import quoted

    async with Context.current().api() as api:
        await api.call("DELETE", f"/v1/apikeys/{quoted(identifier)}")
    say(f"API key {identifier} revoked")


@contexts.command(name="list", help_epilogue=examples("moorage contexts list"))
def list_contexts() -> None:
    """List stored contexts; the one in use has a star."""
    from moorage.cli import config
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format

    stored = config.load()
    items: list[dict[str, Any]] = [
        {
            "name": name,
            "current": name == stored.current,
            "server": hub.server,
            "username": hub.username,
            "project": hub.project,
        }
        for name, hub in sorted(stored.contexts.items())
    ]
    if output_format() != "table":
        show_document(items)
        return
    print_table(
        ("", "NAME", "HUB", "USER", "PROJECT"),
        [
            ["*" if i["current"] else "", i["name"], i["server"], i["username"], i["project"]]
            for i in items
        ],
    )


@contexts.command(
    name="use",
    help_epilogue=examples(
        "moorage contexts use hub.example.com",
        "moorage contexts use hub.example.com --default-project shop",
    ),
)
def use_context(
    name: str,
    *,
    project: Annotated[str | None, Parameter(name="--default-project")] = None,
) -> None:
    """Use another context, or another project in it, from now on.

    Args:
        name: Name of the context.
        project: Project to work in by default.
    """
    from moorage.cli import config

    stored = config.load()
    hub = stored.context(name)
    stored.current = name
    if project is not None:
        hub.project = project
    config.save(stored)
    say(f"using {name}, project {hub.project}")
