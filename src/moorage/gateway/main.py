"""``moorage-gateway``: enrol a gateway at its hub, and run it.

What a command works with is imported inside it: ``run`` becomes another process at once.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from moorage import __version__
from moorage.gateway import DEFAULT_DATA
from moorage.kit.errors import InvalidError, MoorageError, UnavailableError
from moorage.kit.process import become

if TYPE_CHECKING:
    from moorage.gateway.config import GatewayConfig

STATUS_TIMEOUT_S = 5.0

app = App(
    name="moorage-gateway",
    help="Works beside vCenter for a Moorage hub. It dials out; nothing dials in.",
    version=__version__,
)
app.command("moorage.gateway.deletions:deletions", name="deletions")


@app.command
async def enroll(
    *,
    hub: str,
    token: str,
    gateway: str | None = None,
    ca_file: Path | None = None,
    hub_fingerprint: str | None = None,
    data: Path = DEFAULT_DATA,
    proxy: str | None = None,
    no_proxy: str | None = None,
    proxy_ca: Path | None = None,
) -> None:
    """Make this gateway known to its hub, with a token of `moorage gateways add`.

    Keys are made here and stay here. May be repeated until it succeeds.

    Args:
        hub: URL of the hub, such as https://hub.example.com.
        token: One-time token; `-` reads it from standard input.
        gateway: Name of the gateway; by default the one that the token was made for.
        ca_file: PEM file that the hub's certificate chains to.
        hub_fingerprint: SHA-256 of the hub's certificate, or of the CA that it presents.
        data: Directory for keys, settings and database.
        proxy: http(s)://[user:password@]host:port; by default HTTPS_PROXY.
        no_proxy: Comma-separated hosts, domains and networks reached directly.
        proxy_ca: PEM file that an https:// proxy's certificate chains to.
    """
    from moorage.gateway.identity import DataDir, EnrollmentRecord
    from moorage.kit.net import ServerTrust, read_pem
    from moorage.link.dial import Dial
    from moorage.link.enroll import discover_hub, token_gateway
    from moorage.link.enroll import enroll as enroll_at

    if ca_file is not None and hub_fingerprint is not None:
        raise InvalidError("give either --ca-file or --hub-fingerprint")
    if token == "-":  # noqa: S105 - it says where the token is
        token = sys.stdin.readline().strip()
    directory = DataDir(data)
    proxies = _settings(data, proxy=proxy, no_proxy=no_proxy, proxy_ca=proxy_ca).proxy_settings()
    if ca_file is not None:
        trust = ServerTrust(ca_pem=read_pem(ca_file))
    elif hub_fingerprint is not None:
        trust = await discover_hub(hub, hub_fingerprint, proxies)
    else:
        trust = ServerTrust()
    name = gateway or token_gateway(token)
    dial = Dial(hub.rstrip("/"), trust, proxies)
    identity, sealing = directory.ensure_keys()
    answer = await enroll_at(
        dial, gateway=name, token=token, identity=identity, sealing=sealing, version=__version__
    )
    directory.refuse_other_installation(answer.installation)
    directory.save_enrollment(
        EnrollmentRecord(
            gateway=name,
            installation=answer.installation,
            hub=dial.url,
            hub_ca=trust.ca_pem,
            hub_certificate=trust.leaf_pem,
        ),
    )
    _say(
        f"gateway {name} is enrolled at {dial.url}\n"
        f"fingerprint: {identity.public().fingerprint}\n"
        f"start it with: moorage-gateway run --data {data}"
    )


@app.command
def run(
    *,
    data: Path = DEFAULT_DATA,
    config: Path | None = None,
    hub: str | None = None,
    proxy: str | None = None,
    no_proxy: str | None = None,
    proxy_ca: Path | None = None,
    health: str | None = None,
    database: str | None = None,
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    log_format: Literal["auto", "json", "console"] | None = None,
) -> None:
    """Run the gateway until SIGTERM or SIGINT.

    Settings come from config.yaml in the data directory, then from MOORAGE_GATEWAY_* in the
    environment, then from flags.

    Args:
        data: Directory for keys, settings and database.
        config: Another settings file.
        hub: Another URL for the hub than that of the enrolment.
        proxy: http(s)://[user:password@]host:port; by default HTTPS_PROXY.
        no_proxy: Comma-separated hosts, domains and networks reached directly.
        proxy_ca: PEM file that an https:// proxy's certificate chains to.
        health: host:port of /healthz and /metrics, or off.
        database: postgresql+psycopg://user:password@host/database, for several replicas.
        log_level: How much to log.
        log_format: JSON for machines, console for people; auto looks at the terminal.
    """
    become(
        "moorage.gateway.service",
        {
            "data": str(data),
            "config": config and str(config),
            "flags": {
                "hub": hub,
                "proxy": proxy,
                "no_proxy": _entries(no_proxy),
                "proxy_ca": proxy_ca and str(proxy_ca),
                "health": health,
                "database": database,
                "log_level": log_level,
                "log_format": log_format,
            },
        },
    )


@app.command
def fingerprint(*, data: Path = DEFAULT_DATA) -> None:
    """Print the fingerprint of this gateway's identity key, to compare with `moorage gateways`.

    Args:
        data: Directory for keys, settings and database.
    """
    from moorage.gateway.identity import DataDir

    _say(DataDir(data).identity().public().fingerprint)


@app.command
async def status(*, data: Path = DEFAULT_DATA, config: Path | None = None) -> int:
    """Print what the running gateway says of itself; exit with 1 when none runs.

    Args:
        data: Directory for keys, settings and database.
        config: Another settings file.
    """
    import httpx2

    address = _settings(data, file=config).health_address()
    if address is None:
        raise UnavailableError("the health page is off: there is nothing to ask")
    from moorage.kit.net import host_port

    host, port = address
    shown = host_port(host, port)
    async with httpx2.AsyncClient(trust_env=False, timeout=STATUS_TIMEOUT_S) as http:
        try:
            answer = await http.get(f"http://{shown}/healthz")
            found = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise UnavailableError(
                f"no gateway answers on {shown}: {error}; start it with `moorage-gateway run`"
            ) from error
    _say(json.dumps(found, indent=2))
    return 0


@app.command(name="forget-recovery-key")
async def forget_recovery_key(
    *, data: Path = DEFAULT_DATA, config: Path | None = None, database: str | None = None
) -> None:
    """Accept whatever recovery key the hub names next. Stop the gateway, all replicas, first.

    Args:
        data: Directory for keys, settings and database.
        config: Another settings file.
        database: URL of the database that replicas share.
    """
    from moorage.gateway.identity import DataDir
    from moorage.link.trust import RecoveryKeys
    from moorage.store import open_store

    directory = DataDir(data)
    directory.enrollment()
    settings = _settings(data, file=config, database=database)
    url = settings.database or directory.database_url
    store = await open_store(url, mirror=True, exclusive=True)
    try:
        await RecoveryKeys(store).forget()
    finally:
        await store.close()
    _say("forgotten: the hub's recovery key is pinned anew at the next start")


def main() -> None:
    """Run the command line; errors meant for people end with exit code 1."""
    try:
        sys.exit(app(result_action="return_int_as_exit_code_else_zero"))
    except MoorageError as error:
        sys.stderr.write(f"moorage-gateway: {error}\n")
        sys.exit(1)


def _settings(
    data: Path, *, file: Path | None = None, no_proxy: str | None = None, **flags: object
) -> "GatewayConfig":
    from moorage.gateway.config import load_config
    from moorage.kit.log import set_up_logging

    set_up_logging(level="warning")
    return load_config(data, file=file, flags={**flags, "no_proxy": _entries(no_proxy)})


def _entries(text: str | None) -> list[str] | None:
    return None if text is None else [entry.strip() for entry in text.split(",")]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
