"""``moorage projects``, ``users``, ``apikeys`` and ``contexts``."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples, say
from moorage.kit.errors import MoorageError

projects = App(name="projects", help="Projects: scopes for clusters and their rights.")
users = App(name="users", help="People and programs that may log in.")
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


@users.command(
    name="add",
    help_epilogue=examples(
        "moorage users add alice --role admin",
        "moorage users add bob --project shop --password-file bob-password",
    ),
)
async def add_user(
    name: str,
    *,
    role: Literal["admin", "viewer"] = "viewer",
    project: Annotated[str, Parameter(name="--in-project")] = "*",
    password_file: Path | None = None,
) -> None:
    """Add a user with one role.

    Args:
        name: Login name.
        role: What the user may do.
        project: Where: a project, or * for the whole hub.
        password_file: File that holds the first password; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import User

    grants = [{"role": role, "project": project}]
    user = build(User, f"user {name}", {"metadata": {"name": name}, "spec": {"grants": grants}})
    async with Context.current().api() as api:
        await api.create(user, dry_run=True)
        password = read_password(password_file, f"Password for {name}: ")
        await api.create(user)
        try:
            await api.set_password(name, password)
        except MoorageError:
            await api.delete(User, name)  # a user without a password would only be in the way
            raise
    say(f"user {name} added as {role} of {project}")


@users.command(name="set-password", help_epilogue=examples("moorage users set-password alice"))
async def set_password(name: str, *, password_file: Path | None = None) -> None:
    """Give a user a new password; their sessions end. Your own: `moorage passwd`.

    Args:
        name: Login name.
        password_file: File that holds the password; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context

    async with Context.current().api() as api:
        await api.set_password(name, read_password(password_file, f"New password for {name}: "))
    say(f"user {name} has a new password")


@users.command(name="list", help_epilogue=examples("moorage users list"))
async def list_users() -> None:
    """List users."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import User

    async with Context.current().api() as api:
        items = await api.list(User)
    columns = (
        ("NAME", lambda u: u.metadata.name),
        ("GRANTS", lambda u: ", ".join(f"{g.role} of {g.project}" for g in u.spec.grants)),
        ("DISABLED", lambda u: "yes" if u.spec.disabled else ""),
    )
    show_list(items, columns)


@users.command(name="delete", help_epilogue=examples("moorage users delete alice"))
async def delete_user(name: str, *, yes: bool = False) -> None:
    """Delete a user; sessions and API keys end.

    Args:
        name: Login name.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import User

    await delete_named(User, "user", name, yes=yes)


@apikeys.command(
    name="create", help_epilogue=examples("moorage apikeys create ci --days 30 > ci-key")
)
async def create_key(
    name: str, *, days: Annotated[int, Parameter(validator=Number(gte=1, lte=3650))] = 90
) -> None:
    """Make an API key with your own rights. The key is shown once, on standard output.

    Args:
        name: What the key is for.
        days: After how many days it ends.
    """
    from moorage.cli.context import Context

    async with Context.current().api() as api:
        answer = await api.call("POST", "/v1/apikeys", body={"name": name, "days": days})
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
    from moorage.client.api import quoted

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
