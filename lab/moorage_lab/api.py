"""What tests use of the lab.

`VCenterProcess` is a simulated vCenter on loopback, without root, with thin guests behind its VMs
if asked. `Lab` is the lab that
`moorage-lab up` started, with real nodes.
"""

from dataclasses import dataclass
from pathlib import Path

from moorage_lab import estate
from moorage_lab.config import Config
from moorage_lab.control import Control
from moorage_lab.control_ledger import Entry, Ledger
from moorage_lab.documents import cluster_document, on_containers
from moorage_lab.errors import ConflictError, LabError, NotRunningError
from moorage_lab.estate import Node
from moorage_lab.inventory import users_of
from moorage_lab.places import VCENTER, State
from moorage_lab.thin import ThinGuest, ThinGuests
from moorage_lab.vcenter_process import VCenterProcess

__all__ = [
    "ConflictError",
    "Control",
    "Entry",
    "Lab",
    "LabError",
    "Ledger",
    "Node",
    "NotRunningError",
    "ThinGuest",
    "ThinGuests",
    "VCenterProcess",
    "cluster_document",
    "on_containers",
]


@dataclass(frozen=True, slots=True)
class Lab:
    """The lab that is up on this machine."""

    state: State
    control: Control
    address: str
    """vCenter, inside the lab's network."""
    ca_file: Path
    user: str
    password: str

    @classmethod
    def attach(cls, state: State | None = None) -> "Lab":
        """Find the running lab.

        Raises:
            NotRunningError: No lab is up.
        """
        where = state or State.default()
        user, password = users_of(Path(Config.load(where).inventory))[0]
        control = Control(where.control_socket)
        return cls(where, control, f"{VCENTER}:443", where.ca, user, password)

    def nodes(self) -> list[Node]:
        """The hypervisor's VMs as they are now."""
        return estate.nodes(self.state)
