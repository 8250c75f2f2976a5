"""Where the lab keeps its files, and the fixed names and addresses it uses.

Namespace, control groups and state directory bear the lab's name; the addresses are inside the
namespace and so the same in every lab.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.errors import LabError

DEFAULT_NAME = "moorage-lab"


def lab_name() -> str:
    """$MOORAGE_LAB_NAME: a second lab beside the first, such as `moorage-lab-mine`."""
    name = os.environ.get("MOORAGE_LAB_NAME", DEFAULT_NAME)
    if not re.fullmatch(rf"{DEFAULT_NAME}(-[a-z0-9]{{1,8}})?", name):
        raise LabError(f"MOORAGE_LAB_NAME is {name!r}: it is {DEFAULT_NAME}-SUFFIX, 8 letters more")
    return name


NAME = lab_name()
NAMESPACE = NAME
CGROUP = NAME
BRIDGE = "labbr0"
GATEWAY = "10.77.0.1"
VCENTER = "10.77.0.2"
HUB = "10.77.0.3"
PREFIX = 16
GATEWAY_SIX = "fd00:77::1"
PREFIX_SIX = 64
DHCP_RANGE = ("10.77.8.1", "10.77.15.254")
RUN = Path("/run")
NETNS_DIR = RUN / "netns"
NETNS = NETNS_DIR / NAMESPACE
POINTER = RUN / NAME
"""Link to the state directory of the lab that is up."""
LOCK = RUN / f"{NAME}.lock"

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (`sun_path` without its closing zero)."""


def cache_dir() -> Path:
    """The cache of slow builds: $MOORAGE_CACHE, $XDG_CACHE_HOME/moorage or ~/.cache/moorage."""
    if own := os.environ.get("MOORAGE_CACHE"):
        return Path(own)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "moorage"
    return Path.home() / ".cache" / "moorage"


def lab_dir() -> Path:
    """The source tree `lab/`: this package is run from it, never from an installed copy."""
    return Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class State:
    """The state directory of a running lab. `down` removes it whole."""

    root: Path

    @classmethod
    def default(cls) -> "State":
        """$MOORAGE_LAB_DIR, else that of the lab which is up, else /var/lib/NAME."""
        if own := os.environ.get("MOORAGE_LAB_DIR"):
            return cls(Path(own).resolve())
        return cls.in_use() or cls(Path("/var/lib") / NAME)

    @classmethod
    def in_use(cls) -> "State | None":
        """The state directory of the lab that is up, or was when its machine crashed."""
        try:
            return cls(POINTER.readlink())
        except OSError:
            return None

    @staticmethod
    def others() -> list[Path]:
        """Pointers of labs with another name on this machine."""
        found = (path for path in RUN.glob(f"{DEFAULT_NAME}*") if path.is_symlink())
        return [path for path in found if path != POINTER]

    def use(self) -> None:
        """Say that the lab which is up keeps its state here."""
        POINTER.unlink(missing_ok=True)
        POINTER.symlink_to(self.root)

    @property
    def config(self) -> Path:
        """What `up` was asked: see `lifecycle.Config`."""
        return self.root / "lab.json"

    @property
    def host(self) -> Path:
        """What `up` changed on the host and `down` must restore."""
        return self.root / "host.json"

    @property
    def hypervisor_socket(self) -> Path:
        return self.root / "hypervisor.sock"

    @property
    def control_socket(self) -> Path:
        return self.root / "control.sock"

    @property
    def ca(self) -> Path:
        return self.root / "ca.crt"

    @property
    def resolv_conf(self) -> Path:
        """What commands in the lab's network find in the place of /etc/resolv.conf."""
        return self.root / "resolv.conf"

    @property
    def vms(self) -> Path:
        return self.root / "vms"

    @property
    def stores(self) -> Path:
        """Copies of containerd stores, when the cache is on another file system."""
        return self.root / "stores"

    @property
    def processes(self) -> Path:
        """One file for each service process: see `process.Identity`."""
        return self.root / "processes"

    @property
    def forwards(self) -> Path:
        return self.root / "forwards"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def make(self) -> None:
        """Create the directories; may be repeated."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.vms, self.processes, self.forwards, self.logs):
            path.mkdir(exist_ok=True)
