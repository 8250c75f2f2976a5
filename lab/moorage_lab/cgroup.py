"""Control groups of the lab: one for each VM, in every hierarchy of the host.

A VM's group must be in all of them, `systemd` and `unified` too: the container's cgroup
namespace is rooted there, and nodes that share one hierarchy's root share /kubepods.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.places import CGROUP
from moorage_lab.process import Identity

PERIOD_US = 100_000
SERVICES = "services"
"""The group of the lab's own processes: daemon, vCenter, DHCP server, forwards, exec."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree of control groups."""

    mount: Path
    version: int

    def group(self, *names: str) -> Path:
        return self.mount.joinpath(CGROUP, *names)


def hierarchies(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Hierarchy]:
    """Every tree mounted below /sys/fs/cgroup, version 1 and 2."""
    found = {}
    for line in mountinfo.read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        mount, kind = fields.split()[4], rest.split()[0]
        if kind in ("cgroup", "cgroup2") and mount.startswith("/sys/fs/cgroup"):
            found[mount] = Hierarchy(Path(mount), 2 if kind == "cgroup2" else 1)
    return list(found.values())


def make(name: str) -> list[Path]:
    """Make a group in every hierarchy; may be repeated. Answers their directories."""
    made = []
    for hierarchy in hierarchies():
        for path in (hierarchy.group(), hierarchy.group(name)):
            path.mkdir(exist_ok=True)
            _inherit_cpuset(path)
        made.append(hierarchy.group(name))
    return made


def _inherit_cpuset(path: Path) -> None:
    """A new cpuset group of version 1 is empty, and takes no process before it is filled."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        here = path / file
        if here.exists() and not here.read_text().strip():
            here.write_text((path.parent / file).read_text())


def limit(name: str, *, memory_mib: int, cpus: int) -> None:
    """Give a group the VM's size; lowering memory below what is used fails in the kernel."""
    for hierarchy in hierarchies():
        group = hierarchy.group(name)
        for file, value in (
            ("memory.limit_in_bytes", memory_mib * 2**20),
            ("cpu.cfs_period_us", PERIOD_US),
            ("cpu.cfs_quota_us", cpus * PERIOD_US),
        ):
            if (path := group / file).exists():
                path.write_text(str(value))


def join(name: str) -> None:
    """Move the calling process into a group of every hierarchy."""
    for group in make(name):
        (group / "cgroup.procs").write_text(str(os.getpid()))


_LAUNCHER = """
groups=$1; shift
while [ $groups -gt 0 ]; do
  echo $$ > "$1/cgroup.procs" || exit 97
  shift; groups=$((groups - 1))
done
exec "$@" </dev/null
"""


def launched_in(name: str, command: Sequence[str]) -> list[str]:
    """A command that joins a group before it is anything else; its standard input is /dev/null.

    What the shell gets as standard input is let go only after it has joined: a lock there is
    held until `down` can see the process.
    """
    groups = [str(group) for group in make(name)]
    return ["sh", "-c", _LAUNCHER, "launcher", str(len(groups)), *groups, *command]


def memory_mib(name: str) -> int | None:
    """Memory that a group uses, without the page cache that can be dropped."""
    for hierarchy in hierarchies():
        stat = hierarchy.group(name) / "memory.stat"
        if stat.exists():
            values = dict(line.split() for line in stat.read_text().splitlines())
            used = int(values.get("total_rss", 0)) + int(values.get("total_active_file", 0))
            return used // 2**20
    return None


def _tree(top: Path) -> Iterator[Path]:
    """A group and those below it, the deepest first."""
    for directory, _, _ in os.walk(top, topdown=False):
        yield Path(directory)


def pids(*names: str) -> set[int]:
    """Living processes in a group or below it, in any hierarchy."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for group in _tree(hierarchy.group(*names)):
            try:
                lines = (group / "cgroup.procs").read_text().split()
            except OSError:  # removed while we looked
                continue
            found.update(int(line) for line in lines)
    return {pid for pid in found if pid != 0 and Identity.of(pid) is not None}


def terminate(*names: str, grace_s: float = 5) -> None:
    """Ask the processes of a group to end, and give them some time; `kill` comes after it."""
    for pid in pids(*names):
        if (process := Identity.of(pid)) is not None:
            process.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while pids(*names) and time.monotonic() < deadline:
        time.sleep(0.05)


def kill(*names: str, spare: frozenset[int] = frozenset(), timeout_s: float = 20) -> None:
    """Kill every process of a group, those they fork meanwhile too, and wait for the end.

    Raises:
        LabError: Some are still there after the time limit.
    """
    deadline = time.monotonic() + timeout_s
    while left := pids(*names) - spare:
        if time.monotonic() > deadline:
            raise LabError(f"processes {sorted(left)} of {'/'.join(names)} survive SIGKILL")
        for pid in left:
            if (process := Identity.of(pid)) is not None:
                process.send(signal.SIGKILL)
        time.sleep(0.02)


def remove(*names: str, timeout_s: float = 10) -> None:
    """Remove a group and those below it; may be repeated. Its processes must be gone.

    Stale groups are not harmless: a control plane that starts over them runs no static
    pod for two minutes.
    """
    deadline = time.monotonic() + timeout_s
    for hierarchy in hierarchies():
        for group in _tree(hierarchy.group(*names)):
            _remove_one(group, deadline)


def _remove_one(group: Path, deadline: float) -> None:
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:  # busy for a moment after its last process ended
            if time.monotonic() > deadline:
                raise LabError(f"cannot remove control group {group}: {error}") from error
            time.sleep(0.02)
        else:
            return


def names() -> set[str]:
    """Groups of the lab that exist in any hierarchy."""
    found: set[str] = set()
    for hierarchy in hierarchies():
        if (top := hierarchy.group()).is_dir():
            found.update(path.name for path in top.iterdir() if path.is_dir())
    return found
