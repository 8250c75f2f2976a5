"""What hosts can still keep for machines: all that they have, less what running VMs have reserved.

vCenter has no figure for it, so the VMs of the hosts are read, in the same call as the hosts: only
where machines want something reserved, and nobody but us chooses their hosts. What the account
does not see is not counted: the hypervisor's own share, and VMs that it may not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pyVmomi import vim

from moorage.planning.estate import Reserved
from moorage.vsphere.properties import Collector, Values, Want, moref
from moorage.vsphere.types import Power

_MIB = 1024**2
_MEMORY, _MHZ, _CORES = (
    "summary.hardware.memorySize",
    "summary.hardware.cpuMhz",
    "summary.hardware.numCpuCores",
)
_OF_MEMORY, _OF_CPU = "config.memoryAllocation", "config.cpuAllocation"
_POWER, _HOST = "runtime.powerState", "runtime.host"
_LEFT = "left to reserve"
"""Stands among a host's values, beside the properties that vCenter has."""


def want_of_hosts(hosts: Sequence[str], paths: Sequence[str]) -> Want:
    """Return what to read of hosts, with their VMs, beside some properties of theirs."""
    kind = vim.HostSystem
    below = Collector.TraversalSpec(name="vms", type=kind, path="vm", skip=False)
    also = {vim.VirtualMachine: [_OF_MEMORY, _OF_CPU, _POWER, _HOST]}
    every = list(dict.fromkeys([*paths, _MEMORY, _MHZ, _CORES]))
    return Want(kind, hosts, every, via=[below], also=also)


def note_reservations(found: Mapping[str, Values]) -> None:
    """Write into the values of hosts what they have left, of those that ``want_of_hosts`` names."""
    kept: dict[str, Reserved] = {}
    for values in found.values():
        host = moref(values.get(_HOST))
        if host is not None and values.get(_POWER) == Power.ON:
            before = kept.get(host, Reserved())
            kept[host] = Reserved(
                before.memory_mib + _amount(values.get(_OF_MEMORY)),
                before.cpu_mhz + _amount(values.get(_OF_CPU)),
            )
    for ref, values in found.items():
        if values.get(_MHZ) is not None:
            of = kept.get(ref, Reserved())
            values[_LEFT] = Reserved(
                int(values.get(_MEMORY) or 0) // _MIB - of.memory_mib,
                int(values[_MHZ]) * int(values.get(_CORES) or 0) - of.cpu_mhz,
            )


def left_to_reserve(values: Values) -> Reserved | None:
    """Return what a host can still keep; ``None`` when it was read without."""
    found = values.get(_LEFT)
    return found if isinstance(found, Reserved) else None


def _amount(allocation: Any) -> int:
    return int(getattr(allocation, "reservation", None) or 0)
