"""What a machine gets of its host, as the clone's specification says it."""

from moorage.resources.machine import MachineSpec
from moorage.vsphere import Allocation


def cpu_allocation(spec: MachineSpec) -> Allocation | None:
    """Return reservation, limit (MHz) and shares; ``None``: as the template has them."""
    asked = spec.cpu_allocation
    if asked is None:
        return None
    return Allocation(asked.reservation_mhz, asked.limit_mhz, asked.shares)


def memory_allocation(spec: MachineSpec) -> Allocation | None:
    """Return the same of memory, in MiB."""
    asked = spec.memory_allocation
    if asked is None:
        return None
    return Allocation(asked.reservation_mib, asked.limit_mib, asked.shares)
