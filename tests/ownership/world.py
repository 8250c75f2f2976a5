"""One hub, two gateways, one strict vCenter with thin guests: all as processes that may die."""

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.vsphere.types import OWNER_KEY
from tests.faults.children import Child
from tests.faults.site import Site

OLD, NEW = "site-a", "site-b"
PATIENCE_S = 60.0
CLUSTER_KINDS = {"Cluster", "NodePool", "Machine", "IPAddress", "ClusterKeys"}


@dataclass
class Pair:
    """A site with one gateway more."""

    site: Site
    new: Child

    @classmethod
    @contextlib.contextmanager
    def start(cls, folder: Path) -> Iterator["Pair"]:
        """Start all; the old gateway has account and pool, the new one has nothing."""
        with Site.start(folder) as site:
            new = Child("gateway-b", folder / "gateway-b")
            new.data.mkdir(mode=0o700)
            pair = cls(site, new)
            try:
                brake = (site.gateway.data / "config.yaml").read_text()
                (new.data / "config.yaml").write_text(brake)
                pair.enrol(site.moorage("-o", "table", "gateways", "add", NEW), new)
                new.start()
                site.on_look = pair.keep_alive
                pair.until(lambda: pair.gateway(NEW)["status"]["connected"], "two gateways")
                pair.until(lambda: pair.gateway(OLD)["status"]["connected"], "two gateways")
                yield pair
            finally:
                new.kill()

    @property
    def old(self) -> Child:
        """The gateway that the site began with."""
        return self.site.gateway

    @property
    def recovery_key(self) -> str:
        """File with the installation's recovery key."""
        return str(self.site.folder / "recovery.pem")

    def enrol(self, told: str, gateway: Child) -> None:
        """Run the command that a token came with."""
        from moorage.gateway.main import app  # noqa: PLC0415 - heavy, and needed once

        words = told.split()
        with contextlib.redirect_stdout(io.StringIO()):
            app(
                [*words[words.index("enroll") :], "--data", str(gateway.data)],
                result_action="return_value",
            )

    def keep_alive(self) -> None:
        """Start the new gateway again if it has died; the site does the same for all else."""
        self.new.revive()

    def until(self, claim: Any, what: str, patience_s: float = PATIENCE_S) -> Any:
        """Wait until a claim holds; see ``Site.until``."""
        return self.site.until(claim, what, patience_s)

    # What is so

    def gateway(self, name: str) -> Any:
        """Return a Gateway as the hub has it."""
        return self.stored("Gateway", name)

    def cluster(self, name: str) -> Any:
        """Return a Cluster as the hub has it."""
        return self.stored("Cluster", name)

    def stored(self, kind: str, name: str) -> Any:
        """Return the parts of a resource in the hub's own database."""
        query = "SELECT route, generation, spec, status, kind, name FROM resource"
        for route, generation, spec, status, *found in self.rows(self.site.hub, query):
            if found == [kind, name]:
                return {
                    "metadata": {"route": route, "generation": generation},
                    "spec": json.loads(spec),
                    "status": json.loads(status),
                }
        return None

    def vms(self) -> set[str]:
        """Return the instance UUIDs of the VMs that vCenter has, templates left out."""
        listed = self.site.vcenter.control.inventory()["vms"]
        return {vm["instanceUuid"] for vm in listed if not vm["template"]}

    def await_ready(self, name: str, nodes: int, gateway: str) -> None:
        """Wait until a gateway has the cluster Ready with exactly these nodes, each with a VM.

        The hub shows what the gateway before said until the next one says more: this one has
        taken the cluster over when it has written its epoch into the VMs, not earlier.
        """
        child = self.old if gateway == OLD else self.new

        def is_ready() -> bool:
            seen = self.cluster(name)
            if not seen or seen["metadata"]["route"] != gateway or not self.is_fenced(name):
                return False
            claims = {one["type"]: one["status"] for one in seen["status"].get("conditions", ())}
            uids = self.machines(child, name)
            return bool(
                claims.get("Ready") == "True"
                and seen["status"].get("nodes") == nodes
                and seen["status"].get("observedGeneration") == seen["metadata"]["generation"]
                and len(uids) == nodes
                and uids <= self.vms()
            )

        self.until(is_ready, f"{name} is Ready with {nodes} nodes at {gateway}")

    def is_fenced(self, cluster: str) -> bool:
        """Tell whether the hub knows that the cluster's gateway has written its epoch."""
        query = "SELECT uid FROM resource WHERE kind = 'Cluster' AND name = ?"
        ((uid,),) = self.rows(self.site.hub, query, cluster)
        assignment = self.stored("Assignment", f"cluster-{uid}")
        epoch = assignment["spec"]["epoch"]
        return bool(assignment["status"].get("acknowledgedEpoch", 0) >= epoch)

    def machines(self, gateway: Child, cluster: str) -> set[str]:
        """Return the UIDs of a cluster's machines that a gateway knows."""
        rows = self.rows(gateway, "SELECT uid, spec FROM resource WHERE kind = 'Machine'")
        return {uid for uid, spec in rows if json.loads(spec)["cluster"] == cluster}

    def left(self, gateway: Child) -> set[str]:
        """Return what a gateway holds that belongs to clusters."""
        rows = self.rows(gateway, "SELECT kind, name FROM resource")
        return {f"{kind} {name}" for kind, name in rows if kind in CLUSTER_KINDS}

    def condition(self, gateway: Child, cluster: str, name: str) -> dict[str, Any] | None:
        """Return a condition of a cluster in a gateway's own store."""
        query = "SELECT name, status FROM resource WHERE kind = 'Cluster'"
        for found, status in self.rows(gateway, query):
            claims = {one["type"]: one for one in json.loads(status)["conditions"]}
            if found == cluster and name in claims:
                return dict(claims[name])
        return None

    def rows(self, gateway: Child, query: str, *arguments: str) -> list[Any]:
        """Ask a gateway's own database."""
        file = gateway.data / ("hub.db" if gateway is self.site.hub else "gateway.db")
        if not file.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(query, arguments).fetchall()

    def marks(self) -> dict[str, dict[str, Any]]:
        """Return instance UUID and last owner mark of each VM that lives."""
        found = {}
        for vm in self.site.vcenter.control.ledger().of_kind("VirtualMachine", alive=True):
            marks = [one for one in vm.facts.get("marks", ()) if one["key"] == OWNER_KEY]
            if marks:
                found[vm.facts["instanceUuid"]] = json.loads(marks[-1]["value"])
        return found

    def declare_old_dead(self) -> None:
        """Let the new gateway take over all that the old one had."""
        self.site.moorage(
            "gateways", "declare-dead", OLD, "--successor", NEW,
            "--recovery-key", self.recovery_key, "--yes",
        )  # fmt: skip

    def end(self, cluster: str, *, at: Child) -> None:
        """Delete the only cluster, wait until its gateway knows nothing more of it, and judge."""
        self.site.ask("clusters", "delete", cluster, "--yes")
        self.until(lambda: not self.left(at), f"{cluster} is gone")
        self.judge()

    def judge(self) -> None:
        """Assert by vCenter's own ledger that nothing was made twice, and nothing is left."""
        ledger = self.site.vcenter.control.ledger()
        assert ledger.duplicates(OWNER_KEY) == []
        assert self.vms() == set()
        assert [guest.name for guest in self.site.vcenter.guests.guests()] == []
        assert ledger.stray_files() == []

    # What happens to gateways

    def stop(self, gateway: Child) -> None:
        """Let a process stand still (SIGSTOP)."""
        os.kill(gateway.pid, signal.SIGSTOP)

    def go_on(self, gateway: Child) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(gateway.pid, signal.SIGCONT)

    def cut_link(self, gateway: Child) -> None:
        """Kill a gateway, and let it come back where it cannot reach the hub."""
        file = gateway.data / "config.yaml"
        file.write_text(json.dumps({**json.loads(file.read_text()), "hub": "https://127.0.0.1:9"}))
        gateway.kill()

    def wish(self, gateway: Child, *, workers: int) -> None:
        """Write into a gateway's own store how many workers each pool shall have."""
        with contextlib.closing(sqlite3.connect(gateway.data / "gateway.db", timeout=30)) as store:
            store.execute(
                "UPDATE resource SET spec = json_set(spec, '$.replicas', ?) "
                "WHERE kind = 'NodePool'",
                (workers,),
            )
            store.commit()

    def mend_link(self, gateway: Child) -> None:
        """Kill it once more, and let it come back where it can."""
        file = gateway.data / "config.yaml"
        settings = json.loads(file.read_text())
        settings.pop("hub")
        file.write_text(json.dumps(settings))
        gateway.kill()

    def lose_disk(self, gateway: Child) -> None:
        """Kill a gateway for good, with all that it had."""
        gateway.kill()
        settings = (gateway.data / "config.yaml").read_text()
        shutil.rmtree(gateway.data)
        gateway.data.mkdir(mode=0o700)
        (gateway.data / "config.yaml").write_text(settings)
