"""``moorage users`` and ``teams``: who there is, and who has which roles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError, MoorageError

if TYPE_CHECKING:
    from moorage.resources import Team, User
    from moorage.resources.access import Grant

users = App(name="users", help="People who may log in.")
teams = App(name="teams", help="Users who have the same roles.")

InProject = Annotated[str, Parameter(name="--in-project")]
Selector = Annotated[str, Parameter(name=["--selector", "-l"])]


@users.command(
    name="add",
    help_epilogue=examples(
        "moorage users add alice --role tenant-admin",
        "moorage users add bob --project shop --password-file bob-password",
    ),
)
async def add_user(
    name: str,
    *,
    role: str = "project-viewer",
    project: InProject = "*",
    selector: Selector = "",
    password_file: Path | None = None,
) -> None:
    """Add a user with one role; `moorage users grant` gives more.

    Args:
        name: Login name.
        role: What the user may do: a name of `moorage roles list`.
        project: Where: a project, or * for the whole hub.
        selector: Only clusters of these labels.
        password_file: File that holds the first password; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import User

    grants = [{"role": role, "project": project, "selector": selector}]
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
        ("GRANTS", lambda u: ", ".join(map(shown, u.spec.grants))),
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


@users.command(
    name="grant",
    help_epilogue=examples(
        "moorage users grant bob cluster-admin --in-project shop",
        "moorage users grant bob cluster-editor --in-project shop --selector env=dev",
    ),
)
async def grant_user(
    name: str, role: str, *, project: InProject = "*", selector: Selector = ""
) -> None:
    """Give a user a role more.

    Args:
        name: Login name.
        role: A name of `moorage roles list`.
        project: Where: a project, or * for the whole hub.
        selector: Only clusters of these labels.
    """
    from moorage.resources import User

    await _change(User, name, add=_grant(role, project, selector))


@users.command(
    name="revoke",
    help_epilogue=examples("moorage users revoke bob cluster-admin --in-project shop"),
)
async def revoke_user(
    name: str, role: str, *, project: InProject = "*", selector: Selector = ""
) -> None:
    """Take a role from a user, in the place where it was given.

    Args:
        name: Login name.
        role: Name of the role.
        project: Where it was given: a project, or * for the whole hub.
        selector: With which labels it was given.
    """
    from moorage.resources import User

    await _change(User, name, remove=_grant(role, project, selector))


@teams.command(
    name="add",
    help_epilogue=examples(
        "moorage teams add shop-ops --member alice --member bob --role cluster-admin "
        "--in-project shop",
        "moorage teams add platform --member carol --role project-admin",
    ),
)
async def add_team(
    name: str,
    *,
    member: tuple[str, ...] = (),
    role: str | None = None,
    project: InProject = "*",
    selector: Selector = "",
    description: str = "",
) -> None:
    """Add a team.

    Args:
        name: Name of the team.
        member: A user of this hub; may be repeated.
        role: What its members may do: a name of `moorage roles list`.
        project: Where: a project, or * for the whole hub.
        selector: Only clusters of these labels.
        description: Free text.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import Team

    spec = {
        "description": description,
        "members": [*member],
        "grants": [{"role": role, "project": project, "selector": selector}] if role else [],
    }
    team = build(Team, f"team {name}", {"metadata": {"name": name}, "spec": spec})
    async with Context.current().api() as api:
        await api.create(team)
    say(f"team {name} added")


@teams.command(name="list", help_epilogue=examples("moorage teams list"))
async def list_teams() -> None:
    """List teams."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import Team

    async with Context.current().api() as api:
        items = await api.list(Team)
    columns = (
        ("NAME", lambda t: t.metadata.name),
        ("MEMBERS", lambda t: ", ".join(t.spec.members)),
        ("GRANTS", lambda t: ", ".join(map(shown, t.spec.grants))),
    )
    show_list(items, columns)


@teams.command(name="add-member", help_epilogue=examples("moorage teams add-member shop-ops bob"))
async def add_member(team: str, user: str) -> None:
    """Let a user have all roles of a team.

    Args:
        team: Name of the team.
        user: Login name.
    """
    await _member(team, user, belongs=True)


@teams.command(
    name="remove-member", help_epilogue=examples("moorage teams remove-member shop-ops bob")
)
async def remove_member(team: str, user: str) -> None:
    """Take the roles of a team from a user.

    Args:
        team: Name of the team.
        user: Login name.
    """
    await _member(team, user, belongs=False)


@teams.command(name="grant", help_epilogue=examples("moorage teams grant platform project-admin"))
async def grant_team(
    name: str, role: str, *, project: InProject = "*", selector: Selector = ""
) -> None:
    """Give a team a role more.

    Args:
        name: Name of the team.
        role: A name of `moorage roles list`.
        project: Where: a project, or * for the whole hub.
        selector: Only clusters of these labels.
    """
    from moorage.resources import Team

    await _change(Team, name, add=_grant(role, project, selector))


@teams.command(name="revoke", help_epilogue=examples("moorage teams revoke platform project-admin"))
async def revoke_team(
    name: str, role: str, *, project: InProject = "*", selector: Selector = ""
) -> None:
    """Take a role from a team, in the place where it was given.

    Args:
        name: Name of the team.
        role: Name of the role.
        project: Where it was given: a project, or * for the whole hub.
        selector: With which labels it was given.
    """
    from moorage.resources import Team

    await _change(Team, name, remove=_grant(role, project, selector))


@teams.command(name="delete", help_epilogue=examples("moorage teams delete shop-ops"))
async def delete_team(name: str, *, yes: bool = False) -> None:
    """Delete a team; its members stay, without its roles.

    Args:
        name: Name of the team.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import Team

    await delete_named(Team, "team", name, yes=yes)


def shown(grant: "Grant") -> str:
    """Return a grant in words."""
    where = f"{grant.role} of {grant.project}"
    return f"{where} where {grant.selector}" if grant.selector else where


def _grant(role: str, project: str, selector: str) -> "Grant":
    from moorage.cli.documents import build
    from moorage.resources.access import Grant

    return build(Grant, "the grant", {"role": role, "project": project, "selector": selector})


async def _change(
    kind: "type[User | Team]",
    name: str,
    *,
    add: "Grant | None" = None,
    remove: "Grant | None" = None,
) -> None:
    from moorage.cli.context import Context

    def change(one: "User | Team") -> None:
        grants = one.spec.grants
        if remove is not None and remove not in grants:
            has = ", ".join(map(shown, grants)) or "nothing"
            raise InvalidError(f"{name} does not have {shown(remove)}; it has: {has}")
        kept = [grant for grant in grants if grant not in (add, remove)]
        one.spec.grants = [*kept, add] if add is not None else kept

    async with Context.current().api() as api:
        await api.change_spec(kind, name, change)
    done = (
        f"is now {shown(add)}"
        if add is not None
        else f"is no longer {shown(remove)}"
        if remove
        else ""
    )
    say(f"{name} {done}")


async def _member(team: str, user: str, *, belongs: bool) -> None:
    from moorage.cli.context import Context
    from moorage.resources import Team

    def change(one: "Team") -> None:
        others = [member for member in one.spec.members if member != user]
        if not belongs and len(others) == len(one.spec.members):
            raise InvalidError(f"{user} is no member of {team}")
        one.spec.members = [*others, user] if belongs else others

    async with Context.current().api() as api:
        await api.change_spec(Team, team, change)
    say(f"{user} is {'now' if belongs else 'no longer'} in {team}")
