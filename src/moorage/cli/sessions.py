"""``moorage sessions`` and ``serviceaccounts``: where one is logged in; programs of their own."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples, say

if TYPE_CHECKING:
    from moorage.resources.meta import Document

sessions = App(name="sessions", help="Where you, or others, are logged in.")
accounts = App(name="serviceaccounts", help="Programs that act on their own, by API keys.")

InProject = Annotated[str, Parameter(name="--in-project")]
Selector = Annotated[str, Parameter(name=["--selector", "-l"])]


@sessions.command(
    name="list", help_epilogue=examples("moorage sessions list", "moorage sessions list --user bob")
)
async def list_sessions(*, user: str | None = None) -> None:
    """List sessions, the newest first.

    Args:
        user: Somebody else's; your own otherwise.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format
    from moorage.client.paths import quoted

    path = f"/v1/users/{quoted(user)}/sessions" if user else "/v1/sessions"
    async with Context.current().api() as api:
        items: list[Document] = (await api.call("GET", path))["items"]
    if output_format() != "table":
        show_document(items)
        return
    print_table(
        ("", "ID", "FROM", "BEGAN", "LAST SEEN", "BY", "PROGRAM"),
        [
            [
                "*" if one["current"] else "",
                one["id"],
                one["source"],
                str(one["createdAt"])[:19],
                str(one["lastSeenAt"])[:19],
                one["method"],
                one["agent"],
            ]
            for one in items
        ],
    )


@sessions.command(
    name="end",
    help_epilogue=examples("moorage sessions end 4f0c2k9s1m7a", "moorage sessions end --user bob"),
)
async def end_session(identifier: str | None = None, *, user: str | None = None) -> None:
    """End a session of yours, or all sessions of somebody.

    Args:
        identifier: Its id, as `moorage sessions list` shows it.
        user: Whose sessions to end, all of them.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import quoted
    from moorage.kit.errors import InvalidError

    if (identifier is None) == (user is None):
        raise InvalidError("say which: the id of a session of yours, or --user")
    path = (
        f"/v1/users/{quoted(user)}/sessions" if user else f"/v1/sessions/{quoted(identifier or '')}"
    )
    async with Context.current().api() as api:
        await api.call("DELETE", path)
    say(f"sessions of {user} ended" if user else f"session {identifier} ended")


@accounts.command(
    name="add",
    help_epilogue=examples("moorage serviceaccounts add ci --role cluster-admin --in-project shop"),
)
async def add_account(
    name: str,
    *,
    role: str = "project-viewer",
    project: InProject = "*",
    selector: Selector = "",
    description: str = "",
) -> None:
    """Add a service account with one role.

    Args:
        name: Name of the account.
        role: What it may do: a name of `moorage roles list`.
        project: Where: a project, or * for the whole hub.
        selector: Only clusters of these labels.
        description: Free text.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import ServiceAccount

    grants = [{"role": role, "project": project, "selector": selector}]
    spec = {"description": description, "grants": grants}
    account = build(
        ServiceAccount, f"service account {name}", {"metadata": {"name": name}, "spec": spec}
    )
    async with Context.current().api() as api:
        await api.create(account)
    say(f"service account {name} added as {role} of {project}")


@accounts.command(name="list", help_epilogue=examples("moorage serviceaccounts list"))
async def list_accounts() -> None:
    """List service accounts."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.cli.people import shown
    from moorage.resources import ServiceAccount

    async with Context.current().api() as api:
        items = await api.list(ServiceAccount)
    columns = (
        ("NAME", lambda a: a.metadata.name),
        ("GRANTS", lambda a: ", ".join(map(shown, a.spec.grants))),
        ("DISABLED", lambda a: "yes" if a.spec.disabled else ""),
        ("DESCRIPTION", lambda a: a.spec.description),
    )
    show_list(items, columns)


@accounts.command(
    name="create-key",
    help_epilogue=examples("moorage serviceaccounts create-key ci pipeline --days 30 > ci-key"),
)
async def create_key(
    account: str,
    name: str,
    *,
    days: Annotated[int, Parameter(validator=Number(gte=1, lte=3650))] = 90,
) -> None:
    """Make an API key of a service account. It is shown once, on standard output.

    Args:
        account: Name of the service account.
        name: What the key is for.
        days: After how many days it ends.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import quoted

    path = f"/v1/serviceaccounts/{quoted(account)}/apikeys"
    async with Context.current().api() as api:
        answer = await api.call("POST", path, body={"name": name, "days": days})
    say(f"store the key {answer['id']} now, it is shown only once", "strong")
    sys.stdout.write(f"{answer['key']}\n")


@accounts.command(name="delete", help_epilogue=examples("moorage serviceaccounts delete ci"))
async def delete_account(name: str, *, yes: bool = False) -> None:
    """Delete a service account; its keys end.

    Args:
        name: Name of the account.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import ServiceAccount

    await delete_named(ServiceAccount, "service account", name, yes=yes)
