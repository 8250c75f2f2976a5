"""``moorage projects``, ``users``, ``apikeys`` and ``contexts``."""

import sys
from pathlib import Path

from cyclopts import App

from moorage.cli import config
from moorage.cli.context import Context, stderr
from moorage.cli.login import read_password
from moorage.cli.output import age, show_document, show_list
from moorage.kit.errors import InvalidError
from moorage.resources import Metadata, Project, User
from moorage.resources.access import AccessRole, Grant, ProjectSpec, UserSpec

projects = App(name="projects", help="Projects: scopes for clusters and their rights.")
users = App(name="users", help="People and programs that may log in.")
apikeys = App(name="apikeys", help="Long-lived credentials for programs.")
contexts = App(name="contexts", help="Hubs and users that this machine knows.")


@projects.command(name="add")
async def add_project(name: str, *, description: str = "") -> None:
    """Add a project.

    Args:
        name: Name of the project.
        description: Free text.
    """
    async with Context.current().api() as api:
        spec = ProjectSpec(description=description)
        await api.create(Project(metadata=Metadata(name=name), spec=spec))
    stderr().print(f"project {name} added")


@projects.command(name="list")
async def list_projects() -> None:
    """List projects."""
    async with Context.current().api() as api:
        items = await api.list(Project)
    columns = (
        ("NAME", lambda p: p.metadata.name),
        ("AGE", lambda p: age(p.metadata.created_at)),
        ("DESCRIPTION", lambda p: p.spec.description),
    )
    show_list(items, columns)


@projects.command(name="delete")
async def delete_project(name: str) -> None:
    """Delete an empty project.

    Args:
        name: Name of the project.
    """
    async with Context.current().api() as api:
        await api.delete(Project, name)
    stderr().print(f"project {name} deleted")


@users.command(name="add")
async def add_user(
    name: str,
    *,
    role: AccessRole = AccessRole.VIEWER,
    project: str = "*",
    password_file: Path | None = None,
) -> None:
    """Add a user with one role.

    Args:
        name: Login name.
        role: What the user may do.
        project: Where: a project, or * for the whole hub.
        password_file: File that holds the first password; asked for otherwise.
    """
    password = read_password(password_file, f"Password for {name}: ")
    async with Context.current().api() as api:
        spec = UserSpec(grants=[Grant(role=role, project=project)])
        await api.create(User(metadata=Metadata(name=name), spec=spec))
        await api.call("PUT", f"/v1/users/{name}/password", body={"password": password})
    stderr().print(f"user {name} added as {role} of {project}")


@users.command(name="set-password")
async def set_password(name: str, *, password_file: Path | None = None) -> None:
    """Give a user a new password; their sessions end.

    Args:
        name: Login name.
        password_file: File that holds the password; asked for otherwise.
    """
    password = read_password(password_file, f"New password for {name}: ")
    async with Context.current().api() as api:
        await api.call("PUT", f"/v1/users/{name}/password", body={"password": password})
    stderr().print(f"user {name} has a new password")


@users.command(name="list")
async def list_users() -> None:
    """List users."""
    async with Context.current().api() as api:
        items = await api.list(User)
    columns = (
        ("NAME", lambda u: u.metadata.name),
        ("GRANTS", lambda u: ", ".join(f"{g.role} of {g.project}" for g in u.spec.grants)),
        ("DISABLED", lambda u: "yes" if u.spec.disabled else ""),
    )
    show_list(items, columns)


@users.command(name="delete")
async def delete_user(name: str) -> None:
    """Delete a user; sessions and API keys end.

    Args:
        name: Login name.
    """
    async with Context.current().api() as api:
        await api.delete(User, name)
    stderr().print(f"user {name} deleted")


@apikeys.command(name="create")
async def create_key(name: str, *, days: int = 90) -> None:
    """Make an API key with your own rights. The secret is shown once, on standard output.

    Args:
        name: What the key is for.
        days: After how many days it ends.
    """
    async with Context.current().api() as api:
        answer = await api.call("POST", "/v1/apikeys", body={"name": name, "days": days})
    stderr().print("store the key now, it is shown only once", style="bold")
    sys.stdout.write(f"{answer['key']}\n")


@apikeys.command(name="list")
async def list_keys() -> None:
    """List your API keys."""
    async with Context.current().api() as api:
        show_document((await api.call("GET", "/v1/apikeys"))["items"])


@apikeys.command(name="revoke")
async def revoke_key(identifier: str) -> None:
    """End an API key at once.

    Args:
        identifier: Its id, as `moorage apikeys list` shows it.
    """
    async with Context.current().api() as api:
        await api.call("DELETE", f"/v1/apikeys/{identifier}")
    stderr().print(f"API key {identifier} revoked")


@contexts.command(name="list")
def list_contexts() -> None:
    """List stored contexts; the one in use has a star."""
    stored = config.load()
    for name, hub in sorted(stored.contexts.items()):
        star = "*" if name == stored.current else " "
        sys.stdout.write(f"{star} {name}  {hub.server}  {hub.username}  project {hub.project}\n")


@contexts.command(name="use")
def use_context(name: str, *, project: str | None = None) -> None:
    """Use another context, or another project in it, from now on.

    Args:
        name: Name of the context.
        project: Project to work in by default.
    """
    stored = config.load()
    if name not in stored.contexts:
        known = ", ".join(sorted(stored.contexts)) or "none"
        raise InvalidError(f"there is no context {name!r}; known: {known}")
    stored.current = name
    if project is not None:
        stored.contexts[name].project = project
    config.save(stored)
    stderr().print(f"using {name}, project {stored.contexts[name].project}")
