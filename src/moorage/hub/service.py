"""The hub's process; ``moorage-hub run`` becomes it, with settings that it has checked."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from moorage.kit.errors import MoorageError
from moorage.kit.process import exit_code, hidden, settings


def main() -> None:
    """Serve until told to stop; an error meant for people ends with exit code 1, or 65."""
    try:
        _run(settings())
    except MoorageError as error:
        sys.stderr.write(f"moorage-hub: {error}\n")
        sys.exit(exit_code(error))


def load() -> None:
    """Load all modules while what structlog would take up, and we do not use, is out of sight."""
    with hidden("rich", "greenlet"):
        import moorage.hub.serve  # noqa: F401


def _run(given: dict[str, Any]) -> None:
    load()
    import anyio

    from moorage.hub.alerting.settings import ways_of
    from moorage.hub.listen import Listen
    from moorage.hub.serve import TLSChoice, serve
    from moorage.kit.clock import SystemClock
    from moorage.kit.log import set_up_logging

    set_up_logging(level=given["log_level"], log_format=given["log_format"])
    data = Path(given["data"])
    ways = ways_of(given)
    certificate, key = given["tls_cert"], given["tls_key"]
    files = (Path(certificate), Path(key)) if certificate and key else None
    password = given["admin_password_file"]
    anyio.run(
        lambda: serve(
            data=data,
            listen=Listen(*given["listen"]),
            database=given["database"],
            tls=TLSChoice(data, given["names"], files, SystemClock()),
            public_url=given["public_url"],
            proxies=given["trusted_proxies"],
            admin_password_file=Path(password) if password else None,
            ways=ways,
            audit_kept_for=timedelta(days=given["audit_days"]) if given["audit_days"] else None,
            requests_per_minute=given["requests_per_minute"],
        )
    )


if __name__ == "__main__":
    main()
