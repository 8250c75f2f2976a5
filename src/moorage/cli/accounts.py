"""``moorage accounts``: users of vCenters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from moorage.cli.permissions import CHECK_EXAMPLES, ROLES_EXAMPLES, check, roles
from moorage.cli.say import examples, say
from moorage.cli.zones import ZONES_EXAMPLES, zones
from moorage.kit.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from moorage.cli.context import Context
    from moorage.client import Api
    from moorage.resources import CloudAccount, Secret

app = App(name="accounts", help="Cloud accounts: users of vCenters.")
app.command(check, help_epilogue=CHECK_EXAMPLES)
app.command(roles, help_epilogue=ROLES_EXAMPLES)
app.command(zones, help_epilogue=ZONES_EXAMPLES)

PasswordFile = Annotated[Path | None, Parameter(name="--password-file")]


@app.command(
    help_epilogue=examples(
        "moorage accounts add prod --gateway site-a --server vcenter.example.com \\\n"
        "    --username moorage@vsphere.local --ca-file vcenter-ca.crt --wait"
    )
)
async def add(
    name: str,
    *,
    gateway: str,
    server: str,
    username: str,
    password_file: PasswordFile = None,
    ca_file: Path | None = None,
    sha256: str | None = None,
    insecure: bool = False,
    region_category: str = "k8s-region",
    zone_category: str = "k8s-zone",
    wait: bool = False,
    timeout_s: float = 120,
) -> int:
    """Add a vCenter account. The password is sealed here; the hub cannot read it.

    Args:
        name: Name of the account.
        gateway: Gateway that talks to this vCenter.
        server: Host or host:port of vCenter, without https://.
        username: User of vCenter.
        password_file: File that holds the password; asked for otherwise.
        ca_file: PEM that vCenter's certificate chains to.
        sha256: Fingerprint of vCenter's own certificate, instead of a CA.
        insecure: Do not verify vCenter's certificate at all.
        region_category: Category of the vSphere tags that name regions.
        zone_category: Category of the vSphere tags that name zones.
        wait: Stay until the gateway has logged in and read the inventory.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.cli.live import follow
    from moorage.resources import CloudAccount

    spec = {
        "gateway": gateway,
        "server": server,
        "username": username,
        "trust": _trust(ca_file, sha256, insecure=insecure),
        "secret": name,
        "regionCategory": region_category,
        "zoneCategory": zone_category,
    }
    account = build(CloudAccount, f"account {name}", {"metadata": {"name": name}, "spec": spec})
    context = Context.current()
    async with context.api() as api:
        await api.create(account, dry_run=True)
        password = read_password(password_file, f"Password of {username} at {server}: ")
        await _store_password(api, context, account, password)
        await api.create(account)
        say(f"account {name} added")
        return await follow(api, CloudAccount, name, timeout_s=timeout_s) if wait else 0


@app.command(
    help_epilogue=examples(
        "moorage accounts set-password prod",
        "moorage accounts set-password prod --password-file new-password",
    )
)
async def set_password(name: str, *, password_file: PasswordFile = None) -> None:
    """Give an account a new password, sealed here.

    Args:
        name: Name of the account.
        password_file: File that holds the password; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context
    from moorage.resources import CloudAccount

    context = Context.current()
    async with context.api() as api:
        account = await api.get(CloudAccount, name)
        prompt = f"New password of {account.spec.username} at {account.spec.server}: "
        await _store_password(api, context, account, read_password(password_file, prompt))
    say(f"account {name} has a new password")


@app.command(
    help_epilogue=examples(
        "moorage accounts set-trust prod --ca-file new-vcenter-ca.crt",
        "moorage accounts set-trust prod --sha256 3F:9A:…",
    )
)
async def set_trust(
    name: str,
    *,
    ca_file: Path | None = None,
    sha256: str | None = None,
    insecure: bool = False,
    password_file: PasswordFile = None,
) -> None:
    """Change how vCenter's certificate is verified; without options by the system's CAs.

    A sealed password is bound to the trust, so the password is asked for again.

    Args:
        name: Name of the account.
        ca_file: PEM that vCenter's certificate chains to.
        sha256: Fingerprint of vCenter's own certificate, instead of a CA.
        insecure: Do not verify vCenter's certificate at all.
        password_file: File that holds the password; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import CloudAccount
    from moorage.resources.account import Trust

    trust = build(Trust, "the trust", _trust(ca_file, sha256, insecure=insecure))

    def change(account: CloudAccount) -> None:
        account.spec.trust = trust

    context = Context.current()
    async with context.api() as api:
        account = await api.get(CloudAccount, name)
        change(account)
        await api.put_spec(account, dry_run=True)
        prompt = f"Password of {account.spec.username} at {account.spec.server}: "
        await _store_password(api, context, account, read_password(password_file, prompt))
        await api.change_spec(CloudAccount, name, change)
    say(f"account {name} verifies vCenter anew")


