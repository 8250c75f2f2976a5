"""What benchmarks share: a whole system as processes on loopback, and the file of results.

It knows the product only as a user does: commands, health pages, the process table.
"""

import json
import os
import platform
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.request import urlopen

from moorage_lab.api import VCenterProcess

LATEST = Path(__file__).parent / "results" / "latest.json"
BIN = Path(sys.executable).parent
GATEWAY = "site-a"
PATIENCE_S = 120.0

Budget = float | None


@dataclass(frozen=True)
class Result:
    """One figure. ``budget`` is the most that it may be, where the design page sets one."""

    case: str
    metric: str
    value: float
    unit: str
    budget: Budget = None

    @property
    def is_kept(self) -> bool:
        """Whether the budget holds."""
        return self.budget is None or self.value <= self.budget


def write(results: Iterable[Result], file: Path = LATEST) -> None:
    """Put results into the file: what it held of the same cases goes, other cases stay."""
    fresh = [asdict(result) for result in results]
    cases = {result["case"] for result in fresh}
    held = json.loads(file.read_text()) if file.exists() else []
    kept = [result for result in held if result["case"] not in cases]
    merged = sorted([*kept, *fresh], key=lambda result: result["case"])
    file.parent.mkdir(exist_ok=True)
    file.write_text("[\n" + ",\n".join(f"  {json.dumps(result)}" for result in merged) + "\n]\n")


def finish(results: list[Result]) -> int:
    """Write and print results; return the exit code, 1 when a budget is exceeded."""
    write(results)
    for result in results:
        budget = "" if result.budget is None else f"(budget {result.budget:g})"
        mark = "" if result.is_kept else "  EXCEEDED"
        print(
            f"{result.case:28} {result.metric:34} "
            f"{result.value:>9g} {result.unit:12} {budget}{mark}"
        )
    return 0 if all(result.is_kept for result in results) else 1


def machine(case: str) -> list[Result]:
    """What the machine had to do besides, and of what kind it is: read the figures with it."""
    python = float(".".join(platform.python_version_tuple()[:2]))
    return [
        Result(case, "machine: load average, 1 min", round(os.getloadavg()[0], 2), "processes"),
        Result(case, "machine: processors", float(os.cpu_count() or 0), "processors"),
        Result(case, "machine: Python", python, "version"),
    ]


def environment() -> dict[str, str]:
    """The processes' environment: installed as users have it, with bytecode, and no proxy."""
    hidden = {"PYTHONDONTWRITEBYTECODE"}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.lower().endswith("_proxy")
    }


@dataclass(frozen=True)
class Memory:
    """Memory of one process, in MiB."""

    rss: float
    """Resident: what the budget counts. Pages that several processes share count in each."""
    pss: float
    """Its fair share of shared pages."""
    private: float
    """What would be free again if it ended."""

    @classmethod
    def of(cls, pid: int) -> "Memory":
        """Read it from the kernel."""
        fields: dict[str, float] = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0]) / 1024
        private = fields["Private_Clean"] + fields["Private_Dirty"]
        return cls(round(fields["Rss"], 1), round(fields["Pss"], 1), round(private, 1))


class System:
    """A lab's vCenter, a hub and an enrolled gateway; ``with System.start() as system``."""

    def __init__(self, folder: Path, vcenter: VCenterProcess, stack: ExitStack) -> None:
        self.folder = folder
        self.vcenter = vcenter
        self._stack = stack
        self._hub_port, self._health_port = _free_ports(2)
        self.url = f"https://127.0.0.1:{self._hub_port}"
        self.hub: subprocess.Popen[bytes]
        self.gateway: subprocess.Popen[bytes]
        self.seconds: dict[str, float] = {}
        """From the start of a process until it served, by its name."""

    @classmethod
    @contextmanager
    def start(cls, guests: Literal["none", "thin"] = "none") -> Iterator["System"]:
        """Run everything until the block ends; the gateway is linked, no account is there yet.

        Args:
            guests: Whether anybody is behind the vCenter's machines.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
            vcenter = stack.enter_context(VCenterProcess.start(guests=guests))
            system = cls(folder, vcenter, stack)
            system.start_hub()
            system.moorage(
                "login", system.url, "--username=admin",
                f"--ca-file={folder}/hub/ca.crt",
                f"--password-file={folder}/hub/initial-admin-password",
                f"--recovery-key-file={folder}/recovery.pem",
            )  # fmt: skip
            printed = system.moorage("-o", "table", "gateways", "add", GATEWAY)
            command = shlex.split(printed[printed.index("moorage-gateway enroll") :])
            system.run([*command, f"--data={folder}/gateway"])
            # Benchmarks delete more in an hour than the brake lets pass.
            brake = {"deletionBrake": {"clustersPerHour": 10**6, "machinesPerHour": 10**6}}
            (folder / "gateway" / "config.yaml").write_text(json.dumps(brake))
            system.start_gateway()
            yield system

    def start_hub(self) -> None:
        """Start the hub and wait until it answers."""
        command = ["run", f"--data={self.folder}/hub", f"--listen=127.0.0.1:{self._hub_port}"]
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
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def moorage(self, *words: str) -> str:
        """Run the CLI and return what it printed."""
        return self.run(["moorage", *words])

    def moorage_json(self, *words: str) -> Any:
        """Run the CLI and return the JSON that it printed."""
        return json.loads(self.moorage("-o", "json", *words))

    def run(self, command: list[str]) -> str:
        """Run a command of ours to its end and return what it printed."""
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            env={**environment(), "MOORAGE_CONFIG": f"{self.folder}/cli.yaml"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
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

    def until(
        self, claim: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S
    ) -> float:
        """Wait until a claim holds; return how long that took."""
        begun = time.monotonic()
        while not claim():
            if time.monotonic() > begun + patience_s:
                raise SystemExit(f"not so after {patience_s:g} s: {what}; {self._logs()}")
            time.sleep(0.2)
        return time.monotonic() - begun

    def cpu_seconds(self) -> float:
        """Processor time that hub and gateway have used so far."""
        ticks = 0
        for process in (self.hub, self.gateway):
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

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
                raise SystemExit(f"{name} does not serve; {self._logs()}")
            time.sleep(0.03)
        self.seconds[name] = round(time.monotonic() - begun, 2)
        return process

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

    def _logs(self) -> str:
        last = [file.read_text()[-2000:] for file in sorted(self.folder.glob("*.log"))]
        return "last words of hub and gateway:\n" + "\n".join(last)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in made:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in made]
