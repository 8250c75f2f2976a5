"""``moorage events``: what happened."""

from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples

app = App()


@app.command(
    help_epilogue=examples(
        "moorage events", "moorage events demo --limit 20", "moorage events --hub"
    )
)
async def events(
    cluster: str | None = None,
    *,
    hub: bool = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=500))] = 100,
) -> None:
    """Show what happened in the project, the newest last.

    Args:
        cluster: Only what concerns this cluster, its pools and its machines.
        hub: Instead, what happened to gateways, accounts and IP pools.
        limit: How many at most.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format
    from moorage.client.paths import project_path
    from moorage.kit.errors import InvalidError

    if hub and cluster is not None:
        raise InvalidError("give a cluster or --hub, not both")
    context = Context.current()
    path = "/v1/events" if hub else f"{project_path(context.project)}/events"
    async with context.api() as api:
        answer = await api.call("GET", path, params={"cluster": cluster, "limit": limit})
    items: list[dict[str, Any]] = answer["items"][::-1]
    if output_format() != "table":
        show_document(items)
        return
    print_table(
        ("LAST SEEN", "TYPE", "OBJECT", "REASON", "COUNT", "MESSAGE"),
        [
            [
                str(item["lastSeenAt"])[:19],
                item["type"],
                f"{item['kind']}/{item['name']}",
                item["reason"],
                str(item["count"]),
                item["message"],
            ]
            for item in items
        ],
    )
