"""The whole product as processes that may die: hub, gateway, CLI, vCenter and thin guests."""

import contextlib
import io
import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from moorage.cli.main import run
from moorage_lab.api import VCenterProcess, cluster_document
from tests.faults.children import Child

GATEWAY = "site-a"
FOLDER = "/dc1/vm/clusters"
"""Where clusters' VMs are put."""
START_S = 120.0
_LOOK_S = 0.05


class FaultRunError(Exception):
    """Something that the run itself needs did not work."""


class StuckError(Exception):
    """What must become so did not, though nothing was broken any more."""


@dataclass
class Site:
    """One installation in one folder."""

    folder: Path
    vcenter: VCenterProcess
    hub: Child
    gateway: Child
    port: int
    on_look: Callable[[], None] = lambda: None
    """Called at each look, for what happens at its moment."""

    @classmethod
    @contextlib.contextmanager
    def start(cls, folder: Path, *arguments: str) -> Iterator["Site"]:
        """Start all, enrol the gateway, connect the account; kill all at the end.

        ``arguments`` are more ones of lab-vcenter.
        """
        with VCenterProcess.start(guests="thin", arguments=arguments) as vcenter:
            port = _free_port()
            data = {name: folder / name for name in ("hub", "gateway")}
            for path in data.values():
                path.mkdir(mode=0o700)
            site = cls(
                folder,
                vcenter,
                Child("hub", data["hub"], port),
                Child("gateway", data["gateway"]),
                port,
            )
            try:
                site._set_up()
                yield site
            finally:
                site.gateway.kill()
                site.hub.kill()

    def _set_up(self) -> None:
        brake = {"deletionBrake": {"clustersPerHour": 100_000, "machinesPerHour": 1_000_000}}
        (self.gateway.data / "config.yaml").write_text(json.dumps(brake))
        password = self.folder / "vcenter-password"
        password.write_text(self.vcenter.password)
        self.hub.start()
        ready = self.hub.data / "initial-admin-password"
        self.until(ready.exists, "the hub's first start", START_S)
        self.until(
            lambda: self._moorage(
                "login", f"https://127.0.0.1:{self.port}",
                "--ca-file", str(self.hub.data / "ca.crt"),
                "--password-file", str(ready),
                "--recovery-key-file", str(self.folder / "recovery.pem"),
            )[0] == 0,
            "login", START_S,
        )  # fmt: skip
        command = self.moorage("-o", "table", "gateways", "add", GATEWAY).split()
        self._enroll(command)
        self.gateway.start()
        self.moorage(
            "accounts", "add", "lab", "--gateway", GATEWAY, "--server", self.vcenter.address,
            "--username", self.vcenter.user, "--password-file", str(password),
            "--ca-file", str(self.vcenter.ca_file), "--wait",
        )  # fmt: skip
        pool = self.vcenter.guests.pool()
        self.moorage(
            "ippools", "add", "nodes", "--gateway", GATEWAY, "--start", pool["start"],
            "--end", pool["end"], "--prefix", str(pool["prefix"]), "--router", pool["router"],
            # Short: each life sees addresses held back, given nevertheless, and forgotten.
            "--hold-off-s", "2",
        )  # fmt: skip
        # A witness that looks earlier would take what is still on its way for something left.
        self.until(
            lambda: any(row.startswith("Assignment ippool-") for row in self.rows(self.gateway)),
            "the pool is at the gateway", START_S,
        )  # fmt: skip

    def _enroll(self, command: list[str]) -> None:
        from moorage.gateway.main import app  # noqa: PLC0415 - heavy, and needed once

        words = command[command.index("enroll") :]
        with contextlib.redirect_stdout(io.StringIO()):
            app([*words, "--data", str(self.gateway.data)], result_action="return_value")

    # What a user does

    def moorage(self, *words: str) -> str:
        """Run the CLI; it must succeed."""
        code, out, err = self._moorage(*words)
        if code != 0:
            raise FaultRunError(f"moorage {' '.join(words)}: {err}")
        return out

    def ask(self, *words: str) -> None:
        """Run a command of the CLI that may be repeated, until the hub takes it."""
        self.until(lambda: self.can(*words), " ".join(words), START_S)

    def can(self, *words: str) -> bool:
        """Run a command of the CLI once; tell whether it succeeded."""
        return self._moorage(*words)[0] == 0

    def apply(self, name: str, workers: int) -> None:
        """Ask for a cluster of one control plane and some workers."""
        file = self.folder / f"{name}.yaml"
        document = cluster_document(name, workers=workers)
        file.write_text(yaml.safe_dump(document))
        self.ask("clusters", "apply", "-f", str(file))

    def _moorage(self, *words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        os.environ["MOORAGE_CONFIG"] = str(self.folder / "cli.yaml")
        before, sys.stdin = sys.stdin, io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(list(words))
        finally:
            sys.stdin = before
        return code, out.getvalue(), err.getvalue()

    # What is so

    def until(self, claim: Callable[[], Any], what: str, patience_s: float) -> Any:
        """Wait until a claim holds, letting dead processes come back; return what it returned."""
        end = time.monotonic() + patience_s
        while True:
            self.on_look()
            self.hub.revive()
            self.gateway.revive()
            if found := claim():
                return found
            if time.monotonic() > end:
                raise StuckError(f"{what}: not so after {patience_s:.0f} s")
            time.sleep(_LOOK_S)

    def rows(self, side: Child) -> set[str]:
        """Return kind and name of all that one side's database holds, and its queue's keys."""
        rows = _read(side, "SELECT kind, name FROM resource")
        queue = _read(side, "SELECT controller, key FROM work")
        return {f"{kind} {name}" for kind, name in rows} | {
            f"queue {controller} {key}" for controller, key in queue
        }

    def cluster(self, name: str) -> tuple[int, dict[str, Any]] | None:
        """Return generation and status of a cluster, as the hub has them."""
        query = "SELECT generation, status FROM resource WHERE kind = 'Cluster' AND name = ?"
        for generation, status in _read(self.hub, query, name):
            return generation, json.loads(status)
        return None

    def conditions(self, kind: str, of_type: str) -> list[dict[str, Any]]:
        """Return a condition of each resource of a kind, as the gateway has it; unset ones not."""
        query = "SELECT status FROM resource WHERE kind = ?"
        return [
            condition
            for (status,) in _read(self.gateway, query, kind)
            for condition in json.loads(status).get("conditions", ())
            if condition["type"] == of_type
        ]

    def claims(self) -> set[str]:
        """Return the names of the addresses that the gateway has claimed."""
        query = "SELECT name FROM resource WHERE kind = 'IPAddress'"
        return {name for (name,) in _read(self.gateway, query)}

    def held(self) -> set[str]:
        """Return the names of the addresses that somebody holds."""
        query = "SELECT name, spec FROM resource WHERE kind = 'IPAddress'"
        return {name for name, spec in _read(self.gateway, query)
                if json.loads(spec).get("releasedAt") is None}  # fmt: skip

    def machines(self) -> dict[str, str]:
        """Return name and UID of the machines that the gateway knows."""
        query = "SELECT name, uid FROM resource WHERE kind = 'Machine'"
        return dict(_read(self.gateway, query))

    def listed(self) -> list[dict[str, Any]]:
        """Return the VMs that the simulator has, templates left out."""
        return [vm for vm in self.vcenter.control.inventory()["vms"] if not vm["template"]]

    def nodes(self) -> dict[str, str]:
        """Return UID and moref of the VMs that are machines the gateway knows."""
        ours = set(self.machines().values())
        return {vm["instanceUuid"]: vm["moref"]
                for vm in self.listed() if vm["instanceUuid"] in ours}  # fmt: skip

    def template(self) -> str:
        """Return the moref of the template."""
        (found,) = (vm for vm in self.vcenter.control.inventory()["vms"] if vm["template"])
        return str(found["moref"])

    def a_host(self, pick: float) -> str:
        """Return the moref of a host: the same ``pick``, from 0 to 1, the same host."""
        hosts = sorted(host["moref"] for host in self.vcenter.control.inventory()["hosts"])
        return str(hosts[int(pick * len(hosts))])


def _read(side: Child, query: str, *values: str) -> list[Any]:
    file = side.data / f"{side.name}.db"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port
