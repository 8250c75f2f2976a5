"""``moorage login``, ``logout``, ``whoami``, ``passwd``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import (
    InvalidError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from moorage.resources.meta import Document

app = App()


@app.command(
    help_epilogue=examples(
        "moorage login https://hub.example.com --ca-file hub-ca.crt",
        "moorage login https://hub.example.com -u alice --password-file ~/.hub-password",
        "moorage login https://hub.example.com --api-key-file ci-key",
    )
)
async def login(
    server: str,
    *,
    username: Annotated[str, Parameter(name=["--username", "-u"])] = "admin",
    password_file: Path | None = None,
    api_key_file: Path | None = None,
    ca_file: Path | None = None,
    recovery_key_file: Path | None = None,
    name: str | None = None,
) -> None:
    """Log in to a hub and remember it.

    At the first login to a new installation the offline recovery key is made: whoever holds it
    can open sealed secrets when a gateway is lost. It is shown, or written, exactly once.

    Args:
        server: Address of the hub, https://host[:port].
        username: Who you are.
        password_file: File that holds the password; asked for on the terminal otherwise.
        api_key_file: File that holds an API key, instead of name and password.
        ca_file: PEM that the hub's certificate chains to; the system's trust store otherwise.
        recovery_key_file: Where to write the recovery key, should this login make it.
        name: Name of the stored context; the hub's host by default.
    """
    from urllib.parse import urlsplit

    from moorage.cli import config
    from moorage.cli.ask import read_password
    from moorage.cli.config import HubContext
    from moorage.cli.recovery import pin_recovery_key
    from moorage.client import Api
    from moorage.client.problems import SecondFactorError
    from moorage.kit.net import ServerTrust, read_pem

    parts = urlsplit(server)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise InvalidError(f"{server!r}: give the hub's address as https://host[:port]")
    if recovery_key_file is not None and recovery_key_file.exists():
        raise InvalidError(
            f"--recovery-key-file {recovery_key_file} exists: it is never written over"
        )
    ca = read_pem(ca_file) if ca_file else None
    tls = ServerTrust(ca_pem=ca).context()
    if api_key_file is not None:
        token = read_password(api_key_file, "API key: ")
    else:
        password = read_password(password_file, f"Password of {username} at {parts.hostname}: ")
        async with Api(server, tls=tls) as api:
            try:
                token = await api.login(username, password)
            except SecondFactorError:
                code = read_password(None, "Code of your authenticator app: ")
                token = await api.login(username, password, code)
    stored = config.load()
    key = name or parts.hostname
    async with Api(server, token=token, tls=tls) as api:
        me = await api.whoami()
        installation = await api.installation()
        hub = HubContext(
            server=api.server,
            username=str(me["username"]),
            token=token,
            ca=ca,
            installation=str(installation["installation"]),
        )
        old = stored.contexts.get(key)
        if old is not None and old.installation == hub.installation:
            hub.gateways, hub.recovery_key, hub.project = (
                old.gateways,
                old.recovery_key,
                old.project,
            )
        config.check_writable()
        hub.recovery_key = await pin_recovery_key(
            api, hub.recovery_key, installation, me, recovery_key_file
        )
    stored.contexts[key] = hub
    stored.current = key
    config.save(stored)
    say(f"logged in to {hub.server} as {hub.username} (context {key})")


@app.command(help_epilogue=examples("moorage logout"))
async def logout() -> None:
    """End the session at the hub and forget its token, and what was pinned with it."""
    from moorage.cli import config
    from moorage.cli.context import Context

    context = Context.current()
    try:
        async with context.api() as api:
            await api.logout()
    except UnauthenticatedError:
        say("the session had ended before", "dim")
    except UnavailableError as error:
        say(f"forgotten here only; the session ends by itself: {error}", "warning")
    stored = config.load()
    stored.contexts.pop(context.name, None)
    if stored.current == context.name:
        stored.current = next(iter(stored.contexts), None)
    config.save(stored)
    say(f"logged out of {context.hub.server}")


@app.command(help_epilogue=examples("moorage whoami"))
async def whoami() -> None:
    """Show who you are and what you may do."""
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.roles import by
    from moorage.cli.settings import output_format

    context = Context.current()
    async with context.api() as api:
        me: Document = await api.whoami()
    if output_format() != "table":
        show_document(me)
        return
    rows = [
        ["user", str(me["username"])],
        ["hub", context.hub.server],
        ["context", context.name],
        ["project", context.project],
        ["credential", str(me["credential"])],
        *(["may", by([grant])] for grant in me["grants"]),
    ]
    print_table(("", ""), rows)


@app.command(help_epilogue=examples("moorage passwd"))
async def passwd(*, current_file: Path | None = None, new_file: Path | None = None) -> None:
    """Change your own password; your other sessions end.

    Args:
        current_file: File that holds the password in use; asked for otherwise.
        new_file: File that holds the next one; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context

    context = Context.current()
    body = {
        "current": read_password(current_file, f"Password of {context.hub.username}: "),
        "new": read_password(new_file, "New password: "),
    }
    async with context.api() as api:
        await api.call("PUT", "/v1/whoami/password", body=body)
    say(f"the password of {context.hub.username} is changed")
