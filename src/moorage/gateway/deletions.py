"""``moorage-gateway deletions``: see and approve, beside vCenter, what the brake holds."""

import getpass
import json
import sys
from pathlib import Path
from typing import Literal

from cyclopts import App

from moorage.controllers.gateway.brake import approve, held_deletions
from moorage.gateway import DEFAULT_DATA
from moorage.gateway.config import load_config
from moorage.gateway.identity import DataDir
from moorage.kit.clock import SystemClock
from moorage.kit.errors import InvalidError
from moorage.resources import Cluster, Machine
from moorage.store import audit, open_store

deletions = App(
    name="deletions", help="Deletions that wait for an approval on this machine: see and approve."
)


@deletions.command(name="list")
async def list_held(
    *,
    data: Path = DEFAULT_DATA,
    config: Path | None = None,
    database: str | None = None,
    output: Literal["table", "json"] = "table",
) -> None:
    """List what waits for an approval.

    Args:
        data: Directory for keys, settings and database.
        config: Another settings file.
        database: URL of the database that replicas share.
        output: table or json.
    """
    store = await open_store(_database(data, config, database), mirror=True)
    try:
        held = await held_deletions(store)
    finally:
        await store.close()
    if output == "json":
        sys.stdout.write(json.dumps([_row(one) for one in held], indent=2) + "\n")
        return
    for one in held:
        row = _row(one)
        sys.stdout.write(f"{row['kind']:<8} {row['name']:<40} asked {row['askedAt']}\n")
    if not held:
        sys.stdout.write("nothing waits for an approval\n")


@deletions.command(name="approve")
async def approve_held(
    *names: str,
    all: bool = False,  # noqa: A002 - the flag's name
    data: Path = DEFAULT_DATA,
    config: Path | None = None,
    database: str | None = None,
) -> None:
    """Let held deletions go on; the running gateway takes it up within seconds.

    `--all` approves whatever is held now, and begins to count anew. With names, all else stays
    held.

    Examples: `moorage-gateway deletions approve default/web` or
    `moorage-gateway deletions approve --all`.

    Args:
        names: project/name of clusters or machines, as `deletions list` shows them.
        all: Everything that is held now.
        data: Directory for keys, settings and database.
        config: Another settings file.
        database: URL of the database that replicas share.
    """
    if bool(names) == all:
        raise InvalidError("give either the names of what may be deleted, or --all")
    store = await open_store(_database(data, config, database), mirror=True)
    try:
        held = {_row(one)["name"]: one for one in await held_deletions(store)}
        unknown = sorted(set(names) - held.keys())
        if unknown:
            raise InvalidError(
                f"not held: {', '.join(unknown)}; see `moorage-gateway deletions list`"
            )
        chosen = [held[name] for name in (names or held)]
        async with store.transaction() as inside:
            now = SystemClock().now()
            await approve(
                store,
                [one.metadata.uid for one in chosen],
                now,
                release=len(chosen) == len(held),
            )
            for one in chosen:
                await audit.append(
                    inside,
                    actor=f"local/{getpass.getuser()}",
                    source="",
                    verb="approveDeletion",
                    kind=one.kind,
                    project=one.metadata.project,
                    name=one.metadata.name,
                )
    finally:
        await store.close()
    for one in chosen:
        sys.stdout.write(f"approved: {one.kind} {_row(one)['name']}\n")


def _database(data: Path, config: Path | None, database: str | None) -> str:
    directory = DataDir(data)
    directory.enrollment()  # says what to do where no gateway is
    settings = load_config(data, file=config, flags={"database": database})
    return settings.database or directory.database_url


def _row(one: Cluster | Machine) -> dict[str, str]:
    asked = one.metadata.deletion_requested_at
    return {
        "kind": one.kind,
        "name": f"{one.metadata.project}/{one.metadata.name}",
        "askedAt": asked.isoformat(timespec="seconds") if asked else "",
    }
