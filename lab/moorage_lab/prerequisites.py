"""What real nodes need of the machine, checked before anything is built or changed."""

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from moorage_lab import cgroup
from moorage_lab.errors import LabError
from moorage_lab.places import MAX_SOCKET_PATH, State

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_SOCKET = f"/vms/{'0' * 36}/guestinfo/rpc.sock"

_PROGRAMS = {
    "ip": "iproute2",
    "dnsmasq": "dnsmasq-base",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
_NODE_PROGRAMS = {"systemd-nspawn": "systemd-container"}
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that the machine does not have, and what helps."""

    what: str
    remedy: str


class MissingPrerequisitesError(LabError):
    """The machine cannot run the lab; the text lists everything that is missing."""

    def __init__(self, missing: Iterable[Missing], *, nodes: bool) -> None:
        self.missing = list(missing)
        what = "real nodes" if nodes else "the lab's network"
        lines = [f"{what} cannot run on this machine:"]
        for number, one in enumerate(self.missing, 1):
            lines += [f"  {number}. {one.what}", f"     Remedy: {one.remedy}"]
        if nodes:
            lines.append(
                "Without real nodes: `moorage-lab up --no-nodes` (root), or `make test` (no root)."
            )
        super().__init__("\n".join(lines))


def find_program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def missing_programs(wanted: dict[str, str], find: Callable[[str], str | None]) -> list[Missing]:
    """One entry for each program that is not installed, naming its Debian package."""
    return [
        Missing(f"the program {name} is not installed", f"apt-get install {package}")
        for name, package in wanted.items()
        if find(name) is None
    ]


def missing_cgroups(
    mountinfo: Path = Path("/proc/self/mountinfo"), *, check_writable: bool = True
) -> list[Missing]:
    """What is wrong with the machine's control groups; nothing if they are as nodes need them."""
    found = cgroup.hierarchies(mountinfo)
    if not found:
        return [
            Missing(
                "no control groups are mounted below /sys/fs/cgroup",
                "mount them (package cgroupfs-mount), or run on a machine with systemd",
            )
        ]
    if not any(hierarchy.version == 1 for hierarchy in found):
        return [
            Missing(
                "only control groups of version 2 are mounted; nodes are proved on version 1 only",
                "boot the kernel with systemd.unified_cgroup_hierarchy=0, or use another machine",
            )
        ]
    mounted = {name for hierarchy in found for name in hierarchy.mount.name.split(",")}
    missing = [
        Missing(
            f"the control group controller {name} (version 1) is not mounted",
            f"mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}",
        )
        for name in _CONTROLLERS
        if name not in mounted
    ]
    if "systemd" not in mounted:
        missing.append(
            Missing(
                "the named hierarchy /sys/fs/cgroup/systemd is not mounted",
                "mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd",
            )
        )
    if check_writable:
        missing += [
            Missing(
                f"control groups in {hierarchy.mount} cannot be written",
                "run outside of a container, or give it CAP_SYS_ADMIN and writable control groups",
            )
            for hierarchy in found
            if not os.access(hierarchy.mount, os.W_OK)
        ]
    return missing


def missing_filesystem(filesystems: Path = Path("/proc/filesystems")) -> list[Missing]:
    kinds = {line.split()[-1] for line in filesystems.read_text().splitlines()}
    if "overlay" in kinds:
        return []
    return [Missing("the kernel has no overlayfs", "modprobe overlay, or another kernel")]


def overlay_below(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Missing]:
    """An overlay cannot be the upper layer of another: where the state directory lies counts."""
    best, kind = "", ""
    for line in mountinfo.read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        mount = fields.split()[4]
        inside = path == Path(mount) or Path(mount) in path.parents
        if inside and len(mount) >= len(best):
            best, kind = mount, rest.split()[0]
    if kind not in ("overlay", "tmpfs", "nfs", "nfs4"):
        return []
    return [
        Missing(
            f"the state directory {path} is on {kind}: disks of nodes cannot be there",
            "set MOORAGE_LAB_DIR to a directory on ext4 or xfs",
        )
    ]


def check(state: State, *, nodes: bool) -> None:
    """Check everything at once.

    Raises:
        MissingPrerequisitesError: Something is missing.
    """
    missing = []
    if os.geteuid() != 0:
        missing.append(
            Missing("namespaces and containers need root", "sudo moorage-lab …, or a root shell")
        )
    missing += missing_programs(_PROGRAMS | (_NODE_PROGRAMS if nodes else {}), find_program)
    longest = f"{state.root}{_LONGEST_SOCKET}"
    if len(longest.encode()) > MAX_SOCKET_PATH:
        missing.append(
            Missing(
                f"the state directory's path {state.root} is too long for Unix sockets below it",
                "set MOORAGE_LAB_DIR to a path of at most "
                f"{MAX_SOCKET_PATH - len(_LONGEST_SOCKET)} bytes",
            )
        )
    missing += missing_cgroups()
    if nodes:
        missing += missing_filesystem() + overlay_below(state.root)
    if missing:
        raise MissingPrerequisitesError(missing, nodes=nodes)
