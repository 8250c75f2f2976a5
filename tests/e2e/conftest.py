"""Lab, hub and gateway for the end-to-end tests: the processes that a user would run."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage_lab.api import Lab
from moorage_lab.inventory import default_inventory

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = Path(os.environ.get("MOORAGE_E2E_DIR", "/var/tmp/moorage-e2e"))  # noqa: S108 - 0700
"""With ``MOORAGE_E2E_KEEP`` the stack there stays up, and the next run goes on with it."""


def run(*command: str, timeout_s: float = 120, check: bool = True, **env: str) -> str:
    """Run a command and return its output; a failure shows all that it said."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(
            f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done.stdout


def until(claim: Callable[[], bool], *, timeout_s: float, what: str, every_s: float = 0.5) -> float:
    """Wait until a claim holds; return how many seconds that took."""
    began = time.monotonic()
    while not claim():
        if time.monotonic() - began > timeout_s:
            pytest.fail(f"{what}: not so after {timeout_s:.0f} s")
        time.sleep(every_s)
    return time.monotonic() - began


@dataclass(frozen=True)
class Stack:
    """The running system, through the commands that a user has."""

    directory: Path
    lab: Lab

    def stack(self, *words: str, timeout_s: float = 600) -> None:
        """Run a verb of ``demo/stack``."""
        verb, *rest = words
        if verb in ("start", "stop"):
            name, *signal = rest
            run("demo/stack", verb, name, str(self.directory), *signal, timeout_s=timeout_s)
        else:
            run("demo/stack", verb, str(self.directory), timeout_s=timeout_s)

    def moorage(self, *words: str, timeout_s: float = 120, check: bool = True) -> str:
        """Run the CLI."""
        config = str(self.directory / "cli.yaml")
        return run("moorage", *words, timeout_s=timeout_s, check=check, MOORAGE_CONFIG=config)

    def json(self, *words: str) -> Any:
        """Run the CLI and read its JSON."""
        return json.loads(self.moorage(*words, "-o", "json"))

    def inside(self, *words: str, timeout_s: float = 60, check: bool = True) -> str:
        """Run a command in the lab's network."""
        return run("moorage-lab", "exec", "--", *words, timeout_s=timeout_s, check=check)

    def kubectl(self, *words: str, timeout_s: float = 60, check: bool = True) -> str:
        """Run kubectl in the lab's network, as the CLI's user."""
        config = str(self.directory / "kubeconfig")
        image = run("moorage-lab", "build", "image", timeout_s=timeout_s).strip()
        return self.inside(
            f"{image}/root/usr/bin/kubectl",
            f"--kubeconfig={config}",
            *words,
            timeout_s=timeout_s,
            check=check,
        )

    def pid(self, name: str) -> int:
        """Return the process id of ``hub`` or ``gateway``."""
        return int((self.directory / f"{name}.pid").read_text())


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Start everything; take everything down at the end, also after a failure."""
    if os.geteuid() != 0:
        pytest.fail("real nodes need root: run `make e2e` as root")
    # The faults delete more clusters in an hour than the gateway's deletion brake lets pass.
    gateway = DIRECTORY / "gateway"
    gateway.mkdir(parents=True, exist_ok=True, mode=0o700)
    brake = {"deletionBrake": {"clustersPerHour": 1000, "machinesPerHour": 10000}}
    (gateway / "config.yaml").write_text(json.dumps(brake))
    inventory = {}
    if release := os.environ.get("MOORAGE_E2E_RELEASE"):
        file = DIRECTORY / "inventory.yaml"
        about = {"about": {"apiVersion": release}}
        file.write_text(yaml.safe_dump(yaml.safe_load(default_inventory().read_text()) | about))
        inventory = {"MOORAGE_DEMO_INVENTORY": str(file)}
    try:
        run("demo/stack", "up", str(DIRECTORY), timeout_s=4800, **inventory)
        stack = Stack(DIRECTORY, Lab.attach())
        (account,) = stack.json("accounts", "list")
        assert account["status"]["apiVersion"].startswith(release or "8.0.3")
        yield stack
    finally:
        keep = os.environ.get("MOORAGE_E2E_KEEP")
        if not keep:
            logs = Path(os.environ.get("MOORAGE_E2E_LOGS", "/var/tmp/moorage-e2e-logs"))  # noqa: S108
            logs.mkdir(exist_ok=True, mode=0o700)
            for log in DIRECTORY.glob("*.log"):
                (logs / log.name).write_bytes(log.read_bytes())
            run("demo/stack", "down", str(DIRECTORY), timeout_s=300)


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a failed fault, let the next one begin with everything running and no cluster."""
    yield
    if not any(request.node.get_closest_marker(one) for one in ("faults", "ways")):
        return
    stack: Stack = request.getfixturevalue("stack")
    stack.stack("start", "hub")
    stack.stack("start", "gateway")
    for cluster in stack.json("clusters", "list"):
        name = cluster["metadata"]["name"]
        stack.moorage("clusters", "delete", name, "--yes", "--wait", check=False, timeout_s=300)
        (stack.directory / f"{name}.kubeconfig").unlink(missing_ok=True)
