"""vSphere: one session and one live inventory for each account, and what is done there."""

from moorage.vsphere.clone import copied_bytes, why_full
from moorage.vsphere.endpoint import Endpoint
from moorage.vsphere.limits import Limits
from moorage.vsphere.session import SessionNote
from moorage.vsphere.turns import BusyError, Turns
from moorage.vsphere.types import (
    VM,
    Absent,
    CloneMode,
    CloneRequest,
    Counters,
    Found,
    OwnerMark,
    Power,
    Presence,
    Rank,
    ResolvedTarget,
    State,
    Target,
    Task,
    TaskRef,
    TaskState,
    TemplateInfo,
    Unknown,
)
from moorage.vsphere.vcenter import VCenter
from moorage.vsphere.zones import Categories, Told, Topology

__all__ = [
    "VM",
    "Absent",
    "BusyError",
    "Categories",
    "CloneMode",
    "CloneRequest",
    "Counters",
    "Endpoint",
    "Found",
    "Limits",
    "OwnerMark",
    "Power",
    "Presence",
    "Rank",
    "ResolvedTarget",
    "SessionNote",
    "State",
    "Target",
    "Task",
    "TaskRef",
    "TaskState",
    "TemplateInfo",
    "Told",
    "Topology",
    "Turns",
    "Unknown",
    "VCenter",
    "copied_bytes",
    "why_full",
]