@app.command(
    help_epilogue=examples(
        "moorage accounts set-read-only prod",
        "moorage accounts set-read-only prod --off",
    )
)
async def set_read_only(name: str, *, off: bool = False) -> None:
    """Let nothing be changed in an account's vCenter; inventory, checks and status go on.

    Args:
        name: Name of the account.
        off: Let it be changed again: everything that waited goes on.
    """
    from moorage.cli.context import Context
    from moorage.resources import CloudAccount

    def change(account: CloudAccount) -> None:
        account.spec.read_only = not off

    async with Context.current().api() as api:
        await api.change_spec(CloudAccount, name, change)
    say(f"account {name} {'may change its vCenter again' if off else 'is read-only'}")


@app.command(name="list", help_epilogue=examples("moorage accounts list"))
async def list_() -> None:
    """List accounts."""
    from moorage.cli.context import Context
    from moorage.cli.output import show_list
    from moorage.resources import CloudAccount
    from moorage.resources.phase import phase

    async with Context.current().api() as api:
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


@app.command(help_epilogue=examples("moorage accounts describe prod"))
async def describe(name: str) -> None:
    """Show one account, its templates and what it waits for.

    Args:
        name: Name of the account.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import describe_resource, show_one
    from moorage.resources import CloudAccount

    async with Context.current().api() as api:
        account = await api.get(CloudAccount, name)
    trust = account.spec.trust
    verified = (
        "NOT VERIFIED (insecure)"
        if trust.insecure
        else f"is {trust.sha256}"
        if trust.sha256
        else "verified by the account's own CA"
        if trust.ca_bundle
        else "verified by the gateway's system CAs"
    )
    facts = (
        ("gateway", account.spec.gateway),
        ("server", account.spec.server),
        ("user", account.spec.username),
        ("certificate", verified),
        *([("changes", "NONE (read-only)")] if account.spec.read_only else []),
        ("product", account.status.product),
        ("API version", account.status.api_version),
        *(("template", template) for template in account.status.templates),
    )
    show_one(account, lambda: describe_resource(account, facts))


@app.command(help_epilogue=examples("moorage accounts delete prod"))
async def delete(name: str, *, yes: bool = False, timeout_s: float = 60) -> None:
    """Delete an account that no cluster uses, and its sealed password.

    Args:
        name: Name of the account.
        yes: Do not ask for the name again.
        timeout_s: How long to wait until its gateway has let go of it, in seconds.
    """
    from moorage.cli.ask import confirm_name
    from moorage.cli.context import Context
    from moorage.cli.live import follow_deletion
    from moorage.resources import CloudAccount, Secret

    async with Context.current().api() as api:
        account = await api.get(CloudAccount, name)
        if not yes:
            confirm_name("account", name, "and its sealed password")
        await api.delete(CloudAccount, name)
        # The hub keeps a secret as long as its account is there, be it on its way out.
        code = await follow_deletion(api, CloudAccount, name, timeout_s=timeout_s)
        if code:
            raise ConflictError(
                f"account {name} is being deleted, but its gateway {account.spec.gateway} has not "
                f"let go of it yet; run this again to delete secret {account.spec.secret} too"
            )
        await _drop_secret(api, Secret, account.spec.secret)
    say(f"account {name} deleted")


async def _drop_secret(api: "Api", kind: "type[Secret]", name: str) -> None:
    try:
        await api.delete(kind, name)
    except NotFoundError:
        return


async def _store_password(
    api: "Api", context: "Context", account: "CloudAccount", password: str
) -> None:
    """Seal a password and store it: a new secret, or a new content of the one that is there."""
    from moorage.cli.sealing import seal_password
    from moorage.resources import Gateway, Metadata, Secret
    from moorage.resources.account import SecretSpec

    spec = account.spec
    gateway = await api.get(Gateway, spec.gateway)
    sealed = seal_password(context, gateway, account.metadata.name, spec, password)
    secret = Secret(
        metadata=Metadata(name=spec.secret), spec=SecretSpec(gateway=spec.gateway, sealed=sealed)
    )
    try:
        await api.create(secret)
    except ConflictError:
        await api.replace_spec(secret)


def _trust(ca_file: Path | None, sha256: str | None, *, insecure: bool) -> dict[str, Any]:
    from moorage.kit.net import normal_fingerprint, read_pem

    return {
        "caBundle": read_pem(ca_file) if ca_file else None,
        "sha256": normal_fingerprint(sha256) if sha256 else None,
        "insecure": insecure,
    }
