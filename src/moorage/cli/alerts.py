"""``moorage alerts``: what is wrong, who looks after it, and who is told."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError

if TYPE_CHECKING:
    from moorage.resources.meta import Document

app = App(name="alerts", help="What is wrong, and who is told.")
channels = App(name="channels", help="Where alerts are sent.")
silences = App(name="silences", help="What nobody is told of for a while.")
app.command(channels)
app.command(silences)

_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0}


@app.command(
    name="list", help_epilogue=examples("moorage alerts list", "moorage alerts list --all")
)
async def list_(
    *, hub: bool = False, all_: Annotated[bool, Parameter(name="--all")] = False
) -> None:
    """Show alerts of the project; those that go on first.

    Args:
        hub: Instead, of all projects, and of gateways, accounts, IP pools and keys.
        all_: Those that have ended too.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format
    from moorage.client.paths import project_path

    context = Context.current()
    path = "/v1/alerts" if hub else f"{project_path(context.project)}/alerts"
    async with context.api() as api:
        items: list[Document] = (
            await api.call("GET", path, params={"ended": "true" if all_ else None})
        )["items"]
    if output_format() != "table":
        show_document(items)
        return
    print_table(
        ("ID", "SINCE", "ENDED", "COUNT", "RULE", "OBJECT", "LOOKED AFTER BY", "MESSAGE"),
        [
            [
                item["id"],
                str(item["since"])[:19],
                str(item.get("endedAt", "-"))[:19],
                str(item["count"]),
                item["rule"],
                _object(item["object"]),
                item.get("acknowledgedBy", "-"),
                item["message"],
            ]
            for item in items
        ],
    )


@app.command(
    help_epilogue=examples(
        "moorage alerts ack 5f0c… --note 'the host is being replaced'",
        "moorage alerts ack 5f0c… --undo",
    )
)
async def ack(alert: str, *, note: str = "", undo: bool = False) -> None:
    """Say that you look after an alert; it is not sent again until it ends.

    Args:
        alert: ID, as `moorage alerts list` shows it.
        note: Free text for the others.
        undo: Take it back.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import project_path, quoted
    from moorage.kit.errors import MoorageError

    context = Context.current()
    body = {"acknowledged": not undo, "note": note}
    paths = [f"{base}/alerts/{quoted(alert)}" for base in (project_path(context.project), "/v1")]
    async with context.api() as api:
        try:
            found = await api.call("PUT", f"{paths[0]}/acknowledgement", body=body)
        except MoorageError:  # of another project, or beside all of them
            found = await api.call("PUT", f"{paths[1]}/acknowledgement", body=body)
    by = found.get("acknowledgedBy")
    about = f"{found['rule']} of {_object(found['object'])}"
    say(f"{about}: looked after by {by}" if by else f"{about}: nobody looks after it now")


@app.command(
    help_epilogue=examples(
        "moorage alerts silence rebuild --for 4h --reason 'hosts are replaced' --project-is shop",
        "moorage alerts silence lab --for 2w --reason 'a test bed' --kind Cluster --object lab",
    )
)
async def silence(
    name: str,
    *,
    for_: Annotated[str, Parameter(name="--for")],
    reason: str,
    rule: str | None = None,
    kind: str | None = None,
    object_: Annotated[str | None, Parameter(name="--object")] = None,
    project_is: str | None = None,
) -> None:
    """Have nobody told of certain alerts for a while; they are still listed.

    Args:
        name: Name of the silence.
        for_: How long: a number with m, h, d or w.
        reason: Why, for the others.
        rule: Only this rule, such as ClusterUnhealthy.
        kind: Only objects of this kind, such as Cluster.
        object_: Only the object of this name.
        project_is: Only objects of this project.
    """
    from datetime import timedelta

    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.kit.clock import SystemClock
    from moorage.resources import AlertSilence

    until = SystemClock().now() + timedelta(hours=_hours(for_))
    spec: dict[str, Any] = {"until": until.isoformat(), "reason": reason, "rule": rule}
    spec |= {"objectKind": kind, "objectName": object_, "project": project_is}
    given = {"metadata": {"name": name}, "spec": spec}
    async with Context.current().api() as api:
        await api.create(build(AlertSilence, f"silence {name}", given))
    say(f"silence {name} until {until:%Y-%m-%d %H:%M} UTC")


@silences.command(name="list", help_epilogue=examples("moorage alerts silences list"))
async def list_silences() -> None:
    """List silences, those that are over too."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import AlertSilence

    async with Context.current().api() as api:
        items = await api.list(AlertSilence)
    columns = (
        ("NAME", lambda s: s.metadata.name),
        ("UNTIL", lambda s: f"{s.spec.until:%Y-%m-%dT%H:%M:%SZ}"),
        ("RULE", lambda s: s.spec.rule or "*"),
        ("KIND", lambda s: s.spec.object_kind or "*"),
        ("PROJECT", lambda s: s.spec.project or "*"),
        ("OBJECT", lambda s: s.spec.object_name or "*"),
        ("REASON", lambda s: s.spec.reason),
    )
    show_list(items, columns)


