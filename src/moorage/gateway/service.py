"""The gateway's process; ``moorage-gateway run`` becomes it."""

import sys
from pathlib import Path
from typing import Any

from moorage.kit.errors import MoorageError
from moorage.kit.process import exit_code, hidden, settings


def main() -> None:
    """Work until told to stop; an error meant for people ends with exit code 1, or 65."""
    try:
        _run(settings())
    except MoorageError as error:
        sys.stderr.write(f"moorage-gateway: {error}\n")
        sys.exit(exit_code(error))


def load() -> None:
    """Load all modules while those are out of sight that we do not use.

    structlog takes up greenlet, which only PostgreSQL's driver needs, and that loads it later;
    httpcore2 takes up h2 wherever it is installed (2 MiB); nothing here speaks HTTP/2. pyVmomi
    loads the types of all of VMware's services (6 MiB); we speak to vCenter, and load those of its
    storage policies when somebody names one (``moorage.vsphere.policies``).
    """
    others = [f"pyVmomi._typeinfo_{name}" for name in ("eam", "pbm", "sms", "vslm", "vsanhealth")]
    with hidden("rich", "greenlet", "h2", *others):
        import httpcore2  # noqa: F401 - else httpx2 loads it with the first client

        import moorage.gateway.app  # noqa: F401


def _run(given: dict[str, Any]) -> None:
    load()
    import anyio

    from moorage.gateway.app import run_gateway
    from moorage.gateway.config import load_config
    from moorage.gateway.identity import DataDir
    from moorage.kit.log import set_up_logging

    data, file = Path(given["data"]), given["config"]
    config = load_config(data, file=Path(file) if file else None, flags=given["flags"])
    set_up_logging(level=config.log_level, log_format=config.log_format)
    anyio.run(run_gateway, DataDir(data), config)


if __name__ == "__main__":
    main()
