"""A whole system as processes on loopback: lab, hub, gateway.

It knows the product only as a user does: commands, health pages, logs, the process table.
"""

import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.request import urlopen

from bench.process import Memory, cpu_seconds, descendants
from moorage_lab.api import VCenterProcess

BIN = Path(sys.executable).parent
GATEWAY = "site-a"
PATIENCE_S = 240.0
POOL = 30_000
"""Addresses in the pool: always the same number, enough for the largest case."""

_PROFILER = Path(__file__).parent / "profiler"
_PROFILE = "MOORAGE_BENCH_PROFILE"


def environment() -> dict[str, str]:
    """The processes' environment: installed as users have it, with bytecode, and no proxy."""
    hidden = {"PYTHONDONTWRITEBYTECODE"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONPATH": str(_PROFILER)} if _PROFILE in kept else kept


def profile_into(folder: Path) -> None:
    """Let every hub and gateway that starts from now on write where its time went."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_PROFILE] = str(folder.absolute())


def until(
    claim: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S, every_s: float = 0.2
) -> float:
    """Wait until a claim holds; return how long that took. Ends the run when it never does."""
    begun = time.monotonic()
    while not claim():
        if time.monotonic() > begun + patience_s:
            raise SystemExit(f"not so after {patience_s:g} s: {what}")
        time.sleep(every_s)
    return time.monotonic() - begun


class System:
    """A lab's vCenter, a hub and an enrolled gateway; ``with System.start() as system``."""

    def __init__(
        self, folder: Path, vcenter: VCenterProcess, stack: ExitStack, database: str | None = None
    ) -> None:
        self.folder = folder
        self.vcenter = vcenter
        self._stack = stack
        self._database = database
        self._hub_port, self._health_port = free_ports(2)
        self.url = f"https://127.0.0.1:{self._hub_port}"
        self.hub: subprocess.Popen[bytes]
        self.gateway: subprocess.Popen[bytes]
        self.lab: dict[str, int] = {}
        """Pids of the lab's programs, by name."""
        self.seconds: dict[str, float] = {}
        """From the start of a process until it served, by its name."""

    @classmethod
    @contextmanager
    def start(
        cls,
        guests: Literal["none", "thin"] = "none",
        *,
        inventory: dict[str, Any] | None = None,
        database: str | None = None,
    ) -> Iterator["System"]:
        """Run everything until the block ends; the gateway is linked, no account is there yet.

        Args:
            guests: Whether anybody is behind the vCenter's machines.
            inventory: Of the vCenter, instead of the lab's default.
            database: URL of the hub's; SQLite in its folder by default.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
            before = descendants(os.getpid())
            vcenter = stack.enter_context(VCenterProcess.start(inventory, guests=guests))
            system = cls(folder, vcenter, stack, database)
            now = descendants(os.getpid()).items()
            system.lab = {
                name: pid for pid, name in now if pid not in before and name.startswith("lab-")
            }
            try:
                system._set_up()
                yield system
            except BaseException:
                sys.stderr.write(system.last_words())
                raise

    def _set_up(self) -> None:
        folder = self.folder
        self.start_hub()
        self.moorage(
            "login", self.url, "--username=admin",
            f"--ca-file={folder}/hub/ca.crt",
            f"--password-file={folder}/hub/initial-admin-password",
            f"--recovery-key-file={folder}/recovery.pem",
        )  # fmt: skip
        printed = self.moorage("-o", "table", "gateways", "add", GATEWAY)
        command = shlex.split(printed[printed.index("moorage-gateway enroll") :])
        self.run([*command, f"--data={folder}/gateway"])
        # Benchmarks delete more in an hour than the brake lets pass.
        brake = {"deletionBrake": {"clustersPerHour": 10**6, "machinesPerHour": 10**6}}
        (folder / "gateway" / "config.yaml").write_text(json.dumps(brake))
        self.start_gateway()

    def start_hub(self) -> None:
        """Start the hub and wait until it answers."""
        command = ["run", f"--data={self.folder}/hub", f"--listen=127.0.0.1:{self._hub_port}"]
        command += [f"--database={self._database}"] if self._database else []
        self.hub = self._process("moorage-hub", [*command, "--name=127.0.0.1"], self._hub_answers)

    def start_gateway(self) -> None:
        """Start the gateway and wait until it is linked to the hub."""
        command = [
            "run",
            f"--data={self.folder}/gateway",
            f"--health=127.0.0.1:{self._health_port}",
        ]
        self.gateway = self._process("moorage-gateway", command, self._gateway_is_linked)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop hub or gateway as an administrator does."""
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def moorage(self, *words: str) -> str:
        """Run the CLI and return what it printed."""
        return self.run(["moorage", *words])

    def run(self, command: list[str]) -> str:
        """Run a command of ours to its end and return what it printed."""
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            env={**environment(), "MOORAGE_CONFIG": f"{self.folder}/cli.yaml"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        if done.returncode:
            said = (done.stderr + done.stdout).strip()
            raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}: {said}")
        return done.stdout

    def add_account(self) -> None:
        """Connect the gateway to the vCenter."""
        password = self.folder / "vcenter-password"
        password.write_text(self.vcenter.password)
        self.moorage(
            "accounts", "add", "lab", f"--gateway={GATEWAY}", f"--server={self.vcenter.address}",
            f"--username={self.vcenter.user}", f"--password-file={password}",
            f"--ca-file={self.vcenter.ca_file}", "--wait",
        )  # fmt: skip

    def add_pool(self, pool: dict[str, Any] | None = None) -> None:
        """Make the IP pool ``nodes``, of the thin guests' network if nothing else is said."""
        fields = pool or self.vcenter.guests.pool(POOL)
        words = [f"--{name}={value}" for name, value in fields.items()]
        self.moorage("ippools", "add", "nodes", f"--gateway={GATEWAY}", *words)

    def pids(self) -> dict[str, int]:
        """Return the processes that run, hub and gateway first."""
        ours = {"hub": self.hub, "gateway": self.gateway}
        running = {name: process.pid for name, process in ours.items() if process.poll() is None}
        return {**running, **self.lab}

    def cpu(self) -> dict[str, float]:
        """Return the processor time that each process has used so far, in seconds."""
        return {name: cpu_seconds(pid) for name, pid in self.pids().items()}

    def memory(self) -> dict[str, Memory]:
        """Return the memory of each process."""
        return {name: Memory.of(pid) for name, pid in self.pids().items()}

    def log(self, name: str) -> str:
        """Return what ``moorage-hub`` or ``moorage-gateway`` has logged so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def last_words(self) -> str:
        """Return the ends of all logs."""
        last = [f"{file.name}:\n{file.read_text()[-2000:]}" for file in self.folder.glob("*.log")]
        return "\n".join(last)

    def _process(
        self, name: str, words: list[str], serves: Callable[[], bool]
    ) -> subprocess.Popen[bytes]:
        begun = time.monotonic()
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / name), *words],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(self.stop, process)
        while not serves():
            if process.poll() is not None or time.monotonic() > begun + PATIENCE_S:
                raise SystemExit(f"{name} does not serve")
            time.sleep(0.03)
        self.seconds[name] = time.monotonic() - begun
        return process

    def passes(self) -> dict[str, int]:
        """Return how many passes the gateway's controllers have made, by their names."""
        page = f"http://127.0.0.1:{self._health_port}/metrics"
        found: Counter[str] = Counter()
        with suppress(OSError), urlopen(page, timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("moorage_reconcile_seconds_count"):
                    found[line.split('"')[1]] += int(float(line.rpartition(" ")[2]))
        return found

    def _hub_answers(self) -> bool:
        with suppress(OSError):  # at first there is no certificate either
            context = ssl.create_default_context(cafile=f"{self.folder}/hub/ca.crt")
            with urlopen(f"{self.url}/healthz", context=context, timeout=5):  # noqa: S310 - https
                return True
        return False

    def _gateway_is_linked(self) -> bool:
        page = f"http://127.0.0.1:{self._health_port}/healthz"
        with suppress(OSError), urlopen(page, timeout=5) as answer:
            return bool(json.load(answer)["link"]["state"] == "Connected")
        return False


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    with ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in made:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in made]
