"""Where the lab keeps its files, and the fixed names and addresses it uses.

There is one lab on a machine: its namespace, bridge and control groups have fixed names.
"""

import os
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "moorage-lab"
BRIDGE = "labbr0"
CGROUP = "moorage-lab"
GATEWAY = "10.77.0.1"
VCENTER = "10.77.0.2"
HUB = "10.77.0.3"
PREFIX = 16
DHCP_RANGE = ("10.77.8.1", "10.77.15.254")
RUN = Path("/run")
NETNS_DIR = RUN / "netns"
NETNS = NETNS_DIR / NAMESPACE
LOCK = RUN / "moorage-lab.lock"

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
        return cls(Path(os.environ.get("MOORAGE_LAB_DIR", "/var/lib/moorage-lab")))

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
