"""What was placed a moment ago, less what vCenter's figures hold of it already.

Machines that were placed just now are in no figure of a host, datastore or resource pool yet, and
more and more of those placed before is. So whenever figures are read, what the VMs of machines
placed lately take by then is read beside them, in the same call: only the rest is still to come.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyVmomi import vim

from moorage.planning.estate import NOTHING, Load, Resident
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.properties import Values, Want, moref
from moorage.vsphere.types import Power

_KEPT_S = 60.0
"""After that, what was placed runs and shows in the figures, or was never made."""
_USAGE, _POWER = "storage.perDatastoreUsage", "runtime.powerState"
_MEMORY = "summary.quickStats.hostMemoryUsage"


@dataclass(slots=True)
class _Entry:
    at: float
    resident: Resident
    by_name: bool
    held: dict[str, Load] = field(default_factory=dict)
    """Of each object, what its figures held of this when they were read last."""


class Promised:
    """Remembers what was placed lately, for all clusters of one account."""

    def __init__(self, inventory: Inventory, now: Callable[[], float] = time.monotonic) -> None:
        self._inventory = inventory
        self._now = now
        self._entries: dict[str, _Entry] = {}

    def add(self, residents: Mapping[str, Resident], *, by_name: bool = False) -> None:
        """Note what was placed.

        Args:
            residents: By UID of the machine; one that was placed before counts here only.
            by_name: They are by name of the VM: those of replicas have a UID that is not known.
        """
        self._entries |= {
            key: _Entry(self._now(), resident, by_name) for key, resident in residents.items()
        }

    def residents(self, but: str = "") -> list[Resident]:
        """Return what the figures do not hold yet, one machine (by its UID) left out."""
        since = self._now() - _KEPT_S
        self._entries = {key: one for key, one in self._entries.items() if one.at >= since}
        return [_rest(one) for key, one in self._entries.items() if key != but]

    def wants(self) -> list[Want]:
        """Return what to read beside figures."""
        found = [one for several in self._vms().values() for one in several]
        return [Want(vim.VirtualMachine, found, (_USAGE, _POWER, _MEMORY))] if found else []

    def take(self, found: Mapping[str, Values], refs: Collection[str]) -> None:
        """Note what figures hold that were just read.

        Args:
            found: By moref; what ``wants`` asked for is in it.
            refs: Morefs of the objects whose figures these are.
        """
        for key, vms in self._vms().items():
            entry = self._entries[key]
            seen = [found[one] for one in vms if one in found]
            for ref in entry.resident.loads.keys() & set(refs):
                entry.held[ref] = _held(ref, entry.resident.loads[ref], seen)

    def _vms(self) -> dict[str, list[str]]:
        """Return the morefs of the VMs of each machine."""
        names = {key for key, one in self._entries.items() if one.by_name}
        named: dict[str, list[str]] = {}
        for one in self._inventory.all() if names else ():
            if one.name in names:
                named.setdefault(one.name, []).append(one.moref)
        return {
            key: named.get(key, []) if one.by_name else [vm.moref for vm in self._inventory.of(key)]
            for key, one in self._entries.items()
        }


def _held(ref: str, load: Load, vms: Iterable[Values]) -> Load:
    """Return what VMs take of an object: of hosts and resource pools, once they run."""
    size = memory = 0
    runs = False
    for values in vms:
        usage: list[Any] = values.get(_USAGE) or []
        size += sum(int(one.committed) for one in usage if moref(one.datastore) == ref)
        memory += int(values.get(_MEMORY) or 0)
        runs = runs or values.get(_POWER) == Power.ON
    return Load(size, memory, load.reserved if runs else NOTHING)


def _rest(entry: _Entry) -> Resident:
    rest = {
        ref: _less(load, entry.held.get(ref, Load())) for ref, load in entry.resident.loads.items()
    }
    return replace(entry.resident, loads=rest)


def _less(load: Load, held: Load) -> Load:
    return Load(
        max(0, load.size_bytes - held.size_bytes),
        max(0, load.memory_mib - held.memory_mib),
        NOTHING if held.reserved == load.reserved else load.reserved,
    )
