"""``moorage events``: what happened."""

from rich.table import Table

from moorage.cli.context import Context, output_format, stdout
from moorage.cli.output import show_document


async def events(cluster: str | None = None, *, limit: int = 100) -> None:
    """Show what happened in the project, the newest last.

    Args:
        cluster: Only what concerns this cluster, its pools and its machines.
        limit: How many at most.
    """
    context = Context.current()
    async with context.api() as api:
        path = f"/v1/projects/{context.project}/events"
        answer = await api.call("GET", path, params={"cluster": cluster, "limit": limit})
    items = answer["items"]
    if output_format() != "table":
        show_document(items)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("LAST SEEN", "TYPE", "OBJECT", "REASON", "COUNT", "MESSAGE"):
        table.add_column(heading, overflow="fold")
    for item in items:
        table.add_row(
            str(item["lastSeenAt"])[:19],
            item["type"],
            f"{item['kind']}/{item['name']}",
            item["reason"],
            str(item["count"]),
            item["message"],
        )
    stdout().print(table)
