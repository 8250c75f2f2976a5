"""``moorage login``, ``logout``, ``whoami``."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from moorage.cli import config
from moorage.cli.config import HubContext
from moorage.cli.context import Context, stderr
from moorage.cli.output import show_document
from moorage.client import Api
from moorage.kit.errors import ForbiddenError, InvalidError
from moorage.kit.net import ServerTrust, read_pem
from moorage.kit.seal import PrivateSealingKey


async def login(
    server: str,
    *,
    username: Annotated[str, Parameter(name=["--username", "-u"])] = "admin",
    password_file: Path | None = None,
    ca_file: Path | None = None,
    recovery_key_file: Path | None = None,
    name: str | None = None,
) -> None:
    """Log in to a hub and remember it.

    At the first login to a new installation the offline recovery key is made: whoever holds it
    can open sealed secrets when a gateway is lost. It is shown, or written, exactly once.

    Examples:
        moorage login https://hub.example.com --ca-file hub-ca.crt
        moorage login https://hub.example.com -u alice --password-file ~/.hub-password

    Args:
        server: Address of the hub, https://host[:port].
        username: Who you are.
        password_file: File that holds the password; asked for on the terminal otherwise.
        ca_file: PEM that the hub's certificate chains to; the system's trust store otherwise.
        recovery_key_file: Where to write the recovery key, should this login make it.
        name: Name of the stored context; the hub's host by default.
    """
    parts = urlsplit(server)
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidError(f"{server!r}: give the hub's address as https://host[:port]")
    ca = read_pem(ca_file) if ca_file else None
    password = read_password(password_file, f"Password of {username} at {parts.hostname}: ")
    tls = ServerTrust(ca_pem=ca).context()
    async with Api(server, tls=tls) as api:
        token = await api.login(username, password)
    stored = config.load()
    key = name or parts.hostname
    async with Api(server, token=token, tls=tls) as api:
        installation = await api.installation()
        old = stored.contexts.get(key)
        hub = HubContext(
            server=server,
            username=username,
            token=token,
            ca=ca,
            installation=str(installation["installation"]),
        )
        if old is not None and old.installation == hub.installation:
            hub.gateways, hub.recovery_key, hub.project = (
                old.gateways,
                old.recovery_key,
                old.project,
            )
        hub.recovery_key = await _recovery_key(api, hub, installation, recovery_key_file)
    stored.contexts[key] = hub
    stored.current = key
    config.save(stored)
    stderr().print(f"logged in to {server} as {username} (context {key})")


async def logout() -> None:
    """End the session at the hub and forget its token."""
    context = Context.current()
    async with context.api() as api:
        await api.logout()
    stored = config.load()
    del stored.contexts[context.name]
    if stored.current == context.name:
        stored.current = next(iter(stored.contexts), None)
    config.save(stored)
    stderr().print(f"logged out of {context.hub.server}")


async def whoami() -> None:
    """Show who you are and what you may do."""
    context = Context.current()
    async with context.api() as api:
        show_document(await api.whoami())


def read_password(file: Path | None, prompt: str) -> str:
    """Return a password from a file or the terminal; never from the command line."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise InvalidError(f"the password cannot be read from {file}: {error}") from error
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return getpass.getpass(prompt)


async def _recovery_key(
    api: Api, hub: HubContext, installation: dict[str, object], file: Path | None
) -> str | None:
    """Return the pinned public recovery key; make the pair when the installation has none."""
    known = installation.get("recoveryKey")
    if known:
        if hub.recovery_key is not None and hub.recovery_key != known:
            raise ForbiddenError(
                "the hub now names another recovery key than the one pinned here. Somebody may "
                "want to read your secrets: ask the administrator, and log out to drop the pin"
            )
        return str(known)
    pair = PrivateSealingKey.generate()
    if file is not None:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(pair.pem)
    public = pair.public().pem
    try:
        await api.set_recovery_key(public)
    except ForbiddenError:
        # Only an administrator makes it; others go on without a pin until one has.
        if file is not None:
            file.unlink()
        return None
    console = stderr()
    if file is not None:
        console.print(f"recovery key written to {file}: keep it offline, it is made only once")
    else:
        console.print("RECOVERY KEY: store it offline now, it is shown only once", style="bold")
        console.print(pair.pem)
    return public
