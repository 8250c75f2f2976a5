"""``moorage support-bundle``: what somebody who helps needs, without secrets."""

import io
import json
import os
import tarfile
import time
from pathlib import Path

from moorage import __version__
from moorage.cli.context import Context, stderr
from moorage.client import Api
from moorage.kit.errors import MoorageError
from moorage.kit.redact import redact
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    Gateway,
    IPAddress,
    IPPool,
    Machine,
    NodePool,
    Operation,
)
from moorage.resources.meta import Scope

_KINDS = (
    Assignment,
    CloudAccount,
    Cluster,
    Gateway,
    IPAddress,
    IPPool,
    Machine,
    NodePool,
    Operation,
)


async def support_bundle(file: Path = Path("moorage-support.tar.gz")) -> None:
    """Collect resources, events and versions into one file, redacted, for somebody who helps.

    Args:
        file: Where to write it; only you can read it.
    """
    context = Context.current()
    files: dict[str, bytes] = {"cli.json": _json({"version": __version__})}
    async with context.api() as api:
        calls = {
            "installation.json": "/v1/installation",
            "whoami.json": "/v1/whoami",
            "events.json": f"/v1/projects/{context.project}/events",
        }
        for name, path in calls.items():
            files[name] = await _call(api, path)
        for kind in _KINDS:
            project = "" if kind.scope is Scope.HUB else context.project
            try:
                items = [item.document() for item in await api.list(kind, project=project)]
                files[f"{kind.plural}.json"] = _json(items)
            except MoorageError as error:
                files[f"{kind.plural}.json"] = _json({"error": str(error)})
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as bundle:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"moorage-support/{name}")
            info.size, info.mtime, info.mode = len(data), int(time.time()), 0o600
            bundle.addfile(info, io.BytesIO(data))
    stderr().print(f"written to {file}: {len(files)} files. Look inside before you pass it on")


async def _call(api: Api, path: str) -> bytes:
    try:
        return _json(await api.call("GET", path))
    except MoorageError as error:
        return _json({"error": str(error)})


def _json(document: object) -> bytes:
    return json.dumps(redact(document), indent=2, default=str).encode()
