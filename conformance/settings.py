"""What a run needs to know: from the command line and, for credentials, from the environment."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moorage.resources.account import Trust
from moorage.vsphere import Target

_ENV = "MOORAGE_VCENTER_"


@dataclass(frozen=True)
class Settings:
    """One run."""

    server: str
    username: str
    password: str = field(repr=False)
    trust: Trust
    target: Target
    reader: tuple[str, str] | None = field(default=None, repr=False)
    """User and password of somebody who may only read, if there is one."""
    power_on: bool = False
    only: tuple[str, ...] = ()
    output: Path | None = None


def parse(words: list[str], env: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; ends the process with 2, and all faults at once, for wrong ones."""
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description="Check in one folder of a vCenter what Moorage assumes of it.",
        epilog=f"Credentials come from {_ENV}USER and {_ENV}PASSWORD_FILE (or {_ENV}PASSWORD); "
        f"trust from {_ENV}CA_FILE or {_ENV}SHA256, else the system's; a user who may only read, "
        f"if there is one, from {_ENV}READER and {_ENV}READER_PASSWORD_FILE (or _PASSWORD).",
    )
    asked = parser.add_argument
    asked("--vcenter", required=True, help="host or host:port")
    asked("--folder", required=True, help="inventory path of a VM folder: /DATACENTER/vm/…")
    asked(
        "--template", required=True, help="path below /DATACENTER/vm; one with a snapshot is best"
    )
    asked("--compute-cluster", required=True, help="name or inventory path")
    asked("--datastore", required=True, help="name or inventory path")
    asked("--network", required=True, help="name or inventory path of a port group")
    asked("--power-on", action="store_true", help="also check what needs a VM that runs")
    asked("--only", action="append", default=[], metavar="ID", help="only this one; repeatable")
    asked("--json", type=Path, metavar="FILE", help="write the results there, too")
    given = parser.parse_args(words)
    faults: list[str] = []
    datacenter, _, folder = given.folder.strip("/").partition("/vm/")
    if not folder:
        faults.append(f"--folder {given.folder}: give its path, such as /dc1/vm/conformance")
    user = env.get(f"{_ENV}USER", "")
    if not user:
        faults.append(f"{_ENV}USER is not set")
    password = _secret(env, "PASSWORD", faults)
    reader = env.get(f"{_ENV}READER")
    trust = _trust(env, faults)
    reading = (reader, _secret(env, "READER_PASSWORD", faults)) if reader else None
    if faults:
        parser.error("\n  ".join(["", *faults]))
    return Settings(
        server=given.vcenter,
        username=user,
        password=password,
        trust=trust,
        target=Target(
            datacenter=datacenter,
            folder=folder,
            template=given.template,
            compute_cluster=given.compute_cluster,
            datastore=given.datastore,
            network=given.network,
            path="",
        ),
        reader=reading,
        power_on=given.power_on,
        only=tuple(given.only),
        output=given.json,
    )


def _secret(env: Mapping[str, str], name: str, faults: list[str]) -> str:
    if file := env.get(f"{_ENV}{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            faults.append(f"{_ENV}{name}_FILE: {error}")
            return ""
    if not env.get(_ENV + name):
        faults.append(f"neither {_ENV}{name}_FILE nor {_ENV}{name} is set")
    return env.get(_ENV + name, "")


def _trust(env: Mapping[str, str], faults: list[str]) -> Trust:
    ca_file, sha256 = env.get(f"{_ENV}CA_FILE"), env.get(f"{_ENV}SHA256")
    try:
        bundle = Path(ca_file).read_text(encoding="utf-8") if ca_file else None
        return Trust(ca_bundle=bundle, sha256=sha256 or None)
    except (OSError, ValueError) as error:
        faults.append(f"{_ENV}CA_FILE or {_ENV}SHA256: {error}")
        return Trust()
