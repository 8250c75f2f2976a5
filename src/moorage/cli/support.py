"""``moorage support-bundle``: what somebody who helps needs, without secrets."""

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from moorage import __version__
from moorage.cli.say import examples, say
from moorage.kit.clock import SystemClock
from moorage.kit.errors import InvalidError, MoorageError, UnauthenticatedError

if TYPE_CHECKING:
    from moorage.client import Api

app = App()

_KINDS = (
    "Assignment",
    "CloudAccount",
    "Cluster",
    "Gateway",
    "IPAddress",
    "IPPool",
    "Machine",
    "NodePool",
    "Operation",
    "Plan",
    "Template",
    "TemplateReplica",
)


@app.command(help_epilogue=examples("moorage support-bundle --file moorage-support.tar.gz"))
async def support_bundle(
    *,
    file: Path = Path("moorage-support.tar.gz"),
) -> None:
    """Collect resources, events and versions into one file, redacted, for somebody who helps.

    Args:
        file: Where to write it; only you can read it.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import project_path
    from moorage.resources import KINDS
    from moorage.resources.meta import Scope

    context = Context.current()
    versions = {"moorage": __version__, "python": sys.version, "platform": sys.platform}
    files: dict[str, bytes] = {"cli.json": _json(versions)}
    async with context.api() as api:
        calls = {
            "installation.json": "/v1/installation",
            "whoami.json": "/v1/whoami",
            "events.json": f"{project_path(context.project)}/events?limit=500",
            "hub-events.json": "/v1/events?limit=500",
        }
        for name, path in calls.items():
            files[name] = await _call(api, path)
        for kind in (KINDS[name] for name in _KINDS):
            project = "" if kind.scope is Scope.HUB else context.project
            try:
                items = [item.document() for item in await api.list(kind, project=project)]
                files[f"{kind.plural}.json"] = _json(items)
            except UnauthenticatedError:
                raise
            except MoorageError as error:
                files[f"{kind.plural}.json"] = _json({"error": str(error)})
    _write(file, files)
    say(f"written to {file}: {len(files)} files. Look inside before you pass it on")


def _write(file: Path, files: dict[str, bytes]) -> None:
    try:
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidError(f"{file} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as bundle:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"moorage-support/{name}")
            info.size, info.mode = len(data), 0o600
            info.mtime = int(SystemClock().now().timestamp())
            bundle.addfile(info, io.BytesIO(data))


async def _call(api: "Api", path: str) -> bytes:
    try:
        return _json(await api.call("GET", path))
    except UnauthenticatedError:
        raise
    except MoorageError as error:
        return _json({"error": str(error)})


def _json(document: object) -> bytes:
    from moorage.kit.redact import redact

    return json.dumps(redact(document), indent=2, default=str).encode()
