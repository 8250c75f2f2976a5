"""``moorage gateways``: processes beside vCenter that do the work."""

import sys
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from moorage.cli.moves import DECLARE_DEAD_EXAMPLES, RECOVER_EXAMPLES, declare_dead, recover
from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from moorage.resources import Gateway

app = App(name="gateways", help="Gateways: outbound-only processes beside vCenter.")
app.command(declare_dead, help_epilogue=DECLARE_DEAD_EXAMPLES)
app.command(recover, help_epilogue=RECOVER_EXAMPLES)


@app.command(help_epilogue=examples("moorage gateways add site-a"))
async def add(name: str, *, description: str = "") -> None:
    """Add a gateway and print the command to run beside vCenter.

    The command holds a token that works once, within 24 hours.

    Args:
        name: Name of the new gateway.
        description: Free text.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import Gateway

    given = {"metadata": {"name": name}, "spec": {"description": description}}
    gateway = build(Gateway, f"gateway {name}", given)
    async with Context.current().api() as api:
        await api.create(gateway)
        _show_token(name, await api.enrolment_token(name))


@app.command(
    help_epilogue=examples(
        "moorage gateways token site-a", "moorage gateways token site-a --replace"
    )
)
async def token(name: str, *, replace: bool = False) -> None:
    """Make a new one-time token for a gateway that shall enrol (again).

    Args:
        name: Name of the gateway.
        replace: Let a gateway that has enrolled already come with new keys. Every secret sealed
            to the old ones has to be sealed again.
    """
    from moorage.cli.context import Context

    async with Context.current().api() as api:
        _show_token(name, await api.enrolment_token(name, replace=replace))


@app.command(name="list", help_epilogue=examples("moorage gateways list"))
async def list_() -> None:
    """List gateways."""
    from moorage.cli.context import Context
    from moorage.cli.output import age, show_list
    from moorage.resources import Gateway

    async with Context.current().api() as api:
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


@app.command(help_epilogue=examples("moorage gateways describe site-a"))
async def describe(name: str) -> None:
    """Show one gateway.

    Args:
        name: Name of the gateway.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import age, describe_resource, show_one
    from moorage.resources import Gateway

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
        *(
            (
                f"DNS of {one.datacenter}/{one.compute_cluster or '*'}/{one.network}",
                one.search_domain,
            )
            for one in gateway.spec.dns_mappings
        ),
    )
    show_one(gateway, lambda: describe_resource(gateway, facts))


@app.command(
    help_epilogue=examples(
        "moorage gateways trust site-a --fingerprint 3F:9A:…",
    )
)
async def trust(name: str, *, fingerprint: str | None = None) -> None:
    """Pin the fingerprint of a gateway, after you compared it with the gateway's own.

    Args:
        name: Name of the gateway.
        fingerprint: What `moorage-gateway fingerprint` printed beside vCenter. Without it, the
            fingerprint that the hub tells is pinned.
    """
    from moorage.cli.context import Context
    from moorage.kit.identity import PublicIdentity
    from moorage.kit.net import normal_fingerprint
    from moorage.resources import Gateway

    wanted = normal_fingerprint(fingerprint) if fingerprint is not None else None
    context = Context.current()
    async with context.api() as api:
        gateway = await api.get(Gateway, name)
    if gateway.status.public_key is None:
        raise UnavailableError(
            f"gateway {name} has not enrolled yet: run the command of `moorage gateways token "
            f"{name}` beside vCenter"
        )
    told = PublicIdentity.from_pem(gateway.status.public_key).fingerprint
    if wanted is not None and wanted != told:
        raise InvalidError(
            f"the hub tells {told}, you say {wanted}: this is not the gateway that you mean"
        )
    context.hub.gateways[name] = told
    context.remember(context.hub)
    say(f"pinned gateway {name}: {told}")


