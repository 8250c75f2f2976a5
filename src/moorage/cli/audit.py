"""``moorage audit``: who did what."""

from cyclopts import App
from rich.table import Table

from moorage.cli.context import Context, output_format, stdout
from moorage.cli.output import show_document

app = App(name="audit", help="The trail of who did what.")


@app.command(name="list")
async def list_(*, limit: int = 100) -> None:
    """Show the newest entries, the newest last.

    Args:
        limit: How many at most.
    """
    context = Context.current()
    async with context.api() as api:
        answer = await api.call("GET", "/v1/audit", params={"limit": limit})
    items = answer["items"]
    if output_format() != "table":
        show_document(items)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("AT", "WHO", "FROM", "DID", "OBJECT", "OUTCOME"):
        table.add_column(heading, overflow="fold")
    for item in items:
        where = f"{item['project']}/" if item.get("project") else ""
        table.add_row(
            str(item["at"])[:19],
            item["actor"],
            item.get("source") or "-",
            item["verb"],
            f"{item['kind']} {where}{item['name']}",
            item["outcome"],
        )
    stdout().print(table)
