"""``moorage roles``: what a role permits, what one may do oneself, and who may do something."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from moorage.cli.say import examples, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from moorage.resources.meta import Document

app = App(name="roles", help="What people may do.")

OfProject = Annotated[str | None, Parameter(name="--in-project")]


@app.command(name="list", help_epilogue=examples("moorage roles list"))
async def list_roles() -> None:
    """List roles, built-in and custom ones."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import Role

    async with Context.current().api() as api:
        items = await api.list(Role)
    columns = (
        ("NAME", lambda r: r.metadata.name),
        ("BUILT IN", lambda r: "yes" if r.status.built_in else ""),
        ("PERMISSIONS", lambda r: str(len(r.spec.permissions))),
        ("DESCRIPTION", lambda r: r.spec.description),
    )
    show_list(items, columns)


@app.command(help_epilogue=examples("moorage roles show cluster-editor"))
async def show(name: str) -> None:
    """Show what a role permits.

    Args:
        name: Name of the role.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format
    from moorage.resources import Role

    async with Context.current().api() as api:
        role = await api.get(Role, name)
    if output_format() != "table":
        show_document(role.document())
        return
    print_table(("PERMISSION",), [[permission] for permission in role.spec.permissions])


@app.command(help_epilogue=examples("moorage roles permissions"))
async def permissions() -> None:
    """List all that roles can permit."""
    await _table(
        "/v1/permissions",
        {},
        ("PERMISSION", "PLACE", "OPERATIONS"),
        lambda item: [item["permission"], item["place"], ", ".join(item["operations"])],
    )


@app.command(
    name="add",
    help_epilogue=examples(
        "moorage roles add scaler clusters.list clusters.get nodepools.list nodepools.get "
        "nodepools.update",
    ),
)
async def add_role(name: str, *permission: str, description: str = "") -> None:
    """Add a role of your own. You can permit only what you may do yourself.

    Args:
        name: Name of the role.
        permission: What it permits: names of `moorage roles permissions`.
        description: Free text.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import Role

    spec = {"description": description, "permissions": [*permission]}
    role = build(Role, f"role {name}", {"metadata": {"name": name}, "spec": spec})
    async with Context.current().api() as api:
        await api.create(role)
    say(f"role {name} added with {len(permission)} permissions")


@app.command(name="set", help_epilogue=examples("moorage roles set scaler nodepools.update"))
async def set_role(name: str, *permission: str) -> None:
    """Replace what a role of yours permits; whoever has it is changed at once.

    Args:
        name: Name of the role.
        permission: What it permits from now on.
    """
    from moorage.cli.context import Context
    from moorage.resources import Role

    def change(role: Role) -> None:
        role.spec.permissions = [*permission]

    async with Context.current().api() as api:
        await api.change_spec(Role, name, change)
    say(f"role {name} permits {len(permission)} things")


@app.command(name="delete", help_epilogue=examples("moorage roles delete scaler"))
async def delete_role(name: str, *, yes: bool = False) -> None:
    """Delete a role that nobody has.

    Args:
        name: Name of the role.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import Role

    await delete_named(Role, "role", name, yes=yes)


@app.command(name="mine", help_epilogue=examples("moorage roles mine --in-project shop"))
async def mine(*, project: OfProject = None) -> None:
    """Show what you may do, and by which roles.

    Args:
        project: Only what you may do in this project.
    """
    await _table(
        "/v1/whoami/rights",
        {"project": project},
        ("PERMISSION", "BY"),
        lambda item: [item["permission"], by(item["by"])],
    )


@app.command(
    name="who-can",
    help_epilogue=examples(
        "moorage roles who-can clusters.delete --in-project shop",
        "moorage roles who-can clusters.kubeconfig --in-project shop --cluster web",
    ),
)
async def who_can(
    permission: str, *, project: OfProject = None, cluster: str | None = None
) -> None:
    """Show who may do something, and by which roles.

    Args:
        permission: A name of `moorage roles permissions`.
        project: Only those who may in this project.
        cluster: Only those who may with this cluster of the project.
    """
    await _table(
        "/v1/who-can",
        {"permission": permission, "project": project, "cluster": cluster},
        ("NAME", "KIND", "BY"),
        lambda item: [item["name"], item["kind"], by(item["by"])],
    )


def by(grants: "Iterable[Document]") -> str:
    """Return the grants by which somebody may do something, in words."""
    words = []
    for one in grants:
        text = f"{one['role']} of {one['project']}"
        text += f" where {one['selector']}" if one["selector"] else ""
        words.append(f"{text} (team {one['team']})" if one["team"] else text)
    return ", ".join(words)


async def _table(
    path: str, params: "Document", head: tuple[str, ...], row: "Callable[[Document], list[str]]"
) -> None:
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format

    async with Context.current().api() as api:
        items: list[Document] = (await api.call("GET", path, params=params))["items"]
    if output_format() != "table":
        show_document(items)
        return
    print_table(head, [row(item) for item in items])
