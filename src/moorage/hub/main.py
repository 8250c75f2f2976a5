"""``moorage-hub``: run a hub, back it up, restore it.

What a command works with is imported inside it: ``run`` becomes another process at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.config import Env, Yaml
from cyclopts.validators import Number

from moorage import __version__
from moorage.hub.listen import DATABASE, REQUESTS_PER_MINUTE, Listen
from moorage.kit.errors import FieldFault, InvalidError, MoorageError
from moorage.kit.process import become

DEFAULT_DATA = Path("/var/lib/moorage-hub")

app = App(
    name="moorage-hub",
    help="The management plane of Moorage.",
    version=__version__,
    config=[Env("MOORAGE_HUB_", command=False)],
)

Data = Annotated[Path, Parameter(help="Directory of database, CA and keys.")]


@app.command
def run(
    *,
    data: Data = DEFAULT_DATA,
    listen: str = "0.0.0.0:443",
    database: str | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    name: Annotated[list[str] | None, Parameter(negative=())] = None,
    public_url: str | None = None,
    trusted_proxy: Annotated[list[str] | None, Parameter(negative=())] = None,
    admin_password_file: Path | None = None,
    smtp: str | None = None,
    smtp_from: str | None = None,
    smtp_password_file: Path | None = None,
    smtp_ca: Path | None = None,
    alert_network: Annotated[list[str] | None, Parameter(negative=())] = None,
    audit_days: Annotated[int, Parameter(validator=Number(gte=0, lte=36500))] = 365,
    requests_per_minute: Annotated[int, Parameter(validator=Number(gte=0))] = REQUESTS_PER_MINUTE,
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    log_format: Literal["auto", "json", "console"] = "auto",
) -> None:
    """Run the hub.

    Settings are also taken from MOORAGE_HUB_* and from the YAML file that --config names.

    Args:
        data: Directory of database, CA and keys.
        listen: Address and port to listen on.
        database: URL; by default SQLite in the data directory.
        tls_cert: Certificate chain (PEM); without it the hub makes its own CA.
        tls_key: Private key of the certificate.
        name: Host name or address by which clients reach the hub; may be repeated.
        public_url: URL for commands that the hub prints; by default from name and port.
        trusted_proxy: Address or network whose X-Forwarded-For is believed; may be repeated.
        admin_password_file: File with admin's set-up password, which the first start reads; without
            it that makes one and writes it into the data directory.
        smtp: Mail server for alerts: smtp://user@host:587 (STARTTLS) or smtps://user@host:465.
        smtp_from: Address that mails are of.
        smtp_password_file: File with the password of the mail server's user.
        smtp_ca: CA bundle (PEM) of the mail server, instead of the system's.
        alert_network: Network that webhooks may reach though it is not public; may be repeated.
        audit_days: How long audit records are kept at least; 0: for ever.
        requests_per_minute: Of one user, and of one API key; 0: no limit.
        log_level: How much to log.
        log_format: JSON for machines, console for people; auto looks at the terminal.
    """
    if (tls_cert is None) != (tls_key is None):
        missing = "tls-key" if tls_key is None else "tls-cert"
        raise InvalidError(
            "a certificate needs its key", (FieldFault(missing, "is missing: give both or none"),)
        )
    at = Listen.parse(listen)
    names = list(name or ["localhost"])
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    host = f"[{names[0]}]" if ":" in names[0] else names[0]
    url = public_url or (f"https://{host}" if at.port == 443 else f"https://{host}:{at.port}")  # noqa: PLR2004
    become(
        "moorage.hub.service",
        {
            "data": str(data),
            "listen": at,
            "database": database or sqlite_url(data),
            "tls_cert": tls_cert and str(tls_cert),
            "tls_key": tls_key and str(tls_key),
            "names": names,
            "public_url": url.rstrip("/"),
            "trusted_proxies": list(trusted_proxy or []),
            "admin_password_file": admin_password_file and str(admin_password_file),
            "audit_days": audit_days,
            "requests_per_minute": requests_per_minute,
            "smtp": smtp,
            "smtp_from": smtp_from,
            "smtp_password_file": smtp_password_file and str(smtp_password_file),
            "smtp_ca": smtp_ca and str(smtp_ca),
            "alert_networks": list(alert_network or []),
            "log_level": log_level,
            "log_format": log_format,
        },
    )


@app.command
def backup(file: Path, *, data: Data = DEFAULT_DATA, database: str | None = None) -> None:
    """Write database, CA and keys to a file; the hub may be running.

    On PostgreSQL this calls pg_dump. Name that database by MOORAGE_HUB_DATABASE: others can read a
    command line.

    Args:
        database: URL of a PostgreSQL; by default the SQLite file in the data directory.
        data: Directory of database, CA and keys.
        file: What to write (tar.gz, readable by its owner only). Keep it like a key.
    """
    from moorage.hub.backup import back_up
    from moorage.kit.clock import SystemClock

    back_up(data, file, SystemClock(), _postgres(database))
    _say(f"written: {file}")


@app.command(name="restore")
def restore_(file: Path, *, data: Data = DEFAULT_DATA, database: str | None = None) -> None:
    """Unpack a backup into an empty data directory. All sessions end.

    Args:
        database: URL of an empty PostgreSQL database, for a backup that was made on one.
        data: Directory to make, or an empty one.
        file: A backup.
    """
    from moorage.hub.backup import restore

    incarnation = restore(file, data, _postgres(database))
    _say(f"restored as incarnation {incarnation}; start it with: moorage-hub run --data {data}")


@app.command
def migrate(*, data: Data = DEFAULT_DATA, database: str | None = None) -> None:
    """Bring the database up to date and stop; ``run`` does it too.

    Args:
        data: Directory of database, CA and keys.
        database: URL; by default SQLite in the data directory.
    """
    import anyio

    from moorage.store import open_store

    async def open_and_close() -> None:
        store = await open_store(database or sqlite_url(data), exclusive=True)
        await store.close()

    anyio.run(open_and_close)
    _say("the database is up to date")


@app.command
def reset_admin(*, data: Data = DEFAULT_DATA, database: str | None = None) -> None:
    """Give `admin` a new set-up password, for whoever lost it; the hub must be stopped.

    Args:
        data: Directory of database, CA and keys.
        database: URL; by default SQLite in the data directory.
    """
    import anyio

    from moorage.hub.context import HubSettings
    from moorage.hub.start import open_hub, reset_administrator
    from moorage.store import open_store

    settings = HubSettings(data=data)

    async def reset() -> None:
        store = await open_store(database or sqlite_url(data), exclusive=True)
        try:
            await reset_administrator(await open_hub(store, settings))
        finally:
            await store.close()

    anyio.run(reset)
    _say(f"admin's password is in {settings.initial_password_file}: log in and change it")


@app.command
def openapi() -> None:
    """Print the OpenAPI document of the REST API."""
    sys.stdout.write(openapi_text())


def _postgres(database: str | None) -> str | None:
    """Return the URL if it is PostgreSQL's: SQLite's file is known by its directory."""
    return database if database and database.startswith("postgresql") else None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def sqlite_url(data: Path) -> str:
    """Return the URL of the database in a data directory."""
    return f"sqlite:///{(data / DATABASE).absolute()}"


def openapi_text() -> str:
    """Return the OpenAPI document as it is committed."""
    from moorage.hub.app import bare_app
    from moorage.kit.clock import SystemClock

    document: dict[str, Any] = bare_app(SystemClock()).openapi()
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Run the command line; errors meant for people end with exit code 1."""
    try:
        tokens, config = _config_file(sys.argv[1:])
        if config is not None:
            app["run"].config = (*app.config, config)
        sys.exit(app(tokens, result_action="return_int_as_exit_code_else_zero"))
    except MoorageError as error:
        sys.stderr.write(f"moorage-hub: {error}\n")
        sys.exit(1)


def _config_file(tokens: list[str]) -> tuple[list[str], Yaml | None]:
    """Take ``--config FILE`` out of the command line: its keys are the flags of ``run``."""
    for index, token in enumerate(tokens):
        flag, equals, value = token.partition("=")
        if flag != "--config":
            continue
        rest = tokens[:index] + tokens[index + (1 if equals else 2) :]
        path = value if equals else next(iter(tokens[index + 1 : index + 2]), "")
        if not Path(path).is_file():
            raise InvalidError(f"there is no configuration file {path!r}")
        return rest, Yaml(path, must_exist=True, use_commands_as_keys=False)
    return tokens, None
