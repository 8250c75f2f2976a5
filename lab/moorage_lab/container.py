"""One run of a VM: a systemd-nspawn container in its own network namespace and groups.

A small shell, the supervisor, starts nspawn and writes down how it ended. So the end is
known even if nobody of the lab was there to see it.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moorage_lab import cgroup
from moorage_lab.errors import LabError
from moorage_lab.places import NAME
from moorage_lab.process import Identity

REBOOT = 133
"""What nspawn exits with when the guest asked for a reboot (with --keep-unit)."""
MACHINE_PREFIX = f"{NAME}."
_NSPAWN_RUN = Path("/run/systemd/nspawn")
POWEROFF_SIGNAL = signal.SIGRTMIN + 4
REBOOT_SIGNAL = signal.SIGRTMIN + 5

_SUPERVISOR = """
exit_file=$1; groups=$2; shift 2
while [ $groups -gt 0 ]; do
  echo $$ > "$1/cgroup.procs" || exit 97
  shift; groups=$((groups - 1))
done
"$@"
code=$?
echo $code > "$exit_file.new" && mv "$exit_file.new" "$exit_file"
exit $code
"""


@dataclass(frozen=True, slots=True)
class Container:
    """Where the container of one VM keeps its things."""

    name: str
    path: Path

    @property
    def machine(self) -> str:
        """Name for nspawn, which leaves files under it when it is killed."""
        return f"{MACHINE_PREFIX}{self.name.removeprefix('vm-')}"

    @property
    def netns(self) -> Path:
        return self.path / "netns"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def _exit(self) -> Path:
        return self.path / "exit"

    @property
    def _supervisor(self) -> Path:
        return self.path / "supervisor.json"

    def start(self, hostname: str, *, timeout_s: float = 60) -> Identity:
        """Start the guest and answer its supervisor once the guest's init runs.

        Root and namespace must be there. On failure nothing is left running.
        """
        self._exit.unlink(missing_ok=True)
        groups = cgroup.make(self.name)
        nspawn = [
            "nsenter",
            f"--net={self.netns}",
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            f"--machine={self.machine}",
            f"--hostname={hostname}",
            f"--directory={self.path / 'root'}",
            "--boot",
            "--capability=all",
            "--system-call-filter=@keyring bpf perf_event_open",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=read-only",
            f"--bind={self.path / 'containerd'}:/var/lib/containerd",
            f"--bind={self.path / 'guestinfo'}:/opt/vmware/guestinfo",
        ]
        shell = ["sh", "-c", _SUPERVISOR, "supervisor", str(self._exit), str(len(groups))]
        with self.console.open("ab") as console:
            child = subprocess.Popen(
                [*shell, *map(str, groups), *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C"},
            )
        supervisor = Identity.of(child.pid)
        if supervisor is None:
            raise LabError(f"container of {hostname} ended at once: {self.tail()}")
        supervisor.save(self._supervisor)
        if not _poll(lambda: self.init() is not None or not supervisor.is_alive(), timeout_s):
            self.kill()
            raise LabError(f"init of {hostname} did not start in {timeout_s:g} s: {self.tail()}")
        if self.init() is None and (code := self.exit_code()) != REBOOT:
            self.kill()
            raise LabError(f"container of {hostname} ended with {code}: {self.tail()}")
        return supervisor

    def running(self) -> Identity | None:
        """The supervisor of a run that has not ended."""
        return Identity.load(self._supervisor)

    def exit_code(self) -> int | None:
        """How the last run ended; `None` while it runs, or when it was killed with its witness."""
        try:
            return int(self._exit.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def init(self) -> Identity | None:
        """The guest's process 1, once it is the guest's own program and no more nspawn's."""
        for pid in cgroup.pids(self.name):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                program = Path(f"/proc/{pid}/exe").readlink().name
            except OSError:
                continue
            ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
            if ids[2:] == ["1"] and program != "systemd-nspawn":
                return Identity.of(pid)
        return None

    def signal(self, number: int) -> None:
        """Tell the guest's init to power off or reboot."""
        init = self.init()
        if init is None or not init.send(number):
            raise LabError(f"the guest of {self.name} runs no init")

    def kill(self) -> None:
        """End every process of the VM at once, and remove its control groups.

        The guest's init goes first: with it the kernel ends all of its namespace.
        """
        supervisor = Identity.load(self._supervisor)
        if (init := self.init()) is not None and init.send(signal.SIGKILL):
            init.wait(10)
            if supervisor is not None:
                supervisor.wait(2)
        cgroup.kill(self.name)
        if supervisor is not None:
            supervisor.stop(grace_s=0)
            reap(supervisor.pid)
        cgroup.remove(self.name)
        forget_nspawn(self.machine, [self.path / "root"])
        self._supervisor.unlink(missing_ok=True)

    def tail(self, lines: int = 5) -> str:
        """The console's last words."""
        try:
            text = self.console.read_text(errors="replace")
        except FileNotFoundError:
            return "(no console)"
        return " / ".join(text.strip().splitlines()[-lines:])


def forget_nspawn(machines: str, roots: Iterable[Path]) -> None:
    """Remove what killed nspawns leave in /run: a directory, and a lock on each mounted root.

    Args:
        machines: Name of the machine, or a pattern.
        roots: Their roots, still mounted.
    """
    for directory in (_NSPAWN_RUN / "propagate").glob(machines):
        directory.rmdir()
    for root in roots:
        if root.is_dir():
            found = root.stat()
            lock = _NSPAWN_RUN / "locks" / f"inode-{found.st_dev}:{found.st_ino}"
            lock.unlink(missing_ok=True)


def forget_all_nspawn(roots: Iterable[Path]) -> None:
    """Remove what all VMs left, and nspawn's own directories if nobody else has something there."""
    forget_nspawn(f"{MACHINE_PREFIX}*", roots)
    for name in ("propagate", "locks", ""):
        with suppress(OSError):
            (_NSPAWN_RUN / name).rmdir()


def reap(pid: int) -> None:
    """Forget a child that has ended; another's child is not ours to reap."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _poll(done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
