"""What must hold whatever failed: the wanted nodes and nothing else, or nothing at all."""

import copy
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.conftest import ROOT, Stack, run, until

REPORT = Path(os.environ.get("MOORAGE_E2E_LOGS", "/var/tmp/moorage-e2e-logs")) / "faults.jsonl"  # noqa: S108
ADMINISTRATOR = "administrator@vsphere.local"
JSON = Any


def note(what: str, **measured: Any) -> None:
    """Keep a figure, with the machine's load beside it."""
    REPORT.parent.mkdir(exist_ok=True, mode=0o700)
    row = {"what": what, **measured, "load": round(os.getloadavg()[0], 1)}
    with REPORT.open("a") as file:
        file.write(json.dumps(row) + "\n")


class Scene:
    """One cluster's life on the stack, its description, and the witnesses' view of it."""

    def __init__(self, stack: Stack, name: str, control_plane: int = 1, workers: int = 1) -> None:
        self.stack = stack
        self.name = name
        self.nodes = control_plane + workers
        document = yaml.safe_load((ROOT / "demo/cluster.yaml").read_text())
        self.document: JSON = copy.deepcopy(document)
        self.document["metadata"]["name"] = name
        self.spec["controlPlane"]["replicas"] = control_plane
        self.document["nodePools"][0]["replicas"] = workers
        self.kubectl_path = f"{run('moorage-lab', 'build', 'image').strip()}/root/usr/bin/kubectl"
        self.before = self.witnesses()

    @property
    def spec(self) -> JSON:
        """The cluster's spec, to change before ``apply``."""
        return self.document["spec"]

    @property
    def file(self) -> Path:
        """The cluster's document, written anew."""
        path = self.stack.directory / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(self.document))
        return path

    # What a user does

    def apply(self) -> None:
        """Ask for the cluster; do not wait for it."""
        self.stack.moorage("clusters", "apply", "-f", str(self.file))

    def delete(self) -> None:
        """Ask for the cluster's deletion; do not wait for it."""
        self.stack.moorage("clusters", "delete", self.name, "--yes")

    def seen(self) -> JSON:
        """Return the cluster as the hub tells it."""
        return self.stack.json("clusters", "describe", self.name)

    def why(self) -> str:
        """Return reason and message of the cluster's ``Ready``."""
        found = [c for c in self.seen()["status"].get("conditions", []) if c["type"] == "Ready"]
        return f"{found[0]['reason']}: {found[0]['message']}" if found else "not begun"

    def machines(self) -> list[JSON]:
        """Return the cluster's machines."""
        return [m for m in self.stack.json("machines", "list") if m["spec"]["cluster"] == self.name]

    def is_ready(self) -> bool:
        """Tell whether hub and gateway say that the cluster is complete."""
        told = self.stack.moorage("clusters", "describe", self.name, "-o", "json", check=False)
        if not told.startswith("{"):
            return False  # the hub is away
        seen = json.loads(told)
        ready = [c["status"] for c in seen["status"].get("conditions", []) if c["type"] == "Ready"]
        return ready == ["True"] and seen["status"].get("nodesReady") == self.nodes

    def is_gone(self) -> bool:
        """Tell whether the hub has no such cluster and the pool no address of it."""
        told = self.stack.moorage("clusters", "list", "-o", "json", check=False)
        return told.startswith("[") and self.name not in {
            cluster["metadata"]["name"] for cluster in json.loads(told)
        }

    def kubectl(self, *words: str) -> str:
        """Run kubectl against this cluster from inside the lab's network."""
        config = self.stack.directory / f"{self.name}.kubeconfig"
        if not config.exists():
            self.stack.moorage("clusters", "kubeconfig", self.name, "--file", str(config))
        return self.stack.inside(self.kubectl_path, f"--kubeconfig={config}", *words)

    # What must hold

    def await_ready(self, timeout_s: float = 300) -> float:
        """Wait for the whole cluster, then hold it against all witnesses."""
        took = until(self.is_ready, timeout_s=timeout_s, what=f"{self.name} is Ready")
        self.check()
        return took

    def check(self) -> None:
        """Exactly the wanted nodes, no second VM, no orphan, no address too many."""
        machines = {m["metadata"]["name"]: m["metadata"]["uid"] for m in self.machines()}
        assert len(machines) == self.nodes
        items = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        ready = {
            item["metadata"]["name"]
            for item in items
            for c in item["status"]["conditions"]
            if c["type"] == "Ready" and c["status"] == "True"
        }
        assert ready == set(machines) == {item["metadata"]["name"] for item in items}
        vms = [vm for vm in lab_inventory() if vm["name"].startswith(f"{self.name}-")]
        assert sorted((vm["name"], vm["instanceUuid"]) for vm in vms) == sorted(machines.items())
        assert {vm["power"] for vm in vms} == {"poweredOn"}
        assert self.claims() == (self.nodes + 1 if self.is_static() else 0)

    def await_nothing(self, timeout_s: float = 180) -> float:
        """Wait until the cluster is gone, then let all witnesses search for remains."""
        took = until(self.is_gone, timeout_s=timeout_s, what=f"{self.name} is gone")
        (self.stack.directory / f"{self.name}.kubeconfig").unlink(missing_ok=True)
        assert self.claims() == 0
        assert self.witnesses() == self.before
        assert self.machines() == []
        assert not [n for n in self.stack.lab.nodes() if n.name.startswith(f"{self.name}-")]
        return took

    def is_static(self) -> bool:
        """Tell whether machines get their addresses from an IP pool."""
        return any("ipPool" in d for d in self.spec["placement"]["failureDomains"])

    def claims(self) -> int:
        """Return how many addresses the gateway's own store holds for the cluster."""
        return sum(
            1
            for claim in gateway_resources(self.stack, "IPAddress")
            if claim["spec"]["cluster"] == f"default/{self.name}"
            and claim["spec"].get("releasedAt") is None
        )

    def witnesses(self) -> tuple[JSON, JSON]:
        """Return what the simulator's own objects and what its API tell."""
        told = json.loads(run("moorage-lab", "vcenter", "inventory"))
        return told, json.loads(witness(self.stack, "inventory"))


