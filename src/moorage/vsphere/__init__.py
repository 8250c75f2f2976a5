"""vSphere: one session and one live inventory for each account, and what is done there."""

from moorage.vsphere.clone import copied_bytes, needs_replica, why_full
from moorage.vsphere.endpoint import Endpoint
from moorage.vsphere.fitness import unfit
from moorage.vsphere.imports import name_taken
from moorage.vsphere.library import Deployment
from moorage.vsphere.limits import Limits
from moorage.vsphere.longcall import Transfer
from moorage.vsphere.originals import ImportPlace
from moorage.vsphere.session import SessionNote
from moorage.vsphere.template import TemplateInfo
from moorage.vsphere.turns import BusyError, Turns
from moorage.vsphere.types import (
    REPLICA_KIND,
    VM,
    Absent,
    Allocation,
    CloneMode,
    CloneRequest,
    Counters,
    DiskStorage,
    Found,
    NewDisk,
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
    Unknown,
)
from moorage.vsphere.vcenter import VCenter
from moorage.vsphere.zones import Categories, Told, Topology

__all__ = [
    "REPLICA_KIND",
    "VM",
    "Absent",
    "Allocation",
    "BusyError",
    "Categories",
    "CloneMode",
    "CloneRequest",
    "Counters",
    "Deployment",
    "DiskStorage",
    "Endpoint",
    "Found",
    "ImportPlace",
    "Limits",
    "NewDisk",
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
    "Transfer",
    "Turns",
    "Unknown",
    "VCenter",
    "copied_bytes",
    "name_taken",
    "needs_replica",
    "unfit",
    "why_full",
]
