"""``moorage audit``: who did what."""

from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples

app = App(name="audit", help="The trail of who did what.")


@app.command(
    name="list",
    help_epilogue=examples(
        "moorage audit list", "moorage audit list --actor alice --kind Cluster -o json"
    ),
)
async def list_(
    *,
    actor: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=500))] = 100,
) -> None:
    """Show the newest entries, the newest last. JSON also tells what each act changed.

    Args:
        actor: Only what this user did.
        kind: Only acts on this kind, such as Cluster.
        name: Only acts on the object of this name.
        limit: How many at most.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format

    params = {"actor": actor, "kind": kind, "name": name, "limit": limit}
    async with Context.current().api() as api:
        answer = await api.call("GET", "/v1/audit", params=params)
    items: list[dict[str, Any]] = answer["items"][::-1]
    if output_format() != "table":
        show_document(items)
        return
    rows = []
    for item in items:
        where = f"{item['project']}/" if item.get("project") else ""
        rows.append(
            [
                str(item["at"])[:19],
                item["actor"] or "-",
                item.get("source") or "-",
                item["verb"],
                f"{item['kind']} {where}{item['name']}",
                item["outcome"],
            ]
        )
    print_table(("AT", "WHO", "FROM", "DID", "OBJECT", "OUTCOME"), rows)