def lab_inventory() -> list[JSON]:
    """Return the VMs by the simulator's own account."""
    vms: list[JSON] = json.loads(run("moorage-lab", "vcenter", "inventory"))["vms"]
    return vms


def witness(stack: Stack, *words: str) -> str:
    """Run the second witness inside the lab's network, as an administrator."""
    until(stack.lab.control.is_healthy, timeout_s=40, what="vCenter answers again")
    script = str(Path(__file__).with_name("witness.py"))
    return stack.inside(
        sys.executable, script, stack.lab.address, ADMINISTRATOR, stack.lab.password, *words
    )


def gateway_resources(stack: Stack, kind: str) -> list[JSON]:
    """Read resources of a kind from the gateway's own database, beside the running gateway."""
    file = f"file:{stack.directory}/gateway/gateway.db?mode=ro"
    with closing(sqlite3.connect(file, uri=True)) as database:
        rows = database.execute("select name, uid, spec from resource where kind = ?", (kind,))
        return [{"name": name, "uid": uid, "spec": json.loads(spec)} for name, uid, spec in rows]


def kill_and_restart(stack: Stack, name: str, signal: str = "KILL") -> None:
    """Kill a process of the stack and start it again at once."""
    stack.stack("stop", name, signal)
    stack.stack("start", name)


def sleep_until(began: float, offset_s: float) -> None:
    """Wait until a moment after ``began`` (monotonic)."""
    time.sleep(max(0.0, began + offset_s - time.monotonic()))


@contextmanager
def probing(stack: Stack, url: str, every_s: float = 0.2) -> Iterator[list[tuple[float, bool]]]:
    """Ask a URL again and again from inside the lab's network; yields (time, answered)."""
    probe = (
        "import sys,time,ssl,urllib.request\n"
        "c=ssl._create_unverified_context()\n"
        "while True:\n"
        "    t=time.monotonic()\n"
        "    try:\n"
        f"        ok=urllib.request.urlopen({url!r},timeout=0.5,context=c).status==200\n"
        "    except OSError:\n"
        "        ok=False\n"
        "    print(t,int(ok),flush=True)\n"
        f"    time.sleep(max(0,{every_s}-(time.monotonic()-t)))\n"
    )
    seen: list[tuple[float, bool]] = []
    with subprocess.Popen(
        ["moorage-lab", "exec", "--", sys.executable, "-c", probe],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield seen
        finally:
            process.terminate()
            for line in process.stdout or ():
                moment, answered = line.split()
                seen.append((float(moment), answered == "1"))
