"""Two replicas of one gateway as processes, on one PostgreSQL, with hub and vCenter."""

import contextlib
import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import psycopg

from tests.faults import children
from tests.faults.children import Child
from tests.faults.site import Site, StuckError, _free_port
from tests.replicas.stops import Stop, install

PATIENCE_S = 120.0
_LOOK_S = 0.1
_METRIC = re.compile(
    r'^moorage_reconcile_seconds_count\{controller="([a-z]+)".*\} ([0-9.]+)$', re.MULTILINE
)
_LOST = re.compile(r"^moorage_leases_lost_total\{.*\} ([0-9.]+)$", re.MULTILINE)


class Replica(Child):
    """One of the processes; it is not started again by itself."""

    def __init__(self, name: str, data: Path) -> None:
        super().__init__(name, data)
        self.stop_file = data.parent / f"{name}.stop"
        self.stops = Stop(self.stop_file)
        self._health = _free_port()

    def start(self) -> None:
        """Start it."""
        self._process = children._FORKS.Process(
            target=_replica,
            args=(self.data, self._health, self.data.parent / f"{self.name}.log", self.stop_file),
            daemon=True,
        )
        self._process.start()

    def revive(self) -> bool:
        """Leave it dead."""
        return False

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def health(self) -> dict[str, Any]:
        """Return what its health page says."""
        found: dict[str, Any] = json.loads(self._page("healthz"))
        return found

    def holds_link(self) -> bool:
        """Tell whether it holds the link and is connected, by its own account."""
        try:
            link = self.health()["link"]
        except OSError:
            return False
        return bool(link["held"] and link["state"] == "Connected")

    def passes(self) -> dict[str, int]:
        """Return how many passes of each controller it has run."""
        counts: dict[str, int] = {}
        for controller, count in _METRIC.findall(self._page("metrics")):
            counts[controller] = counts.get(controller, 0) + int(float(count))
        return counts

    def leases_lost(self) -> int:
        """Return how many of its passes ended because it had lost their lease."""
        return sum(int(float(count)) for count in _LOST.findall(self._page("metrics")))

    def _page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/{path}", timeout=5) as page:
            text: str = page.read().decode()
        return text


def _replica(data: Path, health: int, log: Path, stop: Path) -> None:
    import sys  # noqa: PLC0415 - in the child only

    import anyio  # noqa: PLC0415

    from moorage.gateway.app import run_gateway  # noqa: PLC0415
    from moorage.gateway.config import load_config  # noqa: PLC0415
    from moorage.gateway.identity import DataDir  # noqa: PLC0415
    from moorage.kit.log import set_up_logging  # noqa: PLC0415

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = sys.stderr = os.fdopen(descriptor, "w", buffering=1)
    set_up_logging(level="info", log_format="json")
    install(Stop(stop))
    config = load_config(data, flags={"health": f"127.0.0.1:{health}"})
    anyio.run(run_gateway, DataDir(data), config)


@dataclass
class ReplicaSite(Site):
    """A site whose gateway is two processes, ``a`` and ``b``; ``a`` starts first."""

    database: ClassVar[str] = ""

    @classmethod
    @contextlib.contextmanager
    def on(cls, database: str, folder: Path) -> Iterator[Self]:
        """Start all; kill all at the end."""
        here: type[Self] = type("Here", (cls,), {"database": database})
        with here.start(folder) as site:
            assert isinstance(site, here)
            try:
                yield site
            finally:
                site.b.kill()

    @property
    def a(self) -> Replica:
        """The replica that was enrolled."""
        assert isinstance(self.gateway, Replica)
        return self.gateway

    @property
    def b(self) -> Replica:
        """The replica whose files are a copy of the other's."""
        return self._b

    def _enroll(self, command: list[str]) -> None:
        """Enrol once; the second replica gets a copy of what came of it."""
        super()._enroll(command)
        first = self.gateway.data
        settings = json.loads((first / "config.yaml").read_text())
        (first / "config.yaml").write_text(json.dumps({**settings, "database": self.database}))
        second = first.with_name("replica-b")
        shutil.copytree(first, second)
        self.gateway = Replica("replica-a", first)
        self._b = Replica("replica-b", second)

    def wait(self, claim: Callable[[], Any], what: str) -> float:
        """Wait until a claim holds; return the seconds that it took."""
        began = time.monotonic()
        while not claim():
            if time.monotonic() - began > PATIENCE_S:
                raise StuckError(f"{what}: not so after {PATIENCE_S:.0f} s")
            time.sleep(_LOOK_S)
        return time.monotonic() - began

    def query(self, text: str) -> list[Any]:
        """Read the replicas' database."""
        with psycopg.connect(self.database.replace("+psycopg", "")) as connection:
            return connection.execute(text.encode()).fetchall()

    def machines(self) -> dict[str, str]:
        """Return name and UID of the machines that the gateway knows."""
        return dict(self.query("SELECT name, uid FROM resource WHERE kind = 'Machine'"))

    def vms(self) -> dict[str, str]:
        """Return UID and name of the VMs that the simulator has, templates left out."""
        return {vm["instanceUuid"]: vm["name"] for vm in self.listed()}

    def rows(self, side: Child) -> set[str]:
        """Return kind and name of all that is stored; for what the site's start waits for."""
        return {f"{kind} {name}" for kind, name in self.query("SELECT kind, name FROM resource")}

    def status(self, name: str) -> dict[str, Any] | None:
        """Return a cluster's status as the gateway has it."""
        found = self.query(
            f"SELECT status FROM resource WHERE kind = 'Cluster' AND name = '{name}'"  # noqa: S608
        )
        return json.loads(found[0][0]) if found else None

    def is_ready(self, name: str, nodes: int) -> bool:
        """Tell whether a cluster is Ready with so many nodes, and all have their VM."""
        status = self.status(name) or {}
        ready = any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in status.get("conditions", ())
        )
        return ready and status.get("nodesReady") == nodes
