"""``moorage audit``: who did what."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from moorage.cli.say import examples, say

if TYPE_CHECKING:
    from moorage.kit.chain import Report

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
                str(item["id"]),
                str(item["at"])[:19],
                item["actor"] or "-",
                item.get("source") or "-",
                item["verb"],
                f"{item['kind']} {where}{item['name']}",
                item["outcome"],
            ]
        )
    print_table(("NO", "AT", "WHO", "FROM", "DID", "OBJECT", "OUTCOME"), rows)


@app.command(help_epilogue=examples("moorage audit show 1204"))
async def show(number: int) -> None:
    """Show one act whole: before and after, and the machines and vCenter tasks that followed.

    Args:
        number: Number of the record, as `moorage audit list` shows it.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import show_document

    async with Context.current().api() as api:
        show_document(await api.call("GET", f"/v1/audit/records/{number}"))


@app.command(
    help_epilogue=examples(
        "moorage audit export > audit.jsonl", "moorage audit export --after 1204 >> audit.jsonl"
    )
)
async def export(*, after: int | None = None) -> None:
    """Write the whole trail to standard output as JSON lines, with its signatures.

    Args:
        after: Only what comes after this record, of an earlier export.
    """
    import json
    import sys

    from moorage.cli.context import Context

    async with Context.current().api() as api:
        async for line in api.lines("/v1/audit/export", params={"after": after}):
            sys.stdout.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")


@app.command(help_epilogue=examples("moorage audit key > audit-keys.pem"))
async def key() -> None:
    """Write the public keys that have signed the trail to standard output (PEM)."""
    import sys

    from moorage.cli.context import Context
    from moorage.kit.chain import public_pem

    async with Context.current().api() as api:
        found = (await api.call("GET", "/v1/audit/checkpoints"))["items"]
    for public in dict.fromkeys(one["publicKey"] for one in found):
        sys.stdout.write(public_pem(public))
    if not found:
        say("nothing is signed yet: a new hub signs within minutes, then once a day")


@app.command(
    help_epilogue=examples(
        "moorage audit verify",
        "moorage audit verify audit.jsonl --keys audit-keys.pem",
        "moorage audit verify --against last-month.jsonl --keys audit-keys.pem",
    )
)
async def verify(
    file: Path | None = None, *, keys: Path | None = None, against: Path | None = None
) -> int:
    """Check the trail: was a record edited, removed, put in or moved, was the end cut off?

    The hub's own trail is fetched and checked here, not by the hub. Exit code 1 when something
    does not hold; each finding names the record by its number.

    Args:
        file: An export to check instead of the hub's trail.
        keys: Public keys (PEM) that are trusted to sign; without it any key is taken, and named.
        against: An earlier export that this one must continue: shows whether the end was cut off.
    """
    from moorage.cli.trail import lines_of, lines_of_hub
    from moorage.kit.chain import Chain, read_public_pems

    chain = Chain(keys=None if keys is None else read_public_pems(keys.read_text()))
    if against is not None:
        chain.expect(lines_of(against), str(against))
    if file is not None:
        for line in lines_of(file):
            chain.read(line)
    else:
        async for line in lines_of_hub():
            chain.read(line)
    report = chain.finish()
    for finding in report.findings:
        say(f"record {finding.id} {finding.message}" if finding.id else finding.message, "error")
    say(_verdict(report))
    return 1 if report.findings else 0


def _verdict(report: "Report") -> str:
    text = f"{report.records} records, {report.first} to {report.last}"
    signers = ", ".join(f"{public} ({times} times)" for public, times in report.keys.items())
    text += f"; signed up to {report.signed_upto or 'none'}"
    text += f" by {signers}" if signers else ""
    if report.last > report.signed_upto:
        text += f"; whether more came after record {report.last} nothing shows yet"
    count = len(report.findings)
    return f"{text}: " + (f"{count} findings" if count else "all holds")