@silences.command(name="delete", help_epilogue=examples("moorage alerts silences delete rebuild"))
async def delete_silence(name: str, *, yes: bool = False) -> None:
    """End a silence: what it kept back is sent.

    Args:
        name: Name of the silence.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import AlertSilence

    await delete_named(AlertSilence, "silence", name, yes=yes)


@channels.command(
    name="add",
    help_epilogue=examples(
        "moorage alerts channels add chat --url https://chat.example.com/hooks/moorage",
        "moorage alerts channels add team --mail ops@example.com --only-project shop",
    ),
)
async def add_channel(
    name: str,
    *,
    url: str | None = None,
    mail: Annotated[list[str] | None, Parameter(negative=())] = None,
    rule: Annotated[list[str] | None, Parameter(negative=())] = None,
    only_project: Annotated[list[str] | None, Parameter(negative=())] = None,
) -> None:
    """Have alerts sent to a web address or by mail. The secret that signs is shown this once.

    Args:
        name: Name of the channel.
        url: Web address that alerts are posted to.
        mail: Instead: address of somebody to write to; may be repeated.
        rule: Only this rule; may be repeated.
        only_project: Only alerts of this project; may be repeated.
    """
    import sys

    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import AlertChannel

    spec = {"url": url, "mailTo": mail or [], "rules": rule or [], "projects": only_project or []}
    channel = build(AlertChannel, f"channel {name}", {"metadata": {"name": name}, "spec": spec})
    async with Context.current().api() as api:
        await api.create(channel)
        if url is None:
            say(f"channel {name} added")
            return
        answer = await api.call("POST", f"/v1/alertchannels/{name}/secret")
    say(f"channel {name} added; what is posted is signed with this secret, shown once:")
    sys.stdout.write(f"{answer['secret']}\n")


@channels.command(name="list", help_epilogue=examples("moorage alerts channels list"))
async def list_channels() -> None:
    """List channels."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import AlertChannel

    async with Context.current().api() as api:
        items = await api.list(AlertChannel)
    columns = (
        ("NAME", lambda c: c.metadata.name),
        ("TO", lambda c: c.spec.url or ", ".join(c.spec.mail_to)),
        ("RULES", lambda c: ", ".join(c.spec.rules) or "*"),
        ("PROJECTS", lambda c: ", ".join(c.spec.projects) or "*"),
    )
    show_list(items, columns)


@channels.command(name="delete", help_epilogue=examples("moorage alerts channels delete chat"))
async def delete_channel(name: str, *, yes: bool = False) -> None:
    """Delete a channel, and what waits to be sent to it.

    Args:
        name: Name of the channel.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import AlertChannel

    await delete_named(AlertChannel, "channel", name, yes=yes)


@channels.command(name="test", help_epilogue=examples("moorage alerts channels test chat"))
async def send_test(name: str) -> None:
    """Send a test; `moorage alerts channels log` shows what came of it.

    Args:
        name: Name of the channel.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import quoted

    async with Context.current().api() as api:
        await api.call("POST", f"/v1/alertchannels/{quoted(name)}/test")
    say(f"a test to {name} is queued: see `moorage alerts channels log {name}`")


@channels.command(name="log", help_epilogue=examples("moorage alerts channels log chat"))
async def log(name: str) -> None:
    """Show what was sent to a channel, and what came back.

    Args:
        name: Name of the channel.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format
    from moorage.client.paths import quoted

    async with Context.current().api() as api:
        path = f"/v1/alertchannels/{quoted(name)}/deliveries"
        items: list[Document] = (await api.call("GET", path))["items"]
    if output_format() != "table":
        show_document(items)
        return
    print_table(
        ("QUEUED", "ATTEMPTS", "DELIVERED", "NEXT ATTEMPT", "ANSWER"),
        [
            [
                str(item["createdAt"])[:19],
                str(item["attempts"]),
                str(item.get("deliveredAt", "-"))[:19],
                str(item.get("nextAttemptAt", "-"))[:19],
                item["answer"],
            ]
            for item in items
        ],
    )


def _object(one: "Document") -> str:
    where = f"{one['project']}/" if one["project"] else ""
    return f"{one['kind']} {where}{one['name']}"


def _hours(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in _HOURS:
        raise InvalidError(f"--for {text!r} is no time: write a number with m, h, d or w, like 4h")
    return int(number) * _HOURS[unit]
