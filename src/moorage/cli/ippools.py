"""``moorage ippools``: addresses that Moorage may give."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from moorage.cli.say import examples, say

if TYPE_CHECKING:
    from moorage.resources import IPAddress

app = App(name="ippools", help="IP pools: static addresses for machines and endpoints.")


@app.command(
    help_epilogue=examples(
        "moorage ippools add nodes --gateway site-a --start 10.0.4.10 --end 10.0.4.99 \\\n"
        "    --prefix 24 --router 10.0.4.1 --name-server 10.0.0.53",
        "moorage ippools add all --gateway site-a --subnet 10.0.5.0/24 --router 10.0.5.1 \\\n"
        "    --exclude 10.0.5.2-10.0.5.9",
    )
)
async def add(
    name: str,
    *,
    gateway: str,
    router: str,
    start: str | None = None,
    end: str | None = None,
    subnet: str | None = None,
    range_: Annotated[list[str] | None, Parameter(name="--range")] = None,
    exclude: list[str] | None = None,
    prefix: int | None = None,
    name_server: list[str] | None = None,
    search: list[str] | None = None,
    restrict_to_single_cluster: bool = False,
    hold_off_s: int | None = None,
) -> None:
    """Add an IP pool: a range, or a whole subnet.

    Args:
        name: Name of the pool.
        gateway: Moorage gateway that gives the addresses out.
        router: Default gateway of the nodes.
        start: First address of a range.
        end: Last address of a range.
        subnet: Network in CIDR form, instead of a range.
        range_: Several ranges of one network, each FIRST-LAST, instead of start and end.
        exclude: Address, FIRST-LAST or CIDR that is never given; may be repeated.
        prefix: Prefix length of the addresses of ranges.
        name_server: Name server of the nodes; may be repeated.
        search: Search domain of the nodes; may be repeated.
        restrict_to_single_cluster: Serve only the first cluster that claims an address.
        hold_off_s: Seconds for which a released address is not given again; 300 by default.
    """
    given: dict[str, Any] = {
        "gateway": gateway,
        "router": router,
        "start": start,
        "end": end,
        "subnet": subnet,
        "ranges": [_range(one) for one in range_ or []],
        "exclude": exclude or [],
        "prefix": prefix,
        "nameServers": name_server or [],
        "search": search or [],
        "restrictToSingleCluster": restrict_to_single_cluster,
        **({} if hold_off_s is None else {"holdOffS": hold_off_s}),
    }
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import IPPool

    pool = build(IPPool, f"IP pool {name}", {"metadata": {"name": name}, "spec": given})
    async with Context.current().api() as api:
        await api.create(pool)
    say(f"IP pool {name} added: {pool.spec.usable()} addresses")


@app.command(help_epilogue=examples("moorage ippools apply -f pools.yaml"))
async def apply(
    *, file: Annotated[Path, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)]
) -> None:
    """Create or update IP pools from a YAML file. Applying twice changes nothing.

    Args:
        file: YAML with one or more documents of kind IPPool; - for standard input.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build, read_documents
    from moorage.client.declare import Wanted, carry_out, survey
    from moorage.resources import IPPool

    wanted = [
        Wanted(str(file), build(IPPool, f"IP pool {document['metadata']['name']}", document))
        for document in read_documents(file, "IPPool")
    ]
    async with Context.current().api() as api:
        for change in await survey(api, wanted):
            await carry_out(api, change)
            say(f"IP pool {change.key[2]} applied")


@app.command(name="list", help_epilogue=examples("moorage ippools list"))
async def list_() -> None:
    """List IP pools and how full they are."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import IPPool
    from moorage.resources.phase import phase

    async with Context.current().api() as api:
        items = await api.list(IPPool)
    show_list(
        items,
        (
            ("NAME", lambda p: p.metadata.name),
            ("STATE", phase),
            ("GATEWAY", lambda p: p.spec.gateway),
            ("ADDRESSES", lambda p: p.spec.shown()),
            ("CLAIMED", lambda p: f"{p.status.claimed}/{p.status.total}"),
        ),
    )


@app.command(help_epilogue=examples("moorage ippools describe nodes"))
async def describe(name: str) -> None:
    """Show one IP pool and who holds its addresses.

    Args:
        name: Name of the pool.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import describe_resource, show_one
    from moorage.resources import IPAddress, IPPool

    async with Context.current().api() as api:
        pool = await api.get(IPPool, name)
        held = [a for a in await api.list(IPAddress) if a.spec.pool == name]
    facts = [
        ("router", pool.spec.router),
        ("claimed", f"{pool.status.claimed} of {pool.status.total}"),
        ("reserved", f"{pool.status.reserved}, for machines and endpoints to come"),
        ("held back", f"{pool.status.held_back}, for {pool.spec.hold_off_s} s each"),
        *((str(a.spec.address), _holder(a)) for a in held),
        *((str(c.address), f"conflict: {c.used_by}") for c in pool.status.conflicts),
    ]
    show_one(pool, lambda: describe_resource(pool, facts))


@app.command(help_epilogue=examples("moorage ippools delete nodes"))
async def delete(name: str, *, yes: bool = False) -> None:
    """Delete an IP pool that no cluster uses.

    Args:
        name: Name of the pool.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import IPPool

    await delete_named(IPPool, "IP pool", name, yes=yes)


def _range(text: str) -> dict[str, str]:
    start, _, end = text.partition("-")
    return {"start": start.strip(), "end": end.strip()}


def _holder(address: "IPAddress") -> str:
    spec = address.spec
    named = f"{spec.claimed_by.name} ({spec.cluster})"
    return named if spec.released_at is None else f"held back, was of {named}"
