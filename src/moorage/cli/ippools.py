"""``moorage ippools``: addresses that Moorage may give."""

from pathlib import Path
from typing import Any

from cyclopts import App
from pydantic import ValidationError

from moorage.cli.context import Context, stderr
from moorage.cli.documents import faults_of, read_documents
from moorage.cli.output import describe_resource, phase, show_list, show_one
from moorage.kit.errors import InvalidError
from moorage.resources import IPAddress, IPPool, Metadata
from moorage.resources.ippool import IPPoolSpec

app = App(name="ippools", help="IP pools: static addresses for machines and endpoints.")


@app.command
async def add(
    name: str,
    *,
    gateway: str,
    router: str,
    start: str | None = None,
    end: str | None = None,
    subnet: str | None = None,
    prefix: int | None = None,
    name_server: list[str] | None = None,
    search: list[str] | None = None,
    restrict_to_single_cluster: bool = False,
) -> None:
    """Add an IP pool: a range, or a whole subnet.

    Examples:
        moorage ippools add nodes --gateway site-a --start 10.0.4.10 --end 10.0.4.99 \
            --prefix 24 --router 10.0.4.1 --name-server 10.0.0.53

    Args:
        name: Name of the pool.
        gateway: Moorage gateway that gives the addresses out.
        router: Default gateway of the nodes.
        start: First address of a range.
        end: Last address of a range.
        subnet: Network in CIDR form, instead of a range.
        prefix: Prefix length of the addresses of a range.
        name_server: Name server of the nodes; may be repeated.
        search: Search domain of the nodes; may be repeated.
        restrict_to_single_cluster: Serve only the first cluster that claims an address.
    """
    given: dict[str, Any] = {
        "gateway": gateway,
        "router": router,
        "start": start,
        "end": end,
        "subnet": subnet,
        "prefix": prefix,
        "name_servers": name_server or [],
        "search": search or [],
        "restrict_to_single_cluster": restrict_to_single_cluster,
    }
    try:
        spec = IPPoolSpec.model_validate(given)
        pool = IPPool(metadata=Metadata(name=name), spec=spec)
    except ValidationError as error:
        raise InvalidError(f"IP pool {name} is not valid", faults_of(error)) from error
    context = Context.current()
    async with context.api() as api:
        await api.create(pool)
    stderr().print(f"IP pool {name} added: {spec.size()} addresses")


@app.command
async def apply(*, file: Path) -> None:
    """Create or update IP pools from a YAML file.

    Args:
        file: YAML with one or more documents of kind IPPool; - for standard input.
    """
    context = Context.current()
    pools = [_pool(document) for document in read_documents(file, "IPPool")]
    async with context.api() as api:
        existing = {pool.metadata.name: pool for pool in await api.list(IPPool)}
        for pool in pools:
            old = existing.get(pool.metadata.name)
            if old is None:
                await api.create(pool)
            else:
                old.spec = pool.spec
                await api.put_spec(old)
            stderr().print(f"IP pool {pool.metadata.name} applied")


@app.command(name="list")
async def list_() -> None:
    """List IP pools and how full they are."""
    context = Context.current()
    async with context.api() as api:
        items = await api.list(IPPool)
    show_list(
        items,
        (
            ("NAME", lambda p: p.metadata.name),
            ("STATE", phase),
            ("GATEWAY", lambda p: p.spec.gateway),
            ("ADDRESSES", lambda p: str(p.spec.subnet or f"{p.spec.start}-{p.spec.end}")),
            ("CLAIMED", lambda p: f"{p.status.claimed}/{p.status.total}"),
        ),
    )


@app.command
async def describe(name: str) -> None:
    """Show one IP pool and who holds its addresses.

    Args:
        name: Name of the pool.
    """
    context = Context.current()
    async with context.api() as api:
        pool = await api.get(IPPool, name)
        held = [a for a in await api.list(IPAddress) if a.spec.pool == name]
    facts = [
        ("router", pool.spec.router),
        ("claimed", f"{pool.status.claimed} of {pool.status.total}"),
        *((str(a.spec.address), f"{a.spec.claimed_by.name} ({a.spec.cluster})") for a in held),
    ]
    show_one(pool, lambda: describe_resource(pool, facts))


@app.command
async def delete(name: str) -> None:
    """Delete an IP pool that no cluster uses.

    Args:
        name: Name of the pool.
    """
    context = Context.current()
    async with context.api() as api:
        await api.delete(IPPool, name)
    stderr().print(f"IP pool {name} deleted")


def _pool(document: dict[str, Any]) -> IPPool:
    try:
        return IPPool.model_validate(document)
    except ValidationError as error:
        name = document.get("metadata", {}).get("name", "?")
        raise InvalidError(f"IP pool {name} is not valid", faults_of(error)) from error
