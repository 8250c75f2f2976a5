"""``moorage gateways``: processes beside vCenter that do the work."""

import sys

from cyclopts import App

from moorage.cli.context import Context, output_format, stderr
from moorage.cli.output import age, describe_resource, show_document, show_list, show_one
from moorage.kit.errors import UnavailableError
from moorage.resources import Gateway, Metadata
from moorage.resources.gateway import GatewaySpec

app = App(name="gateways", help="Gateways: outbound-only processes beside vCenter.")


@app.command
async def add(name: str, *, description: str = "") -> None:
    """Add a gateway and print the command to run beside vCenter.

    The command holds a token that works once, within 24 hours.

    Examples:
        moorage gateways add site-a

    Args:
        name: Name of the new gateway.
        description: Free text.
    """
    context = Context.current()
    async with context.api() as api:
        await api.create(
            Gateway(metadata=Metadata(name=name), spec=GatewaySpec(description=description))
        )
        _show_token(name, await api.enrolment_token(name))


@app.command
async def token(name: str, *, replace: bool = False) -> None:
    """Make a new one-time token for a gateway that shall enrol (again).

    Args:
        name: Name of the gateway.
        replace: Let a gateway that has enrolled already come with new keys. Every secret sealed
            to the old ones has to be sealed again.
    """
    context = Context.current()
    async with context.api() as api:
        _show_token(name, await api.enrolment_token(name, replace=replace))


@app.command(name="list")
async def list_() -> None:
    """List gateways."""
    context = Context.current()
    async with context.api() as api:
        items = await api.list(Gateway)
    show_list(
        items,
        (
            ("NAME", lambda g: g.metadata.name),
            ("STATE", _state),
            ("LAST SEEN", lambda g: age(g.status.last_seen_at)),
            ("VERSION", lambda g: g.status.version or "-"),
            ("FINGERPRINT", lambda g: (g.status.fingerprint or "-")[:23]),
        ),
    )


@app.command
async def describe(name: str) -> None:
    """Show one gateway.

    Args:
        name: Name of the gateway.
    """
    context = Context.current()
    async with context.api() as api:
        gateway = await api.get(Gateway, name)
    facts = (
        ("state", _state(gateway)),
        ("last seen", age(gateway.status.last_seen_at)),
        ("version", gateway.status.version),
        ("fingerprint", gateway.status.fingerprint),
        ("pinned here", context.hub.gateways.get(name)),
        ("description", gateway.spec.description),
    )
    show_one(gateway, lambda: describe_resource(gateway, facts))


@app.command
async def trust(name: str, *, fingerprint: str | None = None) -> None:
    """Pin the fingerprint of a gateway, after you compared it with the gateway's own.

    Args:
        name: Name of the gateway.
        fingerprint: What `moorage-gateway fingerprint` printed beside vCenter. Without it, the
            fingerprint that the hub tells is pinned.
    """
    context = Context.current()
    async with context.api() as api:
        gateway = await api.get(Gateway, name)
    told = gateway.status.fingerprint
    if told is None:
        raise UnavailableError(f"gateway {name} has not enrolled yet")
    if fingerprint is not None and fingerprint.strip().upper() != told:
        raise UnavailableError(
            f"the hub tells {told}, you say {fingerprint}: this is not the gateway that you mean"
        )
    context.hub.gateways[name] = told
    context.remember(context.hub)
    stderr().print(f"pinned gateway {name}: {told}")


@app.command
async def delete(name: str) -> None:
    """Delete a gateway that has no accounts left.

    Args:
        name: Name of the gateway.
    """
    context = Context.current()
    async with context.api() as api:
        await api.delete(Gateway, name)
    stderr().print(f"gateway {name} deleted")


def _state(gateway: Gateway) -> str:
    if not gateway.status.enrolled:
        return "NotEnrolled"
    return "Connected" if gateway.status.connected else "Disconnected"


def _show_token(name: str, answer: dict[str, object]) -> None:
    if output_format() != "table":
        show_document(answer)
        return
    stderr().print(f"gateway {name}: run this beside vCenter within 24 hours", style="bold")
    sys.stdout.write(f"{answer['command']}\n")
