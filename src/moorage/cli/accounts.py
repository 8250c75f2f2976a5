"""``moorage accounts``: users of vCenters."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from moorage.cli.context import Context, stderr
from moorage.cli.live import follow
from moorage.cli.login import read_password
from moorage.cli.output import describe_resource, phase, show_list, show_one
from moorage.cli.sealing import seal_password
from moorage.kit.net import normal_fingerprint, read_pem
from moorage.resources import CloudAccount, Gateway, Metadata, Secret
from moorage.resources.account import CloudAccountSpec, SecretSpec, Trust

app = App(name="accounts", help="Cloud accounts: users of vCenters.")


@app.command
async def add(
    name: str,
    *,
    gateway: str,
    server: str,
    username: str,
    password_file: Path | None = None,
    ca_file: Path | None = None,
    sha256: str | None = None,
    insecure: Annotated[bool, Parameter(negative=())] = False,
    wait: bool = False,
    timeout_s: float = 120,
) -> int:
    """Add a vCenter account. The password is sealed here; the hub cannot read it.

    Examples:
        moorage accounts add prod --gateway site-a --server vcenter.example.com \
            --username moorage@vsphere.local --ca-file vcenter-ca.crt --wait

    Args:
        name: Name of the account.
        gateway: Gateway that talks to this vCenter.
        server: Host or host:port of vCenter, without https://.
        username: User of vCenter.
        password_file: File that holds the password; asked for otherwise.
        ca_file: PEM that vCenter's certificate chains to.
        sha256: Fingerprint of vCenter's own certificate, instead of a CA.
        insecure: Do not verify vCenter's certificate at all.
        wait: Stay until the gateway has logged in and read the inventory.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    context = Context.current()
    spec = CloudAccountSpec(
        gateway=gateway,
        server=server,
        username=username,
        trust=Trust(
            ca_bundle=read_pem(ca_file) if ca_file else None,
            sha256=normal_fingerprint(sha256) if sha256 else None,
            insecure=insecure,
        ),
        secret=name,
    )
    password = read_password(password_file, f"Password of {username} at {server}: ")
    async with context.api() as api:
        sealed = seal_password(context, await api.get(Gateway, gateway), name, spec, password)
        account = CloudAccount(metadata=Metadata(name=name), spec=spec)
        await api.create(account, dry_run=True)
        await api.create(
            Secret(metadata=Metadata(name=name), spec=SecretSpec(gateway=gateway, sealed=sealed))
        )
        await api.create(account)
        stderr().print(f"account {name} added")
        return await follow(api, CloudAccount, name, timeout_s=timeout_s) if wait else 0


@app.command
async def set_password(name: str, *, password_file: Path | None = None) -> None:
    """Give an account a new password, sealed here.

    Args:
        name: Name of the account.
        password_file: File that holds the password; asked for otherwise.
    """
    context = Context.current()
    async with context.api() as api:
        account = await api.get(CloudAccount, name)
        spec = account.spec
        password = read_password(
            password_file, f"New password of {spec.username} at {spec.server}: "
        )
        gateway = await api.get(Gateway, spec.gateway)
        sealed = seal_password(context, gateway, name, spec, password)
        path = f"/v1/secrets/{spec.secret}/spec"
        body = SecretSpec(gateway=spec.gateway, sealed=sealed).document()
        await api.call("PUT", path, body=body)
    stderr().print(f"account {name} has a new password")


@app.command(name="list")
async def list_() -> None:
    """List accounts."""
    context = Context.current()
    async with context.api() as api:
        items = await api.list(CloudAccount)
    show_list(
        items,
        (
            ("NAME", lambda a: a.metadata.name),
            ("STATE", phase),
            ("GATEWAY", lambda a: a.spec.gateway),
            ("SERVER", lambda a: a.spec.server),
            ("USER", lambda a: a.spec.username),
            ("API", lambda a: a.status.api_version or "-"),
        ),
    )


@app.command
async def describe(name: str) -> None:
    """Show one account, its templates and what it waits for.

    Args:
        name: Name of the account.
    """
    context = Context.current()
    async with context.api() as api:
        account = await api.get(CloudAccount, name)
    trust = account.spec.trust
    verified = "NOT VERIFIED (insecure)" if trust.insecure else "verified"
    facts = (
        ("gateway", account.spec.gateway),
        ("server", account.spec.server),
        ("user", account.spec.username),
        ("certificate", verified),
        ("product", account.status.product),
        ("templates", ", ".join(account.status.templates)),
    )
    show_one(account, lambda: describe_resource(account, facts))


@app.command
async def delete(name: str) -> None:
    """Delete an account that no cluster uses, and its sealed password.

    Args:
        name: Name of the account.
    """
    context = Context.current()
    async with context.api() as api:
        account = await api.get(CloudAccount, name)
        await api.delete(CloudAccount, name)
        await api.delete(Secret, account.spec.secret)
    stderr().print(f"account {name} deleted")