@app.command(help_epilogue=examples("moorage gateways conflicts site-a"))
async def conflicts(name: str) -> None:
    """List what a gateway holds otherwise than a hub that was restored from a backup.

    Args:
        name: Name of the gateway.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format

    async with Context.current().api() as api:
        found = await api.conflicts(name)
    if output_format() != "table":
        show_document({"items": found})
        return
    if not found:
        say("gateway and hub agree")
    for one in found:
        decided = " (being deleted)" if one["deleting"] else ""
        say(f"{_conflict_name(one)}: {one['reason']}{decided}: {one['message']}")


@app.command(
    help_epilogue=examples(
        "moorage gateways decide site-a Cluster/default/web --keep gateway",
        "moorage gateways decide site-a Cluster/default/web --keep hub",
    )
)
async def decide(name: str, subject: str, *, keep: Literal["gateway", "hub"]) -> None:
    """Say whose version stays of what gateway and restored hub know differently.

    Node pools and all else that belongs to a cluster go with it.

    Args:
        name: Name of the gateway.
        subject: As `conflicts` lists it: kind, project and name.
        keep: Whose version stays. Of what the hub does not know, `hub` means that the gateway
            deletes it.
    """
    from moorage.cli.context import Context

    async with Context.current().api() as api:
        found = [one for one in await api.conflicts(name) if _conflict_name(one) == subject]
        if not found:
            raise NotFoundError(
                f"gateway {name} has no conflict about {subject}: `moorage gateways conflicts "
                f"{name}` lists them"
            )
        for one in found:
            await api.decide(name, str(one["uid"]), keep)
    say(f"{subject}: the {keep}'s version stays")


def _conflict_name(one: dict[str, Any]) -> str:
    return "/".join(part for part in (one["kind"], one.get("project"), one["name"]) if part)


@app.command(
    name="map-dns",
    help_epilogue=examples(
        "moorage gateways map-dns site-a --search-domain example.com \\\n"
        "    --datacenter dc1 --network nodes"
    ),
)
async def map_dns(
    name: str,
    *,
    datacenter: str,
    network: str,
    search_domain: str | None = None,
    compute_cluster: str | None = None,
) -> None:
    """Say into which domain the DHCP server of a network enters names.

    Failure domains with DHCP there get it as search domain when they name none.

    Args:
        name: Name of the gateway.
        datacenter: Datacenter, as clusters name it.
        network: Network, as clusters name it.
        search_domain: The domain; without it the mapping is taken away.
        compute_cluster: Only for this compute cluster, as clusters name it.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import Gateway

    place = {"datacenter": datacenter, "computeCluster": compute_cluster, "network": network}

    def change(gateway: Gateway) -> None:
        document = gateway.document()
        kept = [
            one
            for one in document["spec"].get("dnsMappings", [])
            if {field: one.get(field) for field in place} != place
        ]
        new = [{**place, "searchDomain": search_domain}] if search_domain else []
        document["spec"]["dnsMappings"] = [*kept, *new]
        gateway.spec = build(Gateway, f"gateway {name}", document).spec

    async with Context.current().api() as api:
        await api.change_spec(Gateway, name, change)
    say(f"network {network} of gateway {name}: search domain {search_domain or 'taken away'}")


@app.command(help_epilogue=examples("moorage gateways delete site-a"))
async def delete(name: str, *, yes: bool = False) -> None:
    """Delete a gateway that has no accounts left.

    Args:
        name: Name of the gateway.
        yes: Do not ask for the name again.
    """
    from moorage.cli.context import Context
    from moorage.cli.deleting import delete_named
    from moorage.resources import Gateway

    await delete_named(Gateway, "gateway", name, yes=yes)
    context = Context.current()
    if context.hub.gateways.pop(name, None) is not None:
        context.remember(context.hub)


def _state(gateway: "Gateway") -> str:
    if not gateway.status.enrolled:
        return "NotEnrolled"
    return "Connected" if gateway.status.connected else "Disconnected"


def _show_token(name: str, answer: dict[str, object]) -> None:
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format

    if output_format() != "table":
        show_document(answer)
        return
    say(f"gateway {name}: run this beside vCenter within 24 hours", "strong")
    sys.stdout.write(f"{answer['command']}\n")
